import { type Logger, OperatingError, type Random } from '@robustmq/core';
import { Coordinator, type CoordinatorKind, NodeRole, NodeState } from '@robustmq/rpc';
import { assignOwners, evenOut, type LiveBroker } from '../core/coordinator-assignment.ts';
import { internalTopicOf } from '../core/topic-name.ts';
import type { Row } from './image.ts';
import { coordinatorKey } from './keys.ts';
import { type Ledger, put } from './ledger.ts';
import { planTopic } from './topic-plan.ts';

export interface CoordinatorsOptions {
  readonly ledger: Ledger;
  readonly random: Random;
  readonly logger: Logger;
  /** Told how many coordinators got another owner. */
  readonly onMoved: (count: number) => void;
}

/** Shards of one kind, at most: its topic is made in one transaction. */
const shardsMax = 60;

/** Internal shards lose only what their coordinator trims. */
const internalConfig = { 'retention.ms': '-1', 'retention.bytes': '-1' };

/** Says which broker runs which coordinator. */
export class Coordinators {
  readonly #options: CoordinatorsOptions;
  /** The brokers that the last pass saw; balancing waits until they are the same twice. */
  #lastBrokers = '';

  constructor(options: CoordinatorsOptions) {
    this.#options = options;
  }

  /** Makes the internal topics of kinds that are announced for the first time. */
  async announce(kinds: readonly CoordinatorKind[]): Promise<void> {
    for (const { kind, shards } of kinds) {
      const name = internalTopicOf(kind);
      if (shards < 1 || shards > shardsMax) {
        const message = `coordinator kind ${kind} has 1 to ${shardsMax} shards, not ${shards}`;
        throw new OperatingError('INVALID_ARGUMENT', message);
      }
      const { ledger, random } = this.#options;
      const made = await ledger.change(() => {
        if (ledger.image.topics.has(name)) return undefined;
        const plan = planTopic(ledger.image, random, {
          name,
          partitions: shards,
          config: internalConfig,
        });
        const coordinators = plan.topic.shardIds.map((shardId, index) =>
          putCoordinator(Coordinator.create({ kind, index, shardId })),
        );
        return {
          conditions: plan.conditions,
          operations: [...plan.operations, ...coordinators],
        };
      });
      if (made) this.#options.logger.info({ kind, shards }, 'coordinator kind made');
    }
  }

  /** Gives coordinators without a live owner, or with one that leaves, to brokers that can run them. */
  async assign(): Promise<void> {
    const brokers = this.#brokers();
    await this.#changeEach((coordinators) => assignOwners(coordinators, brokers));
  }

  /** Evens out what brokers have, once the same brokers were there in the pass before. */
  async balance(): Promise<void> {
    await this.assign();
    const brokers = this.#brokers();
    const seen = brokers.map((broker) => `${broker.nodeId}/${broker.incarnation}`).join();
    const isCalm = seen === this.#lastBrokers;
    this.#lastBrokers = seen;
    if (isCalm) await this.#changeEach((coordinators) => evenOut(coordinators, brokers));
  }

  async #changeEach(decide: (coordinators: Coordinator[]) => Coordinator[]): Promise<void> {
    const { ledger, logger, onMoved } = this.#options;
    for (const [kind, rows] of ledger.image.coordinators) {
      let moved = 0;
      await ledger.change(() => {
        const known = [...rows.values()].map((row) => row.value);
        const changes = decide(known).slice(0, ledger.operationsMax);
        moved = changes.length;
        if (moved === 0) return undefined;
        return {
          conditions: changes.map((change) => conditionOf(change, rows)),
          operations: changes.map(putCoordinator),
        };
      });
      if (moved === 0) continue;
      logger.info({ kind, moved }, 'coordinators have new owners');
      onMoved(moved);
    }
  }

  #brokers(): LiveBroker[] {
    const brokers: LiveBroker[] = [];
    for (const { value } of this.#options.ledger.image.nodes.values()) {
      const { node } = value;
      if (node?.role !== NodeRole.BROKER || node.state === NodeState.DOWN) continue;
      const { nodeId, incarnation } = node;
      const kinds = new Set(value.coordinatorKinds.map((announced) => announced.kind));
      brokers.push({ nodeId, incarnation, draining: node.state === NodeState.DRAINING, kinds });
    }
    return brokers.sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1));
  }
}

function putCoordinator(coordinator: Coordinator): ReturnType<typeof put> {
  return put(coordinatorKey(coordinator.kind, coordinator.index), Coordinator.encode(coordinator));
}

function conditionOf(
  { kind, index }: Coordinator,
  rows: ReadonlyMap<number, Row<Coordinator>>,
): { key: string; revision: number } {
  return { key: coordinatorKey(kind, index), revision: rows.get(index)?.revision ?? 0 };
}
