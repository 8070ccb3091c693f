import { batchBaseOffset, batchLastOffset, batchRecordCount } from './batch-header.ts';
import {
  type FrameControl,
  FRAME_HEADER_BYTES,
  frameAppendTimeMs,
  frameChainOf,
  frameControl,
  frameEpoch,
  type FrameFault,
  frameFault,
  frameFilterLength,
  type FrameKind,
  frameKind,
  frameLength,
  type FrameView,
  frameWriterEpoch,
  verifyFrame,
} from './frame.ts';

const EMPTY: Buffer = Buffer.alloc(0);

/**
 * What {@link FrameCursor.next} found. After `incomplete` and `corrupt` the cursor stays before that frame,
 * at `end`; `fault` says what is wrong with it.
 */
export type FrameStep = 'frame' | 'end' | 'incomplete' | 'corrupt';

/**
 * Walks concatenated frames without allocating: after `next()` returned `frame` its fields describe that
 * frame, until the next call. Never throws on arbitrary bytes. Reusable.
 */
export class FrameCursor implements FrameView {
  buffer: Buffer = EMPTY;
  position = 0;
  end = 0;
  kind: FrameKind = 'batch';
  control: FrameControl = 'none';
  epoch = 0;
  writerEpoch = 0;
  chain = 0;
  appendTimeMs = 0;
  filterStart = 0;
  payloadStart = 0;
  /** Offsets of the batch; -1 in a producer snapshot, which takes none. */
  baseOffset = -1;
  lastOffset = -1;
  recordCount = 0;
  fault: FrameFault | undefined;
  #limit = 0;

  /** Stands before the frame at `position`; nothing at or behind `limit` is read. */
  reset(buffer: Buffer, position = 0, limit: number = buffer.length): void {
    this.buffer = buffer;
    this.position = position;
    this.end = position;
    this.fault = undefined;
    this.#limit = limit;
  }

  next(): FrameStep {
    const at = this.end;
    if (at === this.#limit) return 'end';
    const { buffer } = this;
    this.fault = frameFault(buffer, at, this.#limit);
    if (this.fault !== undefined) return this.fault === 'incomplete' ? 'incomplete' : 'corrupt';
    this.position = at;
    this.end = at + frameLength(buffer, at);
    this.kind = frameKind(buffer, at);
    this.control = frameControl(buffer, at);
    this.epoch = frameEpoch(buffer, at);
    this.writerEpoch = frameWriterEpoch(buffer, at);
    this.chain = frameChainOf(buffer, at);
    this.appendTimeMs = frameAppendTimeMs(buffer, at);
    this.filterStart = at + FRAME_HEADER_BYTES;
    this.payloadStart = this.filterStart + frameFilterLength(buffer, at);
    this.#readOffsets();
    return 'frame';
  }

  /** Verifies the checksums of the frame it stands on, as `verifyFrame` does. */
  verify(previousChain?: number): FrameFault | undefined {
    return verifyFrame(this, previousChain);
  }

  #readOffsets(): void {
    const isBatch = this.kind === 'batch';
    this.baseOffset = isBatch ? batchBaseOffset(this.buffer, this.payloadStart) : -1;
    this.lastOffset = isBatch ? batchLastOffset(this.buffer, this.payloadStart) : -1;
    this.recordCount = isBatch ? batchRecordCount(this.buffer, this.payloadStart) : 0;
  }
}
