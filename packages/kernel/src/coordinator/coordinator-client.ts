import { type CancelTimer, type Clock, OperatingError, TurnTask } from '@robustmq/core';
import type { CatalogChange } from '@robustmq/placement-client';
import type { Coordinator as CoordinatorEntry, CoordinatorNotice, Transport } from '@robustmq/rpc';
import type { BrokerPeer } from './broker-peer.ts';
import { CallLane, type LaneRoute } from './call-lane.ts';
import type {
  CallCoordinatorOptions,
  CoordinatorCalls,
  CoordinatorOwner,
} from './coordinator-calls.ts';
import type { CoordinatorCatalog, CoordinatorHost, OutgoingNotice } from './coordinator-host.ts';
import { coordinatorIndex } from './coordinator-index.ts';
import { BrokerPeers } from './broker-peers.ts';
import { PendingCall } from './pending-call.ts';

export interface CoordinatorClientOptions {
  readonly catalog: CoordinatorCatalog;
  /** The coordinators of this broker: called without the network. */
  readonly host: CoordinatorHost;
  /** What carries notices of this broker's coordinators to this broker itself. */
  readonly peer: BrokerPeer;
  readonly transport: Transport;
  readonly clock: Clock;
}

type NoticeListener = (index: number, payload: Buffer, epoch: number) => void;
type OwnerListener = (index: number, owner: CoordinatorOwner) => void;

const timeoutMsDefault = 10_000;
/** Calls without an answer, at most. */
const callsMax = 16_384;
const callBytesMax = 32 * 1024 * 1024;
/** How often deadlines and pauses are looked at: while there are calls, and else. */
const busySweepMs = 20;
const idleSweepMs = 250;

/** Calls coordinators wherever they run. */
export class CoordinatorClient implements CoordinatorCalls, AsyncDisposable {
  readonly #options: CoordinatorClientOptions;
  readonly #peers: BrokerPeers;
  /** By kind and index. */
  readonly #lanes = new Map<string, CallLane>();
  /** Calls of kinds whose number of shards is not known yet. */
  readonly #unrouted = new Set<PendingCall>();
  readonly #calls = new Set<PendingCall>();
  readonly #noticeListeners = new Map<string, NoticeListener[]>();
  readonly #ownerListeners = new Map<string, OwnerListener[]>();
  /** Highest epoch heard of, by kind and index. */
  readonly #epochs = new Map<string, number>();
  readonly #dirty = new Set<string>();
  readonly #turn = new TurnTask(() => this.#pumpDirty());
  readonly #unwatch: () => void;
  #callBytes = 0;
  #nextSequence = 0;
  #sweep: CancelTimer | undefined;
  #sweepMs = idleSweepMs;
  #isClosed = false;

