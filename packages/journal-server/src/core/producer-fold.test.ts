import {
  encodeEndTransactionMarker,
  encodeFrame,
  encodeSnapshotFrame,
  noHeaders,
  RecordBatchWriter,
} from '@robustmq/record-batch';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CoreFixture, newProducers, pending, produced } from './core.fixture.ts';
import { FrameFolder } from './fold-frames.ts';
import { decodeProducerSnapshot, encodeProducerSnapshot } from './producer-snapshot.ts';
import type { ProducerState } from './producer-state.ts';

const writer = new RecordBatchWriter();

/** One step of a log: a batch of some producer, or the end of its transaction. */
interface Step {
  readonly producerId: number;
  readonly records: number;
  readonly kind: 'plain' | 'transactional' | 'commit' | 'abort';
  readonly bumpsEpoch: boolean;
  readonly writerEpoch: number;
}

const steps = fc.array(
  fc.record({
    producerId: fc.integer({ min: -1, max: 3 }),
    records: fc.integer({ min: 1, max: 3 }),
    kind: fc.constantFrom('plain', 'transactional', 'commit', 'abort'),
    bumpsEpoch: fc.nat(9).map((roll) => roll === 0),
    writerEpoch: fc.constantFrom(0, 0, 0, 1, 2),
  }) as fc.Arbitrary<Step>,
  { maxLength: 40 },
);

/** The frames of a log, with the offset behind each. */
function framesOf(log: readonly Step[]): { frame: Buffer; end: number }[] {
  const epochs = new Map<number, number>();
  const sequences = new Map<number, number>();
  let offset = 0;
  return log.map((step) => {
    const { producerId } = step;
    if (step.bumpsEpoch) {
      epochs.set(producerId, (epochs.get(producerId) ?? 0) + 1);
      sequences.delete(producerId);
    }
    const producerEpoch = epochs.get(producerId) ?? 0;
    const baseSequence = sequences.get(producerId) ?? 0;
    const batch = batchOf(step, producerEpoch, baseSequence);
    const isMarker = producerId >= 0 && (step.kind === 'commit' || step.kind === 'abort');
    const records = isMarker ? 1 : step.records;
    if (!isMarker) sequences.set(producerId, baseSequence + records);
    const { header } = encodeFrame({
      epoch: 1,
      writerEpoch: step.writerEpoch,
      appendTimeMs: offset,
      previousChain: 0,
      control: isMarker ? step.kind : 'none',
      baseOffset: offset,
      filter: Buffer.alloc(0),
      batch,
    });
    offset += records;
    return { frame: Buffer.concat([header, batch]), end: offset };
  });
}

function batchOf(step: Step, producerEpoch: number, baseSequence: number): Buffer {
  const { producerId, kind } = step;
  if (producerId >= 0 && (kind === 'commit' || kind === 'abort')) {
    return encodeEndTransactionMarker(
      { end: kind, coordinatorEpoch: 0 },
      { producerId, producerEpoch },
      1_000,
    );
  }
  for (let at = 0; at < step.records; at++) writer.append(1_000, null, Buffer.from('x'), noHeaders);
  if (producerId < 0) return writer.finish();
  const transactional = kind === 'transactional';
  return writer.finish({ producerId, producerEpoch, baseSequence, transactional });
}

function snapshotFrame(state: ProducerState): Buffer {
  const body = encodeProducerSnapshot(state);
  const stamp = { epoch: 1, writerEpoch: 0, appendTimeMs: 0, previousChain: 0 };
  return Buffer.concat([encodeSnapshotFrame(stamp, body).header, body]);
}

function fold(frames: readonly Buffer[], endOffset = Number.MAX_SAFE_INTEGER): ProducerState {
  const state = newProducers();
  const folder = new FrameFolder(state, endOffset, 0);
  for (const frame of frames) folder.fold(frame);
  return state;
}

