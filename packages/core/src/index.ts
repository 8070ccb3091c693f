export { advertisedAddress, hostOf, portOf } from './address.ts';
export { assert, AssertionFailure, unreachable } from './assert.ts';
export { type CancelTimer, type Clock, delay, systemClock } from './clock.ts';
export { endProcess } from './end-process.ts';
export {
  type ErrorCode,
  errorCodeOf,
  type ErrorHint,
  errorNumber,
  errorTable,
  OperatingError,
  toOperatingError,
  expectOperatingError,
} from './errors.ts';
export {
  type Epoch,
  epoch,
  type Incarnation,
  incarnation,
  type NodeId,
  nodeId,
  type Offset,
  offset,
  type ProducerId,
  producerId,
  type Revision,
  revision,
  type SegmentId,
  segmentId,
  type ShardId,
  shardId,
} from './ids.ts';
export { type Logger, silentLogger } from './logger.ts';
export { limits } from './limits.ts';
export { type Random, randomInteger, seededRandom, systemRandom } from './random.ts';
export { TimerWheel, type WheelTimer } from './timer-wheel.ts';
export { TurnTask } from './turn.ts';
