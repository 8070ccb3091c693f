import { OperatingError } from '@robustmq/core';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CallLane } from './call-lane.ts';
import { PendingCall, type PendingCallOwner } from './pending-call.ts';
import type { Reply } from './state-machine.ts';

/** A coordinator that carries out or refuses calls as it is told, and answers when it is told. */
class Rig implements PendingCallOwner {
  readonly lane = new CallLane();
  nowMs = 0;
  /** Ids in the order in which they were carried out, repeated ones too. */
  readonly carriedOut: string[] = [];
  readonly answers: string[] = [];
  /** Answers that are on their way, of former tries as well. */
  readonly onTheWay: (() => void)[] = [];
  #sequence = 0;

  call(isOrdered: boolean): void {
    const sequence = this.#sequence++;
    this.lane.add(
      new PendingCall({
        kind: 'k',
        key: 0,
        payload: Buffer.from(`${sequence}`),
        isOrdered,
        sequence,
        deadlineMs: 1e9,
        owner: this,
        resolve: (payload) => this.answers.push(payload.toString()),
        reject: () => expect.unreachable(),
      }),
    );
  }

  /** Calls are carried out until the `accepted`-th, then refused: at once, or by an answer. */
  pump(accepted: number, isRefusedAtOnce: boolean): void {
    let count = 0;
    this.lane.pump(
      {
        send: (payload, sink) => {
          count++;
          if (count === accepted + 1 && isRefusedAtOnce) return refusal();
          if (count > accepted && !isRefusedAtOnce) this.onTheWay.push(() => sink.fail(refusal()));
          else this.#carryOut(payload, sink);
          return undefined;
        },
      },
      this.nowMs,
    );
  }

  answered(call: PendingCall, payload: Buffer): void {
    call.isSettled = true;
    this.lane.remove(call);
    call.resolve(payload);
  }

  refused(call: PendingCall): void {
    this.lane.retry(call, this.nowMs);
  }

  #carryOut(payload: Buffer, sink: Reply): void {
    this.carriedOut.push(payload.toString());
    this.onTheWay.push(() => sink.ok(payload));
  }
}

function refusal(): OperatingError {
  return new OperatingError('NOT_LEADER', 'refused by the test');
}

const step = fc.oneof(
  fc.record({ kind: fc.constant('call' as const), n: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ kind: fc.constantFrom('pump' as const, 'pumpAtOnce' as const), n: fc.nat(5) }),
  fc.record({ kind: fc.constant('answer' as const), n: fc.nat(20) }),
  fc.record({ kind: fc.constant('restart' as const), n: fc.constant(0) }),
  fc.record({ kind: fc.constant('wait' as const), n: fc.integer({ min: 1, max: 600 }) }),
);

/** Takes the steps, then lets everything be answered. */
function run(steps: readonly { kind: string; n: number }[], isOrdered: boolean): Rig {
  const rig = new Rig();
  for (const { kind, n } of steps) {
    if (kind === 'call') for (let i = 0; i < n; i++) rig.call(isOrdered);
    else if (kind === 'wait') rig.nowMs += n;
    else if (kind === 'restart') rig.lane.restart();
    else if (kind === 'answer') rig.onTheWay.splice(n % (rig.onTheWay.length || 1), 1)[0]?.();
    else rig.pump(n, kind === 'pumpAtOnce');
  }
  for (let i = 0; i < 1000 && !rig.lane.isEmpty; i++) {
    rig.nowMs += 1000;
    rig.pump(1e6, true);
    for (const answer of rig.onTheWay.splice(0)) answer();
  }
  return rig;
}

describe('CallLane', () => {
  it('answers every call once, whatever is refused, lost, late or repeated', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.boolean(), (steps, isOrdered) => {
        const rig = run(steps, isOrdered);
        expect(rig.lane.isEmpty).toBe(true);
        const calls = steps.reduce((sum, { kind, n }) => sum + (kind === 'call' ? n : 0), 0);
        const sorted = [...rig.answers].sort((a, b) => Number(a) - Number(b));
        expect(sorted).toEqual(Array.from({ length: calls }, (_, i) => `${i}`));
      }),
      { numRuns: 300 },
    );
  });

  it('has ordered calls carried out for the first time in their order', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const first = [...new Set(run(steps, true).carriedOut)];
        expect(first).toEqual(first.map((_, i) => `${i}`));
      }),
      { numRuns: 500 },
    );
  });

  it('sends the next group of ordered calls when the last one is answered', () => {
    const rig = new Rig();
    rig.call(true);
    rig.call(true);
    rig.pump(9, true);
    rig.call(true);
    rig.pump(9, true);
    expect(rig.carriedOut).toEqual(['0', '1']);
    rig.onTheWay.shift()?.();
    rig.pump(9, true);
    expect(rig.carriedOut).toEqual(['0', '1']);
    rig.onTheWay.shift()?.();
    rig.pump(9, true);
    expect(rig.carriedOut).toEqual(['0', '1', '2']);
  });

  it('tries nothing behind the first refusal of a group', () => {
    const rig = new Rig();
    for (let i = 0; i < 4; i++) rig.call(true);
    rig.pump(2, true);
    expect(rig.carriedOut).toEqual(['0', '1']);
    for (const answer of rig.onTheWay.splice(0)) answer();
    rig.pump(9, true);
    expect(rig.carriedOut).toEqual(['0', '1']); // Not before the pause is over.
    rig.nowMs += 500;
    rig.pump(9, true);
    expect(rig.carriedOut).toEqual(['0', '1', '2', '3']);
  });
});
