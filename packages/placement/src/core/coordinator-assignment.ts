import { createHash } from 'node:crypto';
import { assert } from '@robustmq/core';
import type { Coordinator } from '@robustmq/rpc';

/** A broker whose lease is held. */
export interface LiveBroker {
  readonly nodeId: string;
  readonly incarnation: number;
  readonly draining: boolean;
  /** Kinds of coordinators that it can run. */
  readonly kinds: ReadonlySet<string>;
}

/**
 * Gives every coordinator of one kind that has no live owner, or a draining one, to a broker that can
 * run it. Returns only what changes, each with the next epoch. Which broker gets which is decided by
 * rendezvous hashing with a cap, so that they are spread and few move when brokers come and go.
 * A draining broker keeps its own while nobody else can run them.
 */
export function assignOwners(
  coordinators: readonly Coordinator[],
  brokers: readonly LiveBroker[],
): Coordinator[] {
  const { able, owned } = survey(coordinators, brokers);
  const takers = able.filter((broker) => !broker.draining);
  const cap = Math.ceil(coordinators.length / Math.max(1, takers.length));
  const changes: Coordinator[] = [];
  for (const coordinator of coordinators) {
    const owner = able.find((broker) => owns(broker, coordinator));
    if (owner !== undefined && (!owner.draining || takers.length === 0)) continue;
    const taker = preferred(coordinator, takers, (broker) => countOf(owned, broker) < cap);
    if (taker === undefined) {
      if (coordinator.ownerNodeId !== '') changes.push(withOwner(coordinator, undefined));
      continue;
    }
    owned.set(taker.nodeId, countOf(owned, taker) + 1);
    changes.push(withOwner(coordinator, taker));
  }
  return changes;
}

/**
 * Moves coordinators of one kind from brokers that have more than their share to ones that have less:
 * only as many as evens the counts out to within one. Every coordinator with a live owner may move.
 */
export function evenOut(
  coordinators: readonly Coordinator[],
  brokers: readonly LiveBroker[],
): Coordinator[] {
  const { able, owned } = survey(coordinators, brokers);
  const takers = able.filter((broker) => !broker.draining);
  const moved = new Map<number, Coordinator>();
  for (;;) {
    const most = extreme(takers, (broker) => -countOf(owned, broker));
    const least = extreme(takers, (broker) => countOf(owned, broker));
    if (most === undefined || least === undefined) break;
    if (countOf(owned, most) - countOf(owned, least) < 2) break;
    const mine = coordinators.filter(
      (coordinator) => owns(most, coordinator) && !moved.has(coordinator.index),
    );
    const next = extreme(mine, (coordinator) => -weight(coordinator, least));
    assert(next !== undefined, 'a broker with more than its share has one that did not move yet');
    moved.set(next.index, withOwner(next, least));
    owned.set(most.nodeId, countOf(owned, most) - 1);
    owned.set(least.nodeId, countOf(owned, least) + 1);
  }
  return [...moved.values()];
}

interface Survey {
  /** Brokers that can run the kind. */
  readonly able: readonly LiveBroker[];
  /** Coordinators that each of them owns now. */
  readonly owned: Map<string, number>;
}

function survey(coordinators: readonly Coordinator[], brokers: readonly LiveBroker[]): Survey {
  const kind = coordinators[0]?.kind ?? '';
  assert(
    coordinators.every((coordinator) => coordinator.kind === kind),
    'coordinators are assigned kind by kind',
  );
  const able = brokers.filter((broker) => broker.kinds.has(kind));
  const owned = new Map<string, number>();
  for (const broker of able) {
    const count = coordinators.filter((coordinator) => owns(broker, coordinator)).length;
    owned.set(broker.nodeId, count);
  }
  return { able, owned };
}

function owns(broker: LiveBroker, coordinator: Coordinator): boolean {
  return (
    coordinator.ownerNodeId === broker.nodeId && coordinator.ownerIncarnation === broker.incarnation
  );
}

function withOwner(coordinator: Coordinator, owner: LiveBroker | undefined): Coordinator {
  return {
    ...coordinator,
    ownerNodeId: owner?.nodeId ?? '',
    ownerIncarnation: owner?.incarnation ?? 0,
    epoch: coordinator.epoch + 1,
  };
}

function preferred(
  coordinator: Coordinator,
  brokers: readonly LiveBroker[],
  hasRoom: (broker: LiveBroker) => boolean,
): LiveBroker | undefined {
  return extreme(brokers.filter(hasRoom), (broker) => -weight(coordinator, broker));
}

/** The item with the smallest number; the first of equals. */
function extreme<T>(items: readonly T[], numberOf: (item: T) => number): T | undefined {
  let best: T | undefined;
  let bestNumber = Number.POSITIVE_INFINITY;
  for (const item of items) {
    const number = numberOf(item);
    if (number < bestNumber) {
      best = item;
      bestNumber = number;
    }
  }
  return best;
}

/** Rendezvous weight: the same everywhere for one coordinator and broker. */
function weight(coordinator: Coordinator, broker: LiveBroker): number {
  const name = `${coordinator.kind}/${coordinator.index}@${broker.nodeId}`;
  return createHash('sha1').update(name).digest().readUInt32LE(0);
}

function countOf(owned: ReadonlyMap<string, number>, broker: LiveBroker): number {
  return owned.get(broker.nodeId) ?? 0;
}
