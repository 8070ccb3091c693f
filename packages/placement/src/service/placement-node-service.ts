import { OperatingError, expectOperatingError } from '@robustmq/core';
import {
  type HeartbeatResponse,
  type MessageStream,
  type PeerIdentity,
  placementNodeMethods,
  Segment,
  type ServiceRegistry,
  type ShardResult,
  Status,
  toStatus,
  type WatchResponse,
} from '@robustmq/rpc';
import { unsealedSegment } from '../core/chain.ts';
import { allocateProducerIds } from '../controller/cluster.ts';
import type { Controller } from '../controller/controller.ts';
import type { Image } from '../controller/image.ts';
import { HeartbeatSession } from '../controller/heartbeat-session.ts';
import { holdShards } from '../controller/holds.ts';
import { beforeOffset, segmentsPrefix } from '../controller/keys.ts';
import { WatchSession } from '../controller/watch-session.ts';
import type { PlacementMetrics } from '../metrics.ts';
import type { MetadataStore } from '../store/metadata-store.ts';
import { checkCallerIsNode } from './caller-check.ts';
import { checkCount } from './request-limits.ts';

export interface PlacementNodeServiceOptions {
  /** Throws NOT_LEADER while another placement server decides. */
  readonly controller: () => Controller;
  readonly store: MetadataStore;
  readonly metrics: PlacementMetrics;
}

const done = Status.create({});
const segmentsDefault = 100;
const segmentsMax = 1_000;

/** What brokers and journals call. */
export class PlacementNodeService {
  readonly #options: PlacementNodeServiceOptions;
  readonly #watches = new Set<WatchSession>();
  readonly #heartbeats = new Set<HeartbeatSession>();

  constructor(options: PlacementNodeServiceOptions) {
    this.#options = options;
  }

