import { type Clock, type Logger, type Offset, OperatingError, unreachable } from '@robustmq/core';
import type { JournalClient } from '@robustmq/journal-client';
import type { Catalog, PlacementClient } from '@robustmq/placement-client';
import { type CoordinatorIdentity, MachineContext } from './machine-context.ts';
import { MachineState } from './machine-state.ts';
import { ServingCoordinator, type TakenOver } from './serving-coordinator.ts';
import type { SnapshotPolicy } from './snapshot-writer.ts';
import type { Caller, CoordinatorKind, Reply } from './state-machine.ts';
import { takeOver } from './takeover.ts';

/** Where an ownership stands (DESIGN.md, "States of an ownership"). */
export type CoordinatorPhase = 'taking-over' | 'serving' | 'draining' | 'stopped';

export interface CoordinatorOptions {
  readonly kind: CoordinatorKind;
  readonly identity: CoordinatorIdentity;
  readonly catalog: Pick<Catalog, 'shard' | 'node'>;
  readonly journal: Pick<JournalClient, 'appendBatch' | 'read' | 'newProducerId'>;
  readonly placement: Pick<PlacementClient, 'resolveShards' | 'trimShards'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly snapshotPolicy: SnapshotPolicy;
  readonly nodeAlive: (nodeId: string, incarnation: number) => boolean;
  readonly notify: (nodeId: string, payload: Buffer) => void;
  /**
   * It has ended by itself: WRITER_FENCED when another broker has taken over. Otherwise the same
   * ownership may begin again when {@link Coordinator.idle} has resolved.
   */
  readonly ended: (error: OperatingError) => void;
}

/** Commands that wait for a takeover to be finished, at most. */
const heldCallsMax = 10_000;
const heldBytesMax = 8 * 1024 * 1024;

interface HeldCall {
  readonly payload: Buffer;
  readonly caller: Caller;
  readonly sink: Reply;
}

