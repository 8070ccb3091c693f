import { NodeRole, NodeState, SegmentState, type StoredNode } from '@robustmq/rpc';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Image, Row } from './controller/image.ts';

/** From a seal of one segment to a failover that waits for a journal. */
const durationBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

const roleNames: Record<NodeRole, string> = {
  [NodeRole.UNSPECIFIED]: 'unspecified',
  [NodeRole.BROKER]: 'broker',
  [NodeRole.JOURNAL]: 'journal',
};
const stateNames: Record<NodeState, string> = {
  [NodeState.UNSPECIFIED]: 'unspecified',
  [NodeState.UP]: 'up',
  [NodeState.DRAINING]: 'draining',
  [NodeState.DOWN]: 'down',
  [NodeState.DRAINED]: 'drained',
};

/** What the gauges are read from. */
interface Seen {
  readonly image: Image;
  readonly stuckSeals: () => number;
  readonly underReplicated: () => number;
}

/** What placement counts. Gauges are read from its picture of the store when they are asked for. */
export class PlacementMetrics {
  readonly segmentsOpened: Counter;
  readonly segmentsSealed: Counter;
  readonly segmentsRemovedEmpty: Counter;
  readonly segmentsDropped: Counter;
  readonly segmentsDeleted: Counter;
  readonly holdsOverridden: Counter;
  readonly replicasRepaired: Counter;
  readonly repairedBytes: Counter;
  readonly coordinatorsMoved: Counter;
  readonly transactions: Counter<'result'>;
  readonly transactionOperations: Histogram;
  readonly sealSeconds: Histogram;
  readonly failoverSeconds: Histogram;
  readonly unknownReplicas: Gauge<'node'>;
  readonly watches: Gauge;
  /** What is seen now; undefined while another placement server decides. */
  #seen: Seen | undefined;
  readonly #registry: Registry;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.segmentsOpened = this.#counter('segments_opened_total', 'Segments opened.');
    this.segmentsSealed = this.#counter('segments_sealed_total', 'Segments sealed with records.');
    this.segmentsRemovedEmpty = this.#counter(
      'segments_removed_empty_total',
      'Segments that were sealed empty and left their chain.',
    );
    this.segmentsDropped = this.#counter(
      'segments_dropped_total',
      'Segments that left their chain by retention, trim or deletion.',
    );
    this.segmentsDeleted = this.#counter(
      'segments_deleted_total',
      'Segments whose replicas are gone from all their journals.',
    );
    this.holdsOverridden = this.#counter(
      'holds_overridden_total',
      'Times that records went although somebody still needed them.',
    );
    this.replicasRepaired = this.#counter(
      'replicas_repaired_total',
      'Replicas of sealed segments that were completed or copied.',
    );
    this.repairedBytes = this.#counter(
      'repaired_bytes_total',
      'Bytes of the segments whose replicas were completed or copied.',
    );
    this.coordinatorsMoved = this.#counter(
      'coordinators_moved_total',
      'Coordinators that got another owner.',
    );
    this.transactions = new Counter({
      name: 'robustmq_placement_transactions_total',
      help: 'Transactions of the metadata store.',
      labelNames: ['result'],
      registers: [registry],
    });
    this.transactionOperations = new Histogram({
      name: 'robustmq_placement_transaction_operations',
      help: 'Operations in one transaction.',
      buckets: [1, 2, 5, 10, 20, 50, 100, 200],
      registers: [registry],
    });
    this.sealSeconds = new Histogram({
      name: 'robustmq_placement_seal_seconds',
      help: 'Time of one attempt to seal segments without their leaders, from its begin to their recorded ends.',
      buckets: durationBuckets,
      registers: [registry],
    });
    this.failoverSeconds = new Histogram({
      name: 'robustmq_placement_failover_seconds',
      help: 'Time from noticing that a journal is down until all segments that it led are sealed.',
      buckets: durationBuckets,
      registers: [registry],
    });
    this.unknownReplicas = new Gauge({
      name: 'robustmq_placement_unknown_replicas',
      help: 'Replicas with records that no chain knows, by journal.',
      labelNames: ['node'],
      registers: [registry],
    });
    this.watches = new Gauge({
      name: 'robustmq_placement_watches',
      help: 'Open watches of the catalog.',
      registers: [registry],
    });
    this.#addGauges();
  }

  /** From now on the gauges tell this picture of the store; nothing while another server decides. */
  observe(seen: Seen | undefined): void {
    this.#seen = seen;
    this.unknownReplicas.reset();
  }

  #addGauges(): void {
    this.#addNodes();
    const gauge = (name: string, help: string, read: (seen: Seen) => number): void =>
      this.#gauge(name, help, () => (this.#seen === undefined ? 0 : read(this.#seen)));
    gauge('leads', '1 while this placement server is the one that decides.', () => 1);
    gauge('topics', 'Topics, internal ones included.', ({ image }) => image.topics.size);
    gauge('shards', 'Shards.', ({ image }) => image.shards.size);
    gauge('segments_open', 'Segments that take appends.', ({ image }) => countOpen(image));
    gauge(
      'segments_sealing',
      'Segments whose end is being found.',
      ({ image }) => image.unsealed.size - countOpen(image),
    );
    gauge(
      'segments_stuck',
      'Segments whose last attempt to find their end failed: their shards are unavailable.',
      ({ stuckSeals }) => stuckSeals(),
    );
    gauge(
      'segments_under_replicated',
      'Segments, of the last three of each chain, with fewer live copies than replicas.',
      ({ image }) => countUnderReplicated(image),
    );
    gauge(
      'segments_to_repair',
      'Sealed segments that are known to have fewer full replicas than members.',
      ({ underReplicated }) => underReplicated(),
    );
    gauge(
      'segments_deleting',
      'Segments whose replicas are not gone from all their journals yet.',
      ({ image }) => image.deleting.size,
    );
    gauge('revision', 'Revision of the metadata store.', ({ image }) => image.revision);
    gauge(
      'epoch',
      'Grows with each start of placement, and whenever another server takes over.',
      ({ image }) => image.cluster?.value.placementEpoch ?? 0,
    );
  }

  #addNodes(): void {
    const nodesSeen = (): Iterable<Row<StoredNode>> => this.#seen?.image.nodes.values() ?? [];
    const nodes = new Gauge({
      name: 'robustmq_placement_nodes',
      help: 'Nodes by role and state.',
      labelNames: ['role', 'state'],
      registers: [],
      collect() {
        this.reset();
        for (const { value } of nodesSeen()) {
          if (value.node === undefined) continue;
          this.inc({ role: roleNames[value.node.role], state: stateNames[value.node.state] });
        }
      },
    });
    this.#registry.registerMetric(nodes);
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name: `robustmq_placement_${name}`, help, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, read: () => number): void {
    const gauge = new Gauge({
      name: `robustmq_placement_${name}`,
      help,
      registers: [],
      collect() {
        this.set(read());
      },
    });
    this.#registry.registerMetric(gauge);
  }
}

function countOpen(image: Image): number {
  let open = 0;
  for (const shardId of image.unsealed) {
    const last = image.shards.get(shardId)?.value.shard?.segments.at(-1);
    if (last?.state === SegmentState.OPEN) open++;
  }
  return open;
}

function countUnderReplicated(image: Image): number {
  let count = 0;
  for (const { value } of image.shards.values()) {
    for (const { state, replicaNodeIds, fullNodeIds } of value.shard?.segments ?? []) {
      const copies = state === SegmentState.SEALED ? fullNodeIds : replicaNodeIds;
      const live = copies.filter((nodeId) => image.liveNode(nodeId) !== undefined);
      if (live.length < replicaNodeIds.length) count++;
    }
  }
  return count;
}
