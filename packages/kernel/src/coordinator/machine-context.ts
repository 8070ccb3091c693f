import { assert, type Clock, type Logger, type Offset, type ShardId } from '@robustmq/core';
import type { Outbox } from '../outbox/outbox.ts';
import type { Caller, CoordinatorContext, MachineTimer } from './state-machine.ts';

/** Which coordinator, and who runs it. */
export interface CoordinatorIdentity {
  readonly kind: string;
  readonly index: number;
  readonly shardId: ShardId;
  readonly epoch: number;
  readonly self: Caller;
}

/** What of a context is there only while the coordinator serves. */
export type ServingContext = Pick<
  CoordinatorContext,
  | 'full'
  | 'propose'
  | 'afterCommit'
  | 'notify'
  | 'fresh'
  | 'timer'
  | 'nodeAlive'
  | 'requestSnapshot'
>;

/** A machine's context: made before the state is restored, attached when the coordinator serves. */
export class MachineContext implements CoordinatorContext {
  readonly kind: string;
  readonly index: number;
  readonly shardId: ShardId;
  readonly epoch: number;
  readonly self: Caller;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly outbox: Outbox;
  #serving: ServingContext | undefined;

  constructor(
    identity: CoordinatorIdentity,
    ports: { readonly clock: Clock; readonly logger: Logger; readonly outbox: Outbox },
  ) {
    this.kind = identity.kind;
    this.index = identity.index;
    this.shardId = identity.shardId;
    this.epoch = identity.epoch;
    this.self = identity.self;
    this.clock = ports.clock;
    this.logger = ports.logger;
    this.outbox = ports.outbox;
  }

  attach(serving: ServingContext): void {
    this.#serving = serving;
  }

  get full(): boolean {
    return this.#attached().full;
  }

  propose(record: Buffer): Offset {
    return this.#attached().propose(record);
  }

  afterCommit(callback: () => void): void {
    this.#attached().afterCommit(callback);
  }

  notify(nodeId: string, payload: Buffer): void {
    this.#attached().notify(nodeId, payload);
  }

  fresh(onFresh: () => void): void {
    this.#attached().fresh(onFresh);
  }

  timer(fire: () => void): MachineTimer {
    return this.#attached().timer(fire);
  }

  nodeAlive(nodeId: string, incarnation: number): boolean {
    return this.#attached().nodeAlive(nodeId, incarnation);
  }

  requestSnapshot(): void {
    this.#attached().requestSnapshot();
  }

  #attached(): ServingContext {
    assert(this.#serving !== undefined, 'a machine uses its context from started() on');
    return this.#serving;
  }
}