/** One ownership of a coordinator, from the takeover to its end. */
export class Coordinator {
  readonly #options: CoordinatorOptions;
  readonly #abort = new AbortController();
  #serving: ServingCoordinator | undefined;
  #phase: CoordinatorPhase = 'taking-over';
  #held: HeldCall[] = [];
  #heldBytes = 0;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
    void this.#takeOver();
  }

  get identity(): CoordinatorIdentity {
    return this.#options.identity;
  }

  get phase(): CoordinatorPhase {
    return this.#phase;
  }

  /**
   * Carries out a command, or keeps it until the takeover is finished. An error says why it was not taken:
   * `sink` is not called then.
   */
  command(payload: Buffer, caller: Caller, sink: Reply): OperatingError | undefined {
    switch (this.#phase) {
      case 'serving':
        return this.#serving?.command(payload, caller, sink);
      case 'taking-over':
        return this.#hold({ payload, caller, sink });
      case 'draining':
      case 'stopped':
        return this.#notHere();
      default:
        return unreachable(this.#phase);
    }
  }

  /** That incarnation of a broker has gone. */
  nodeGone(nodeId: string, incarnation: number): void {
    if (this.#phase === 'serving') this.#serving?.nodeGone(nodeId, incarnation);
  }

  /** Takes no commands any more; resolves when everything is committed and a due snapshot is made. */
  async drain(): Promise<void> {
    if (this.#phase !== 'serving') return;
    this.#phase = 'draining';
    await this.#serving?.flush();
  }

  /** Resolves when the journal has answered every append of this ownership. */
  async idle(): Promise<void> {
    await this.#serving?.idle();
  }

  /** Ends it; what waits is answered NOT_LEADER, with the new owner as the hint. */
  stop(ownerNodeId?: string): void {
    this.#stop(this.#notHere(ownerNodeId));
  }

  #stop(error: OperatingError): void {
    if (this.#phase === 'stopped') return;
    this.#phase = 'stopped';
    this.#abort.abort(error);
    const held = this.#held;
    this.#held = [];
    for (const { sink } of held) sink.fail(error);
    this.#serving?.stop(error);
  }

  async #takeOver(): Promise<void> {
    const { identity, catalog, journal, placement, clock, logger } = this.#options;
    const contexts = new WeakMap<MachineState, MachineContext>();
    const newState = (): MachineState => this.#newState(contexts);
    const { signal } = this.#abort;
    try {
      const ports = { identity, catalog, journal, placement, clock, logger };
      const taken = await takeOver({ ...ports, newState, signal });
      if (this.#phase === 'taking-over') this.#serve(taken, contexts.get(taken.state));
    } catch (thrown) {
      if (signal.aborted) return;
      if (!(thrown instanceof OperatingError)) throw thrown;
      this.#end(thrown);
    }
  }

  #newState(contexts: WeakMap<MachineState, MachineContext>): MachineState {
    const { identity, kind, clock, logger } = this.#options;
    let context: MachineContext | undefined;
    const state = new MachineState((outbox) => {
      context = new MachineContext(identity, { clock, logger, outbox });
      return kind.create(context);
    });
    if (context !== undefined) contexts.set(state, context);
    return state;
  }

  #serve(taken: TakenOver, context: MachineContext | undefined): void {
    const { identity, journal, clock, logger, snapshotPolicy, nodeAlive, notify } = this.#options;
    const serving = new ServingCoordinator({
      identity,
      taken,
      journal,
      clock,
      logger,
      snapshotPolicy,
      nodeAlive,
      notify,
      trim: (firstOffset) => void this.#trim(firstOffset),
      failed: (error) => this.#end(error),
    });
    context?.attach(serving);
    this.#serving = serving;
    this.#phase = 'serving';
    const { kind, index, epoch } = identity;
    logger.info({ kind, index, epoch, offset: taken.nextOffset }, 'coordinator taken over');
    serving.start();
    this.#carryOutHeld(serving);
  }

  #carryOutHeld(serving: ServingCoordinator): void {
    const held = this.#held;
    this.#held = [];
    this.#heldBytes = 0;
    for (const { payload, caller, sink } of held) {
      const refusal = serving.command(payload, caller, sink);
      if (refusal !== undefined) sink.fail(refusal);
    }
  }

  #hold(call: HeldCall): OperatingError | undefined {
    const bytes = this.#heldBytes + call.payload.length;
    if (this.#held.length >= heldCallsMax || bytes > heldBytesMax) {
      const { kind, index } = this.identity;
      return new OperatingError(
        'RESOURCE_EXHAUSTED',
        `too many calls wait for the takeover of coordinator ${kind}/${index}`,
        { retryAfterMs: 100 },
      );
    }
    this.#held.push(call);
    this.#heldBytes = bytes;
    return undefined;
  }

  /** It cannot go on by itself. */
  #end(error: OperatingError): void {
    if (this.#phase === 'stopped') return;
    this.#stop(this.#notHere());
    this.#options.ended(error);
  }

  async #trim(firstOffset: Offset): Promise<void> {
    const { placement, identity, logger } = this.#options;
    const trims = [{ shardId: identity.shardId, offset: firstOffset }];
    const failed = (error: OperatingError): void => {
      const fields = { shardId: identity.shardId, offset: firstOffset, code: error.code };
      logger.warn(fields, `the next snapshot trims the log again: ${error.message}`);
    };
    try {
      const [outcome] = await placement.trimShards(trims);
      if (outcome instanceof OperatingError) failed(outcome);
    } catch (thrown) {
      if (!(thrown instanceof OperatingError)) throw thrown;
      failed(thrown);
    }
  }

  #notHere(ownerNodeId?: string): OperatingError {
    const { kind, index, self } = this.identity;
    return new OperatingError(
      'NOT_LEADER',
      `coordinator ${kind}/${index} is not run by ${self.nodeId} any more; ask its owner`,
      ownerNodeId === undefined || ownerNodeId === '' ? {} : { nodeId: ownerNodeId },
    );
  }
}
