import {
  type Clock,
  delay,
  type Logger,
  type Offset,
  offset,
  OperatingError,
  toOperatingError,
} from '@robustmq/core';
import type { JournalClient } from '@robustmq/journal-client';
import type { Catalog, PlacementClient } from '@robustmq/placement-client';
import { RecordBatchWriter } from '@robustmq/record-batch';
import { encodeTakeover, recordKey } from './coordinator-record.ts';
import { replayLog } from './log-replay.ts';
import type { CoordinatorIdentity } from './machine-context.ts';
import type { MachineState } from './machine-state.ts';
import { Restoration } from './restoration.ts';
import type { TakenOver } from './serving-coordinator.ts';

export interface TakeoverOptions {
  readonly identity: CoordinatorIdentity;
  readonly catalog: Pick<Catalog, 'shard'>;
  readonly journal: Pick<JournalClient, 'appendBatch' | 'read' | 'newProducerId'>;
  readonly placement: Pick<PlacementClient, 'resolveShards'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** An empty state. */
  readonly newState: () => MachineState;
  readonly signal: AbortSignal;
}

const retryMinMs = 20;
const retryMaxMs = 1000;

/**
 * Takes a coordinator over (DESIGN.md, "Takeover"): fences lower epochs, then restores the state from
 * everything that they have written. Tries until it has worked; rejects with WRITER_FENCED when there is a
 * higher epoch, or with the signal's reason.
 */
export async function takeOver(options: TakeoverOptions): Promise<TakenOver> {
  const { journal } = options;
  const { producerId, takeoverOffset } = await fenceOthers(options);
  const restoration = await restore(options, offset(takeoverOffset + 1));
  const { state, bytesSinceSnapshot, snapshotBytes } = restoration;
  const outboxProducerId =
    state.outbox.producerId < 0
      ? await retrying(options, 'a producer id', () => journal.newProducerId())
      : undefined;
  return {
    state,
    producerId,
    outboxProducerId,
    nextOffset: offset(takeoverOffset + 1),
    bytesSinceSnapshot,
    snapshotBytes,
  };
}

/** Appends the takeover record: when it is committed no batch of a lower epoch can come any more. */
async function fenceOthers(
  options: TakeoverOptions,
): Promise<{ producerId: number; takeoverOffset: Offset }> {
  const { journal, identity, clock } = options;
  const timestampMs = clock.wallMs();
  for (;;) {
    const producerId = await retrying(options, 'a producer id', () => journal.newProducerId());
    const append = (): Promise<Offset> =>
      journal
        .appendBatch({
          shardId: identity.shardId,
          // Built anew for each attempt: it is given away. Always the same bytes, so that attempts whose
          // answers were lost are recognised.
          batch: takeoverBatch(identity, producerId, timestampMs),
          filter: Buffer.alloc(0),
          ackLevel: 'quorum',
          writerEpoch: identity.epoch,
        })
        .then(({ baseOffset }) => baseOffset);
    try {
      const takeoverOffset = await retrying(options, 'the takeover record', append);
      return { producerId, takeoverOffset };
    } catch (thrown) {
      // Appended, nobody knows where: another one says where.
      if (toOperatingError(thrown).code !== 'DUPLICATE_SEQUENCE') throw thrown;
    }
  }
}

function takeoverBatch(
  { epoch, self }: CoordinatorIdentity,
  producerId: number,
  timestampMs: number,
): Buffer {
  const writer = new RecordBatchWriter();
  const value = encodeTakeover({ epoch, nodeId: self.nodeId, incarnation: self.incarnation });
  writer.append(timestampMs, recordKey('takeover'), value);
  return writer.finish({ producerId, producerEpoch: 0, baseSequence: 0 });
}

/** The state before `endOffset`, and what it was made from. */
async function restore(
  options: TakeoverOptions,
  endOffset: Offset,
): Promise<Pick<TakenOver, 'state' | 'bytesSinceSnapshot' | 'snapshotBytes'>> {
  const { identity, journal, logger, signal } = options;
  const report = (message: string): void => logger.error({ shardId: identity.shardId }, message);
  let isCatalogOld = false;
  return await retrying(options, 'its state', async () => {
    const fromOffset = await trimOffset(options, isCatalogOld);
    // Whatever goes wrong with this offset, placement is asked for the next one.
    isCatalogOld = true;
    const restoration = new Restoration(fromOffset, options.newState, report);
    const { shardId } = identity;
    await replayLog({ journal, shardId, fromOffset, endOffset, signal }, restoration);
    const { state, bytesSinceSnapshot, snapshotBytes } = restoration;
    return { state, bytesSinceSnapshot, snapshotBytes };
  });
}

/** Where the last finished snapshot begins, or the log. */
async function trimOffset(options: TakeoverOptions, isCatalogOld: boolean): Promise<Offset> {
  const { catalog, placement, identity } = options;
  const known = catalog.shard(identity.shardId);
  if (known !== undefined && !isCatalogOld) return offset(known.trimOffset);
  const [shard] = await placement.resolveShards([identity.shardId]);
  if (shard === undefined || shard instanceof OperatingError) {
    throw shard ?? new OperatingError('INTERNAL', 'placement gave no answer for a shard');
  }
  return offset(shard.trimOffset);
}

/** Tries until it works. Gives up on WRITER_FENCED, DUPLICATE_SEQUENCE and the signal. */
async function retrying<T>(
  { clock, logger, signal, identity }: TakeoverOptions,
  what: string,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let delayMs = retryMinMs; ; delayMs = Math.min(delayMs * 2, retryMaxMs)) {
    signal.throwIfAborted();
    try {
      const result = await attempt();
      signal.throwIfAborted();
      return result;
    } catch (thrown) {
      signal.throwIfAborted();
      // A foreign error is a bug, of the machine's fold for one.
      if (!(thrown instanceof OperatingError)) throw thrown;
      if (thrown.code === 'WRITER_FENCED' || thrown.code === 'DUPLICATE_SEQUENCE') throw thrown;
      const { kind, index } = identity;
      const fields = { kind, index, code: thrown.code };
      logger.warn(fields, `a takeover waits for ${what}: ${thrown.message}`);
      await delay(clock, delayMs, signal);
    }
  }
}