  get #controller(): Controller {
    return this.#options.controller();
  }

  /** Throws UNAVAILABLE when it was found out that the store is an old copy: it knows no chain's end. */
  get #serving(): Controller {
    const controller = this.#controller;
    const { stopped } = controller.ledger;
    if (stopped !== undefined) throw new OperatingError('UNAVAILABLE', stopped.message);
    return controller;
  }

  register(registry: ServiceRegistry): void {
    registry.stream(placementNodeMethods.heartbeat, (stream, { caller }) =>
      this.#heartbeat(stream, caller),
    );
    registry.stream(placementNodeMethods.watch, (stream) => this.#watch(stream));
    this.#registerShardCalls(registry);
    registry.unary(placementNodeMethods.reportUnreachable, (request) => {
      const { nodeId, incarnation, reporterNodeId, silent } = request;
      this.#controller.reportUnreachable(nodeId, incarnation);
      if (silent) this.#controller.nodes.reportSilent(nodeId, incarnation, reporterNodeId);
      return {};
    });
    registry.unary(placementNodeMethods.allocateProducerIds, async ({ count }) => {
      const { ledger } = this.#serving;
      try {
        const first = await allocateProducerIds(ledger, count);
        return { status: undefined, first, count };
      } catch (thrown) {
        return { status: toStatus(expectOperatingError(thrown)), first: 0, count: 0 };
      }
    });
    registry.unary(placementNodeMethods.holdShards, async (request) => {
      const { ledger } = this.#serving;
      try {
        await holdShards(ledger, request);
        return { status: undefined };
      } catch (thrown) {
        return { status: toStatus(expectOperatingError(thrown)) };
      }
    });
  }

  /** Ends all streams; the nodes come back to whoever serves then. Their leases go on. */
  endStreams(error: OperatingError): void {
    for (const watch of this.#watches) watch.cancel(error);
    for (const heartbeat of this.#heartbeats) heartbeat.cancel(error);
  }

  #registerShardCalls(registry: ServiceRegistry): void {
    registry.unary(placementNodeMethods.openSegments, async ({ shardIds }) => {
      checkCount(shardIds, 'shards');
      const { chains, image } = this.#serving;
      const outcomes = await chains.opener.open(shardIds);
      return {
        results: shardIds.map((shardId) => resultOf(image, shardId, outcomes.get(shardId))),
      };
    });
    registry.unary(placementNodeMethods.resolveShards, ({ shardIds }) => {
      checkCount(shardIds, 'shards');
      const { image } = this.#serving;
      return { results: shardIds.map((shardId) => resultOf(image, shardId, undefined)) };
    });
    registry.unary(placementNodeMethods.listSegments, async (request) => {
      const { shardId, fromOffset } = request;
      const limit = Math.min(request.limit || segmentsDefault, segmentsMax);
      const found = resultOf(this.#serving.image, shardId, undefined);
      if (found.status !== undefined) return { status: found.status, segments: [] };
      return { status: undefined, segments: await this.#segments(shardId, fromOffset, limit) };
    });
    registry.unary(placementNodeMethods.prepareRolls, async (request) => {
      checkCount(request.segments, 'segments');
      const outcomes = await this.#serving.chains.rollPreparer.prepare(request);
      return { results: outcomes.map((error) => (error === undefined ? done : toStatus(error))) };
    });
    registry.unary(placementNodeMethods.rollSegments, async (request) => {
      checkCount(request.segments, 'segments');
      // A term may end meanwhile: what is not known must not be answered as if nothing was done.
      const { chains, image } = this.#controller;
      const outcomes = await chains.roller.roll(request);
      const results = request.segments.map(({ shardId }, at) =>
        resultOf(image, shardId, outcomes[at]),
      );
      return { results };
    });
    registry.unary(placementNodeMethods.trimShards, async ({ trims }) => {
      checkCount(trims, 'shards');
      const results: ShardResult[] = [];
      for (const { shardId, offset } of trims) results.push(await this.#trim(shardId, offset));
      return { results };
    });
  }

  async #trim(shardId: number, offset: number): Promise<ShardResult> {
    const { chains, image } = this.#controller;
    try {
      await chains.retention.trim(shardId, offset);
      return resultOf(image, shardId, undefined);
    } catch (thrown) {
      return resultOf(image, shardId, expectOperatingError(thrown));
    }
  }

  #heartbeat(
    stream: MessageStream<HeartbeatResponse>,
    caller: PeerIdentity | undefined,
  ): HeartbeatSession {
    const controller = this.#controller;
    const session = new HeartbeatSession(
      {
        nodes: controller.nodes,
        terms: () => controller.heartbeatTerms(),
        check: (request) => {
          checkCallerIsNode(caller, request.node);
          controller.checkHeartbeat(request);
        },
        onClosed: () => this.#heartbeats.delete(session),
      },
      stream,
    );
    this.#heartbeats.add(session);
    return session;
  }

  #watch(stream: MessageStream<WatchResponse>): WatchSession {
    const { store, metrics } = this.#options;
    const controller = this.#serving;
    const session = new WatchSession(
      {
        store,
        image: controller.image,
        identity: controller.watchIdentity,
        onClosed: () => {
          this.#watches.delete(session);
          metrics.watches.set(this.#watches.size);
        },
      },
      stream,
    );
    this.#watches.add(session);
    metrics.watches.set(this.#watches.size);
    return session;
  }

  async #segments(shardId: number, fromOffset: number, limit: number): Promise<Segment[]> {
    const range = await this.#options.store.range(segmentsPrefix(shardId), {
      after: beforeOffset(shardId, fromOffset),
      limit,
    });
    const segments = range.entries.map((entry) => Segment.decode(entry.value));
    const shard = this.#controller.image.shards.get(shardId)?.value.shard;
    const last = shard && unsealedSegment(shard);
    if (last !== undefined && segments.length < limit) segments.push(last);
    return segments;
  }
}

function resultOf(image: Image, shardId: number, error: OperatingError | undefined): ShardResult {
  const shard = image.shards.get(shardId)?.value.shard;
  if (error !== undefined) return { shardId, status: toStatus(error), shard };
  if (shard !== undefined) return { shardId, status: undefined, shard };
  const missing = new OperatingError('NOT_FOUND', `there is no shard ${shardId}`);
  return { shardId, status: toStatus(missing), shard };
}
