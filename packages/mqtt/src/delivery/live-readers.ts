import type { Logger, Offset, OperatingError, ShardId } from '@robustmq/core';
import { offset } from '@robustmq/core';
import type { Attachment, DecodedBatch, FanOut, FanOutReader, TopicNames } from '@robustmq/kernel';

import { SubscriptionTrie } from '../codec/subscription-trie.ts';
import { RecordMessage } from '../message/record-message.ts';
import type { MqttCounters } from '../server/mqtt-counters.ts';
import type { SlowClients } from '../slow/slow-clients.ts';
import { meterDropped, meterOut, type TopicMeter, type TopicMeters } from '../slow/topic-meters.ts';
import { isSystemFilter } from '../system/system-topic.ts';
import type { LiveSession } from './live-session.ts';
import type { LiveSubscription } from './live-subscription.ts';
import { type LiveTrie, MatchTable, type NameMatch } from './match-table.ts';
import { PacketClasses } from './packet-classes.ts';
import type { Trims } from './trims.ts';

export interface LiveReadersOptions {
  readonly fanOut: FanOut;
  readonly names: TopicNames;
  readonly topicOf: (shardId: ShardId) => string | undefined;
  readonly wallMs: () => number;
  readonly counters: MqttCounters;
  readonly trims: Trims;
  /** Live sessions of a partition have missed so many records that were trimmed. */
  readonly missed: (shardId: ShardId, records: number) => void;
  readonly logger: Logger;
  readonly matchCacheMax: number;
  readonly slow: Pick<SlowClients, 'thresholdMs' | 'note'>;
  readonly meters: Pick<TopicMeters, 'of'>;
}

/**
 * The live path: one reader per partition that somebody on this broker subscribed to, all before one
 * trie. A reader never falls behind: sessions that cannot take a record lag by themselves.
 */
export class LiveReaders {
  readonly trie: LiveTrie = new SubscriptionTrie<LiveSession, LiveSubscription>();
  /** Subscriptions to what the broker tells of itself, which stands in no log. */
  readonly systemTrie: LiveTrie = new SubscriptionTrie<LiveSession, LiveSubscription>();
  readonly classes = new PacketClasses();
  readonly #options: LiveReadersOptions;
  readonly #readers = new Map<ShardId, LiveReader>();
  readonly #tables = new Map<string, MatchTable>();
  #names: TopicNames;
  /** Something is to be noted for each copy of the current message. */
  watched = false;
  #lateMs = 0;
  #meters: readonly TopicMeter[] | undefined;

  constructor(options: LiveReadersOptions) {
    this.#options = options;
    this.#names = options.names;
  }

  /** Where a filter's subscribers stand. */
  trieOf(filter: string): LiveTrie {
    return isSystemFilter(filter) ? this.systemTrie : this.trie;
  }

  /** Takes the names of a new catalog. */
  rename(names: TopicNames): void {
    this.#names = names;
    this.#tables.clear();
  }

  /** Offset before which the live path has been; undefined without a reader. */
  frontier(shardId: ShardId): Offset | undefined {
    return this.#readers.get(shardId)?.reached;
  }

