import { OperatingError, toOperatingError } from '@robustmq/core';
import {
  type CatalogEntry,
  type CatalogRemoval,
  type MessageStream,
  placementNodeMethods,
  type ServiceRegistry,
  type ShardResult,
  toStatus,
  type WatchResponse,
} from '@robustmq/rpc';
import type { FakeShard } from './fake-shard.ts';

/** What placement knows and does, for {@link registerFakePlacement}. */
export interface FakePlacementState {
  entries(): CatalogEntry[];
  shard(shardId: number): FakeShard | undefined;
  /** Opens a segment if there is none. Throws an OperatingError. */
  ensureOpen(shard: FakeShard): void;
  takeProducerIds(count: number): number;
  shardChanged(shard: FakeShard): void;
}

/** Tells watchers about changes, unless it is told to be silent. */
export class FakeWatchers {
  readonly #streams = new Set<MessageStream<WatchResponse>>();
  #silentSteps: WatchResponse[] | undefined;
  #revision = 1;

  add(stream: MessageStream<WatchResponse>, entries: CatalogEntry[]): void {
    this.#streams.add(stream);
    const revision = this.#revision;
    stream.send({ revision, fullListBegins: true, entries, removals: [], placementEpoch: 1 });
  }

  remove(stream: MessageStream<WatchResponse>): void {
    this.#streams.delete(stream);
  }

  tell(entries: CatalogEntry[], removals: CatalogRemoval[] = []): void {
    const revision = ++this.#revision;
    const step = { revision, fullListBegins: false, entries, removals, placementEpoch: 1 };
    if (this.#silentSteps !== undefined) this.#silentSteps.push(step);
    else for (const stream of this.#streams) stream.send(step);
  }

  /** Keeps what is told to itself until {@link speak}. */
  beSilent(): void {
    this.#silentSteps ??= [];
  }

  speak(): void {
    const steps = this.#silentSteps ?? [];
    this.#silentSteps = undefined;
    for (const step of steps) for (const stream of this.#streams) stream.send(step);
  }
}

/** Placement's side of the calls that brokers make. Registrations and holds are taken and forgotten. */
export function registerFakePlacement(
  registry: ServiceRegistry,
  state: FakePlacementState,
  watchers: FakeWatchers,
): void {
  registry.stream(placementNodeMethods.watch, (stream) => ({
    message: () => watchers.add(stream, state.entries()),
    closed: () => watchers.remove(stream),
  }));
  registry.unary(placementNodeMethods.openSegments, ({ shardIds }) => ({
    results: shardIds.map((shardId) =>
      answerFor(state, shardId, (shard) => state.ensureOpen(shard)),
    ),
  }));
  registry.unary(placementNodeMethods.resolveShards, ({ shardIds }) => ({
    results: shardIds.map((shardId) => answerFor(state, shardId)),
  }));
  registry.unary(placementNodeMethods.listSegments, ({ shardId, fromOffset, limit }) => {
    const segments = state.shard(shardId)?.segments ?? [];
    const from = segments.filter(
      (segment) => segment.endOffset === 0 || segment.endOffset > fromOffset,
    );
    return { status: undefined, segments: from.slice(0, limit || 100).map((one) => ({ ...one })) };
  });
  registry.unary(placementNodeMethods.allocateProducerIds, ({ count }) => ({
    status: undefined,
    first: state.takeProducerIds(count),
    count,
  }));
  registry.unary(placementNodeMethods.reportUnreachable, () => ({}));
  registry.unary(placementNodeMethods.holdShards, () => ({ status: undefined }));
  registry.unary(placementNodeMethods.trimShards, ({ trims }) => ({
    results: trims.map(({ shardId, offset }) =>
      answerFor(state, shardId, (shard) => {
        shard.trim(offset);
        state.shardChanged(shard);
      }),
    ),
  }));
}

function answerFor(
  state: FakePlacementState,
  shardId: number,
  change: (shard: FakeShard) => void = () => {},
): ShardResult {
  try {
    const shard = state.shard(shardId);
    if (shard === undefined) throw new OperatingError('NOT_FOUND', `there is no shard ${shardId}`);
    change(shard);
    return { shardId, status: undefined, shard: shard.describe() };
  } catch (thrown) {
    return { shardId, status: toStatus(toOperatingError(thrown)), shard: undefined };
  }
}