describe('the fold over the log', () => {
  it('is the same from the start and from a snapshot anywhere', () => {
    fc.assert(
      fc.property(steps, fc.nat(), (log, seed) => {
        const frames = framesOf(log).map(({ frame }) => frame);
        const cut = seed % (frames.length + 1);
        const whole = encodeProducerSnapshot(fold(frames));
        const head = snapshotFrame(fold(frames.slice(0, cut)));
        const tail = encodeProducerSnapshot(fold([head, ...frames.slice(cut)]));
        const middle = [...frames.slice(0, cut), head, ...frames.slice(cut)];
        expect(tail).toEqual(whole);
        expect(encodeProducerSnapshot(fold(middle))).toEqual(whole);
      }),
      { numRuns: 300 },
    );
  });

  it('up to an end is the fold of what lies before it', () => {
    fc.assert(
      fc.property(steps, fc.nat(), (log, seed) => {
        const frames = framesOf(log);
        const cut = seed % (frames.length + 1);
        const end = frames[cut - 1]?.end ?? 0;
        const all = frames.map(({ frame }) => frame);
        const beyond = snapshotFrame(fold(all));
        const before = encodeProducerSnapshot(fold(all.slice(0, cut)));
        expect(encodeProducerSnapshot(fold([...all, beyond], end))).toEqual(
          cut === frames.length ? encodeProducerSnapshot(fold(all)) : before,
        );
      }),
      { numRuns: 200 },
    );
  });

  it('refuses every snapshot that is cut off, and never reads beyond it', () => {
    const frames = framesOf([
      { producerId: 1, records: 2, kind: 'plain', bumpsEpoch: false, writerEpoch: 0 },
      { producerId: 2, records: 1, kind: 'transactional', bumpsEpoch: false, writerEpoch: 3 },
    ]);
    const snapshot = encodeProducerSnapshot(fold(frames.map(({ frame }) => frame)));
    for (let end = 0; end < snapshot.length; end++) {
      const range = { start: 0, end };
      expect(() => decodeProducerSnapshot(newProducers(), snapshot, range, 0)).toThrow(/snapshot/);
    }
  });
});

describe('an idempotent producer behind a bad network', () => {
  /** What the network does with a batch that was sent: how late it comes, and how often. */
  const fates = fc.array(fc.record({ delay: fc.nat(6), copies: fc.integer({ min: 1, max: 3 }) }), {
    minLength: 1,
    maxLength: 60,
  });

  const starts = fc.oneof(fc.constant(0), fc.integer({ min: 2 ** 31 - 30, max: 2 ** 31 - 1 }));

  it('has every batch in the log once and in order, whatever was delayed and repeated (I9)', () => {
    fc.assert(
      fc.property(fates, starts, (sent, start) => {
        const core = new CoreFixture();
        introduce(core, start);
        deliver(core, sent, start + 1);
        const sequences = core.written.map(({ facts: { baseSequence } }) => baseSequence);
        const expected = [-1, ...sent.keys()].map((index) => (start + 1 + index) % 2 ** 31);
        expect(sequences).toEqual(expected.slice(0, sequences.length));
        expect(new Set(sequences).size).toBe(sequences.length);
      }),
      { numRuns: 300 },
    );
  });

  it('gets all of them in by trying again', () => {
    fc.assert(
      fc.property(fates, (sent) => {
        const core = new CoreFixture();
        introduce(core, 0);
        deliver(core, sent, 1);
        for (let sequence = 1; sequence <= sent.length; sequence++) {
          core.append(pending(produced(sequence)));
          core.sync();
        }
        const acknowledged = [...core.answers.values()].filter((answer) => answer === 'ok');
        expect(core.written).toHaveLength(sent.length + 1);
        expect(acknowledged).toHaveLength(sent.length + 1);
      }),
      { numRuns: 100 },
    );
  });

  /** The first batch arrives: who is not known yet may begin anywhere, and is not held to sequence 0. */
  function introduce(core: CoreFixture, first: number): void {
    core.append(pending(produced(first)));
    core.nowMs += 600;
    core.run({ kind: 'holdExpired' });
  }

  /** Sends batch after batch; each copy arrives `delay` steps later, and the disk syncs now and then. */
  function deliver(
    core: CoreFixture,
    sent: readonly { delay: number; copies: number }[],
    first: number,
  ): void {
    const arrivals = new Map<number, number[]>();
    sent.forEach(({ delay, copies }, index) => {
      for (let copy = 0; copy < copies; copy++) {
        const at = index + delay * (copy + 1);
        arrivals.set(at, [...(arrivals.get(at) ?? []), (first + index) % 2 ** 31]);
      }
    });
    const last = Math.max(...arrivals.keys());
    for (let at = 0; at <= last; at++) {
      core.nowMs += 100;
      core.run({ kind: 'holdExpired' });
      for (const sequence of arrivals.get(at) ?? []) core.append(pending(produced(sequence)));
      if (at % 3 === 0) core.sync();
    }
  }
});