  /** Needs a partition's records from now on: starts a reader at `from` when there is none. */
  acquire(shardId: ShardId, from: Offset): void {
    let reader = this.#readers.get(shardId);
    if (reader === undefined) {
      reader = new LiveReader(shardId, this);
      this.#readers.set(shardId, reader);
      reader.attach(this.#options.fanOut, from);
    }
    reader.users++;
  }

  /** The counterpart of {@link acquire}. */
  release(shardId: ShardId): void {
    const reader = this.#readers.get(shardId);
    if (reader === undefined || --reader.users > 0) return;
    reader.detach();
    this.#readers.delete(shardId);
  }

  /** How MQTT sees the records of a topic. */
  table(topic: string): MatchTable {
    let table = this.#tables.get(topic);
    if (table === undefined) {
      const { matchCacheMax, meters } = this.#options;
      const names = this.#names;
      table = new MatchTable(topic, { trie: this.trie, names, size: matchCacheMax, meters });
      this.#tables.set(topic, table);
    }
    return table;
  }

  /** Undefined when the catalog does not show it. */
  topicOf(shardId: ShardId): string | undefined {
    return this.#options.topicOf(shardId);
  }

  tableOfShard(shardId: ShardId): MatchTable | undefined {
    const topic = this.topicOf(shardId);
    return topic === undefined ? undefined : this.table(topic);
  }

  get trims(): Trims {
    return this.#options.trims;
  }

  get wallMs(): number {
    return this.#options.wallMs();
  }

  get counters(): MqttCounters {
    return this.#options.counters;
  }

  /** How long a message still lives, rounded up; 0: it has expired; Infinity: it never does. */
  secondsLeft({ expiryMs }: RecordMessage, appended: { readonly appendTimeMs: number }): number {
    if (expiryMs < 0) return Number.POSITIVE_INFINITY;
    const leftMs = Math.min(expiryMs, appended.appendTimeMs + expiryMs - this.#options.wallMs());
    return Math.max(0, Math.ceil(leftMs / 1000));
  }

  /** Who counts a topic. */
  metersOf(topic: string): readonly TopicMeter[] | undefined {
    return this.#options.meters.of(topic);
  }

  /** How long ago a batch was appended. */
  lateMs(batch: { readonly appendTimeMs: number }): number {
    return this.#options.wallMs() - batch.appendTimeMs;
  }

  /** A copy of the current message has gone into the output of a client. */
  sent(owner: { readonly grant: { readonly clientId: string }; readonly sinceMs: number }): void {
    const { slow, wallMs } = this.#options;
    const { payload, topic } = this.classes;
    if (this.#meters !== undefined) meterOut(this.#meters, payload.length);
    if (this.#lateMs < slow.thresholdMs) return;
    // What came before the client was connected it could not have had.
    const waitedMs = Math.min(this.#lateMs, wallMs() - owner.sinceMs);
    slow.note(owner.grant.clientId, waitedMs, topic.toString());
  }

  /** A client does not get its copy of the current message. */
  dropped(): void {
    if (this.#meters !== undefined) meterDropped(this.#meters, this.classes.payload.length);
  }

  /** Makes what stands in no log the message that the classes encode. */
  startOwn(topic: string, payload: string): void {
    this.watched = false;
    this.classes.start(Buffer.from(topic), Buffer.from(payload), undefined);
  }

  /** Makes a record's message the one that the classes encode. `lateMs`: how long ago it was appended. */
  startMessage(
    match: Pick<NameMatch, 'nameBytes' | 'meters'>,
    message: RecordMessage,
    secondsLeft: number,
    lateMs = 0,
  ): void {
    this.#meters = match.meters;
    this.#lateMs = lateMs;
    this.watched = match.meters !== undefined || lateMs >= this.#options.slow.thresholdMs;
    const properties = Number.isFinite(secondsLeft) ? message.ownProperties : message.properties;
    // What is forwarded is what is left of the interval. [MQTT5-3.3.2-6]
    if (properties && Number.isFinite(secondsLeft)) properties.messageExpirySeconds = secondsLeft;
    this.classes.start(match.nameBytes, message.value, properties);
  }

  /** The reader's place was lost: records below `earliest` were trimmed, or the shard is deleted. */
  lost(reader: LiveReader, error: OperatingError | undefined): void {
    const { fanOut, logger, trims } = this.#options;
    const { shardId } = reader;
    logger.warn({ shardId, code: error?.code }, error?.message ?? 'a live reader was detached');
    if (error?.code === 'NOT_FOUND') return;
    const reached = reader.reached ?? offset(0);
    const from = Math.max(reached, error?.hint.earliestOffset ?? 0);
    reader.attach(fanOut, offset(from));
    if (from === reached) return;
    trims.add(this.topicOf(shardId) ?? '', from - reached);
    this.#options.missed(shardId, from - reached);
  }
}

/** Reads one partition for all subscribers of this broker. */
class LiveReader implements FanOutReader {
  users = 0;
  readonly shardId: ShardId;
  readonly #owner: LiveReaders;
  readonly #message = new RecordMessage();
  #attachment: Attachment | undefined;

  constructor(shardId: ShardId, owner: LiveReaders) {
    this.shardId = shardId;
    this.#owner = owner;
  }

  /** Offset before which it has been. */
  get reached(): Offset | undefined {
    return this.#attachment?.frontier;
  }

  attach(fanOut: FanOut, fromOffset: Offset): void {
    this.#attachment = fanOut.attach(this.shardId, this, { fromOffset });
  }

  detach(): void {
    this.#attachment?.detach();
    this.#attachment = undefined;
  }

  batch(batch: DecodedBatch): boolean {
    const { cursor } = batch;
    const table = this.#owner.tableOfShard(this.shardId);
    if (table === undefined || this.#owner.trie.size === 0) return true;
    const lateMs = this.#owner.lateMs(batch);
    while (cursor.next()) {
      const match = table.of(cursor);
      if (match.targets.length === 0) continue;
      this.#message.read(cursor);
      this.#deliver(match, batch, batch.baseOffset + cursor.offsetDelta, lateMs);
    }
    this.#owner.counters.headersLeftOut += this.#message.headersLeftOut;
    this.#message.headersLeftOut = 0;
    return true;
  }

  /** Records that concern nobody: the attachment knows how far it is. */
  frontier(): void {}

  detached(error: OperatingError | undefined): void {
    this.#owner.lost(this, error);
  }

  #deliver(match: NameMatch, batch: DecodedBatch, at: number, lateMs: number): void {
    const message = this.#message;
    const owner = this.#owner;
    if (match.dollar && message.publisherStart < 0) return;
    const left = owner.secondsLeft(message, batch);
    if (left <= 0) {
      owner.counters.droppedExpired++;
      return;
    }
    owner.startMessage(match, message, left, lateMs);
    for (const target of match.targets) {
      target.session.deliverLive(target, message, this.shardId, at);
    }
  }
}
