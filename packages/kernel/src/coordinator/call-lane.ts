import type { OperatingError } from '@robustmq/core';
import type { PendingCall } from './pending-call.ts';
import type { Reply } from './state-machine.ts';

/** How a lane's calls reach the coordinator now. */
export interface LaneRoute {
  /** Takes a try of a call, or says why not at once: `sink` is not called then. */
  send(payload: Buffer, sink: Reply): OperatingError | undefined;
}

const groupBytesMax = 1024 * 1024;
const groupCallsMax = 1000;
const retryMinMs = 20;
const retryMaxMs = 500;

/**
 * The calls of this broker to one coordinator. Ordered ones travel in groups: the next group leaves when
 * every call of the last one has an answer (DESIGN.md, "Calls").
 */
export class CallLane {
  /** Unordered calls that wait for an owner or for their next try. */
  readonly #parked = new Set<PendingCall>();
  readonly #underWay = new Set<PendingCall>();
  /** Ordered calls that wait, in order. */
  #queue: PendingCall[] = [];
  /** Ordered calls of the group that is under way and have no answer. */
  readonly #group = new Set<PendingCall>();
  /** Ordered calls of that group that have to be sent again. */
  #again: PendingCall[] = [];

  get isEmpty(): boolean {
    return this.#parked.size + this.#underWay.size + this.#queue.length + this.#group.size === 0;
  }

  add(call: PendingCall): void {
    if (call.isOrdered) this.#queue.push(call);
    else this.#parked.add(call);
  }

  /** Sends what may be sent now. */
  pump(route: LaneRoute | undefined, nowMs: number): void {
    if (route === undefined) return;
    for (const call of this.#parked) {
      if (call.notBeforeMs > nowMs) continue;
      this.#parked.delete(call);
      this.#underWay.add(call);
      const sink = call.begin();
      const refusal = route.send(call.payload, sink);
      if (refusal !== undefined) sink.fail(refusal);
    }
    this.#sendGroup(route, nowMs);
  }

  /** The call has its answer, or nobody wants it any more. */
  remove(call: PendingCall): void {
    call.forget();
    this.#parked.delete(call);
    this.#underWay.delete(call);
    if (!call.isOrdered) return;
    if (this.#group.delete(call)) this.#endGroup();
    else {
      this.#queue = this.#queue.filter((each) => each !== call);
      this.#again = this.#again.filter((each) => each !== call);
    }
  }

  /** A try has failed: another one follows, not before a pause. */
  retry(call: PendingCall, nowMs: number, pauseMs = pauseAfter(call.tries)): void {
    call.notBeforeMs = nowMs + pauseMs;
    if (this.#underWay.delete(call)) this.#parked.add(call);
    else if (this.#group.delete(call)) {
      this.#again.push(call);
      this.#endGroup();
    }
  }

  /** The owner has changed: what is under way is sent again, without a pause. */
  restart(): void {
    for (const call of this.#underWay) this.#park(call);
    this.#underWay.clear();
    for (const call of this.#group) {
      call.forget();
      this.#again.push(call);
    }
    this.#group.clear();
    this.#endGroup();
    for (const call of [...this.#parked, ...this.#queue]) call.notBeforeMs = 0;
  }

  #park(call: PendingCall): void {
    call.forget();
    this.#parked.add(call);
  }

  #endGroup(): void {
    if (this.#group.size > 0 || this.#again.length === 0) return;
    this.#again.sort((a, b) => a.sequence - b.sequence);
    this.#queue = [...this.#again, ...this.#queue];
    this.#again = [];
  }

  #sendGroup(route: LaneRoute, nowMs: number): void {
    const head = this.#queue[0];
    if (head === undefined || this.#group.size > 0 || head.notBeforeMs > nowMs) return;
    const calls = this.#takeGroup();
    for (const call of calls) this.#group.add(call);
    let refusal: OperatingError | undefined;
    for (const call of calls) {
      const sink = call.begin();
      // What is carried out is a prefix of the group: behind a refusal nothing is tried.
      refusal ??= route.send(call.payload, sink);
      if (refusal !== undefined) sink.fail(refusal);
    }
  }

  #takeGroup(): PendingCall[] {
    let bytes = 0;
    let count = 0;
    for (const { payload } of this.#queue) {
      bytes += payload.length;
      if (count > 0 && (bytes > groupBytesMax || count >= groupCallsMax)) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }
}

function pauseAfter(tries: number): number {
  return Math.min(retryMinMs * 2 ** Math.min(tries - 1, 10), retryMaxMs);
}
