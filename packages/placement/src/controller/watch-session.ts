import { OperatingError, expectOperatingError } from '@robustmq/core';
import {
  type CatalogEntry,
  type CatalogRemoval,
  Coordinator,
  type MessageStream,
  StoredNode,
  StoredShard,
  type StreamHandlers,
  Topic,
  type WatchRequest,
  type WatchResponse,
} from '@robustmq/rpc';
import type { MetadataStore, StoredChange } from '../store/metadata-store.ts';
import { type Image, shardOf } from './image.ts';
import { kindOfKey, nameOfKey, shardIdOfKey } from './keys.ts';

export interface WatchSessionOptions {
  readonly store: MetadataStore;
  readonly image: Image;
  readonly identity: PlacementIdentity;
  /** Told once, when the watch is over. */
  readonly onClosed: () => void;
}

/** Who tells. */
export interface PlacementIdentity {
  readonly placementEpoch: number;
  readonly placementInstance: Buffer;
}

/** Entries of one message, as the contract says. */
const entriesMax = 1_000;

/**
 * One watcher: gets the full list, or what has changed since its revision, then what changes. It is
 * read from the store at the watcher's own pace, so a slow one costs nothing but its own delay.
 */
export class WatchSession implements StreamHandlers<WatchRequest> {
  readonly #options: WatchSessionOptions;
  readonly #stream: MessageStream<WatchResponse>;
  readonly #closed = new AbortController();
  #drained: (() => void) | undefined;
  #started = false;

  constructor(options: WatchSessionOptions, stream: MessageStream<WatchResponse>) {
    this.#options = options;
    this.#stream = stream;
  }

  message({ fromRevision, placementInstance }: WatchRequest): void {
    if (this.#started) return;
    this.#started = true;
    // Revisions of another placement may belong to another history: of a copy of the store, or a rebuilt one.
    const isKnown = placementInstance?.equals(this.#options.identity.placementInstance) === true;
    void this.#run(isKnown ? fromRevision : 0);
  }

  drain(): void {
    this.#drained?.();
  }

  closed(): void {
    this.#options.onClosed();
    this.#closed.abort();
    this.#drained?.();
    this.#stream.end();
  }

  /** Ends the watch from this side; the watcher comes back to whoever serves then. */
  cancel(error: OperatingError): void {
    this.#closed.abort();
    this.#drained?.();
    this.#stream.cancel(error);
  }

  async #run(fromRevision: number): Promise<void> {
    let position = fromRevision;
    // Tells the watcher that somebody is there, although nothing may have changed.
    if (position > 0) await this.#send(messageOf([], position, this.#options.identity));
    while (!this.#closed.signal.aborted) {
      try {
        if (position === 0) position = await this.#sendFullList();
        for await (const { changes, revision } of this.#watch(position)) {
          await this.#send(messageOf(changes, revision, this.#options.identity));
          position = revision;
        }
        // A watch that ends by itself: the store was closed before this session.
        if (!this.#closed.signal.aborted) throw storeClosed();
      } catch (thrown) {
        const error = expectOperatingError(thrown);
        if (error.code === 'COMPACTED' && position !== 0) position = 0;
        else this.cancel(new OperatingError('UNAVAILABLE', error.message));
      }
    }
  }

  #watch(position: number): AsyncIterable<{ changes: readonly StoredChange[]; revision: number }> {
    return this.#options.store.watch(position, this.#closed.signal);
  }

  /** Sends everything as it is now, in chunks; returns the revision that it is complete for. */
  async #sendFullList(): Promise<number> {
    const { image, identity } = this.#options;
    // Changes after this revision are told afterwards, whether the list already had them or not.
    const { revision } = image;
    const entries = [...listOf(image)];
    for (let at = 0; at === 0 || at < entries.length; at += entriesMax) {
      const isLast = at + entriesMax >= entries.length;
      await this.#send({
        revision: isLast ? revision : 0,
        fullListBegins: at === 0,
        entries: entries.slice(at, at + entriesMax),
        removals: [],
        ...identity,
      });
    }
    return revision;
  }

  async #send(message: WatchResponse): Promise<void> {
    if (this.#closed.signal.aborted || this.#stream.send(message)) return;
    await new Promise<void>((resolve) => {
      this.#drained = resolve;
    });
    this.#drained = undefined;
  }
}

function storeClosed(): OperatingError {
  return new OperatingError('UNAVAILABLE', 'the metadata store was closed');
}

function* listOf(image: Image): Generator<CatalogEntry> {
  for (const { value } of image.nodes.values()) {
    if (value.node !== undefined) yield { entry: { $case: 'node', value: value.node } };
  }
  for (const { value } of image.topics.values()) yield { entry: { $case: 'topic', value } };
  for (const { value } of image.shards.values()) {
    yield { entry: { $case: 'shard', value: shardOf(value) } };
  }
  for (const ofKind of image.coordinators.values()) {
    for (const { value } of ofKind.values()) yield { entry: { $case: 'coordinator', value } };
  }
}

function messageOf(
  changes: readonly StoredChange[],
  revision: number,
  identity: PlacementIdentity,
): WatchResponse {
  const entries: CatalogEntry[] = [];
  const removals: CatalogRemoval[] = [];
  for (const change of changes) {
    if (change.kind === 'put') {
      const entry = entryOf(change.key, change.value);
      if (entry !== undefined) entries.push({ entry });
    } else {
      const removal = removalOf(change.key);
      if (removal !== undefined) removals.push({ removal });
    }
  }
  return { revision, fullListBegins: false, entries, removals, ...identity };
}

function entryOf(key: string, value: Buffer): CatalogEntry['entry'] {
  switch (kindOfKey(key)) {
    case 'node': {
      const { node } = StoredNode.decode(value);
      return node && { $case: 'node', value: node };
    }
    case 'topic':
      return { $case: 'topic', value: Topic.decode(value) };
    case 'shard':
      return { $case: 'shard', value: shardOf(StoredShard.decode(value)) };
    case 'coordinator':
      return { $case: 'coordinator', value: Coordinator.decode(value) };
    case 'hold':
    case 'deleting':
    case 'topicDeletion':
    case 'removedNode':
    case undefined:
      return undefined;
    default:
      return undefined;
  }
}

function removalOf(key: string): CatalogRemoval['removal'] {
  switch (kindOfKey(key)) {
    case 'node':
      return { $case: 'nodeId', value: nameOfKey(key) };
    case 'topic':
      return { $case: 'topic', value: nameOfKey(key) };
    case 'shard':
      return { $case: 'shardId', value: shardIdOfKey(key) };
    case 'coordinator':
    case 'hold':
    case 'deleting':
    case 'topicDeletion':
    case 'removedNode':
    case undefined:
      return undefined;
    default:
      return undefined;
  }
}