  constructor(options: CoordinatorClientOptions) {
    const { catalog, host, transport, clock, peer } = options;
    this.#options = options;
    this.#peers = new BrokerPeers({
      catalog,
      transport,
      clock,
      self: host.self,
      notice: (notice) => this.#notice(notice),
    });
    peer.onLocalNotice((notice) => this.#notice(notice));
    this.#unwatch = catalog.onChange((change) => this.#changed(change));
    this.#scheduleSweep(idleSweepMs);
  }

  shards(kind: string): number | undefined {
    return this.#options.catalog.topic(`$${kind}`)?.shardIds.length;
  }

  call(
    kind: string,
    key: string | number,
    payload: Buffer,
    options: CallCoordinatorOptions = {},
  ): Promise<Buffer> {
    return this.#begin({ kind, key, payload, isOrdered: false }, options);
  }

  callOrdered(
    kind: string,
    key: string | number,
    payload: Buffer,
    options: CallCoordinatorOptions = {},
  ): Promise<Buffer> {
    return this.#begin({ kind, key, payload, isOrdered: true }, options);
  }

  onNotice(kind: string, listener: NoticeListener): void {
    this.#noticeListeners.set(kind, [...(this.#noticeListeners.get(kind) ?? []), listener]);
    this.#connectEagerly();
  }

  onOwner(kind: string, listener: OwnerListener): void {
    this.#ownerListeners.set(kind, [...(this.#ownerListeners.get(kind) ?? []), listener]);
    for (const entry of this.#options.catalog.coordinators(kind)) {
      if (entry.ownerNodeId !== '') listener(entry.index, ownerOf(entry));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#unwatch();
    this.#sweep?.();
    const error = new OperatingError('UNAVAILABLE', 'this broker shuts down');
    for (const call of this.#calls) this.#settle(call).reject(error);
    await this.#peers[Symbol.asyncDispose]();
  }

  #begin(
    call: Pick<PendingCall, 'kind' | 'key' | 'payload' | 'isOrdered'>,
    { timeoutMs = timeoutMsDefault }: CallCoordinatorOptions,
  ): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const refusal = this.#refusal(call.payload.length);
      if (refusal !== undefined) {
        reject(refusal);
        return;
      }
      this.#callBytes += call.payload.length;
      const sequence = this.#nextSequence++;
      const deadlineMs = this.#options.clock.monotonicMs() + timeoutMs;
      const begun = new PendingCall({
        ...call,
        sequence,
        deadlineMs,
        owner: this,
        resolve,
        reject,
      });
      this.#calls.add(begun);
      this.#route(begun);
      if (this.#sweepMs > busySweepMs) this.#scheduleSweep(busySweepMs);
    });
  }

  #refusal(bytes: number): OperatingError | undefined {
    if (this.#isClosed) return new OperatingError('UNAVAILABLE', 'this broker shuts down');
    if (this.#calls.size < callsMax && this.#callBytes + bytes <= callBytesMax) return undefined;
    return new OperatingError(
      'RESOURCE_EXHAUSTED',
      `${this.#calls.size} calls to coordinators wait for their answers; try again later`,
    );
  }

  // PendingCallOwner

  answered(call: PendingCall, payload: Buffer): void {
    this.#settle(call).resolve(payload);
  }

  refused(call: PendingCall, error: OperatingError): void {
    const lane = this.#laneOf(call);
    if (!isTriedAgain(error) || lane === undefined) {
      this.#settle(call).reject(error);
      return;
    }
    lane.retry(call, this.#options.clock.monotonicMs(), error.hint.retryAfterMs);
  }

  /** Takes the call out of everything; the caller resolves or rejects it. */
  #settle(call: PendingCall): PendingCall {
    call.isSettled = true;
    this.#calls.delete(call);
    this.#unrouted.delete(call);
    this.#callBytes -= call.payload.length;
    const name = this.#nameOf(call);
    if (name !== undefined) {
      this.#lanes.get(name)?.remove(call);
      if (call.isOrdered) this.#touch(name);
    }
    return call;
  }

  #route(call: PendingCall): void {
    const name = this.#nameOf(call);
    if (name === undefined) {
      this.#unrouted.add(call);
      return;
    }
    this.#unrouted.delete(call);
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = new CallLane();
      this.#lanes.set(name, lane);
    }
    lane.add(call);
    this.#touch(name);
  }

  #laneOf(call: PendingCall): CallLane | undefined {
    const name = this.#nameOf(call);
    return name === undefined ? undefined : this.#lanes.get(name);
  }

  /** Undefined while the number of the kind's shards is not known. It never changes. */
  #nameOf({ kind, key }: PendingCall): string | undefined {
    if (typeof key === 'number') return `${kind}/${key}`;
    const shards = this.shards(kind);
    return shards === undefined ? undefined : `${kind}/${coordinatorIndex(key, shards)}`;
  }

  #touch(name: string): void {
    this.#dirty.add(name);
    this.#turn.schedule();
  }

  #pumpDirty(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const name of this.#dirty) this.#lanes.get(name)?.pump(this.#routeTo(name), nowMs);
    this.#dirty.clear();
  }

  /** The way to a coordinator, if its owner is known and connected. */
  #routeTo(name: string): LaneRoute | undefined {
    const slash = name.lastIndexOf('/');
    const to = { kind: name.slice(0, slash), index: Number(name.slice(slash + 1)) };
    const { catalog, host } = this.#options;
    const entry = catalog.coordinator(to.kind, to.index);
    if (entry === undefined || entry.ownerNodeId === '') return undefined;
    if (entry.ownerNodeId === host.self.nodeId) {
      return { send: (payload, sink) => host.command(to, payload, host.self, sink) };
    }
    const connection = this.#peers.connectionTo(entry.ownerNodeId);
    return connection && { send: (payload, sink) => connection.call(to, payload, sink) };
  }

  #changed(change: CatalogChange): void {
    if (change.kind === 'topic') for (const call of this.#unrouted) this.#route(call);
    if (change.kind === 'coordinator' && change.after !== undefined) {
      this.#ownerChanged(change.after);
    }
  }

  #ownerChanged(entry: CoordinatorEntry): void {
    const name = `${entry.kind}/${entry.index}`;
    this.#lanes.get(name)?.restart();
    this.#touch(name);
    if (entry.ownerNodeId === '') return;
    this.#connectEagerly();
    const owner = ownerOf(entry);
    for (const listener of this.#ownerListeners.get(entry.kind) ?? []) listener(entry.index, owner);
  }

  /** Notices come on the streams of calls: there is one to every owner of a kind that is listened to. */
  #connectEagerly(): void {
    const { catalog, host } = this.#options;
    for (const kind of this.#noticeListeners.keys()) {
      for (const { ownerNodeId } of catalog.coordinators(kind)) {
        const isOther = ownerNodeId !== '' && ownerNodeId !== host.self.nodeId;
        if (isOther) this.#peers.connectionTo(ownerNodeId);
      }
    }
  }

  #notice({ kind, index, epoch, payload }: OutgoingNotice | CoordinatorNotice): void {
    const name = `${kind}/${index}`;
    const shown = this.#options.catalog.coordinator(kind, index)?.epoch ?? 0;
    const newest = Math.max(shown, this.#epochs.get(name) ?? 0);
    if (epoch < newest || this.#isClosed) return;
    this.#epochs.set(name, epoch);
    for (const listener of this.#noticeListeners.get(kind) ?? []) listener(index, payload, epoch);
  }

  #scheduleSweep(delayMs: number): void {
    if (this.#isClosed) return;
    this.#sweep?.();
    this.#sweepMs = delayMs;
    this.#sweep = this.#options.clock.setTimer(delayMs, () => this.#sweepCalls());
  }

  #sweepCalls(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const call of this.#calls) {
      if (call.deadlineMs <= nowMs) this.#settle(call).reject(call.timeoutError());
    }
    for (const [name, lane] of this.#lanes) {
      if (lane.isEmpty) this.#lanes.delete(name);
      else this.#dirty.add(name);
    }
    this.#pumpDirty();
    this.#connectEagerly();
    this.#scheduleSweep(this.#calls.size > 0 ? busySweepMs : idleSweepMs);
  }
}

function ownerOf(entry: CoordinatorEntry): CoordinatorOwner {
  return {
    nodeId: entry.ownerNodeId,
    incarnation: entry.ownerIncarnation,
    epoch: entry.epoch,
  };
}

/** Whether another try may find the coordinator, or it said when it has room again. */
function isTriedAgain({ code, hint }: OperatingError): boolean {
  if (code === 'NOT_LEADER' || code === 'UNAVAILABLE') return true;
  return code === 'RESOURCE_EXHAUSTED' && hint.retryAfterMs !== undefined;
}
