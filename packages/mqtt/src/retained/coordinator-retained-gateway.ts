import {
  type Clock,
  offset,
  OperatingError,
  type ShardId,
  shardId,
  toOperatingError,
} from '@robustmq/core';
import type { CoordinatorCalls } from '@robustmq/kernel';
import type { Catalog } from '@robustmq/placement-client';
import {
  type MqttPosition,
  MqttRetained,
  MqttRetainedCommand,
  type MqttRetainedLookup,
  MqttRetainedPage,
} from '@robustmq/rpc';
import { decodeMessage, encodeMessage } from '../session/encoded-message.ts';
import type {
  RetainedGateway,
  RetainedMessage,
  RetainedPage,
  RetainedPlace,
  ShardPosition,
} from '../session/session-gateway.ts';
import { headersOfProto } from '../session/stored-message.ts';
import { isRetainable, retainedIndex } from './retainable-topics.ts';
import { retainedKind, retainedShards } from './retained-machine.ts';
import { RoomWatch } from './room-watch.ts';

export interface CoordinatorRetainedGatewayOptions {
  readonly calls: CoordinatorCalls;
  readonly catalog: Pick<Catalog, 'shard' | 'topic'>;
  readonly clock: Clock;
  /** How long a page is waited for, ms. Default 10,000. */
  readonly timeoutMs?: number;
}

type BatchListener = (messages: readonly RetainedMessage[]) => Promise<void> | void;

const timeoutMsDefault = 10_000;
/** Coordinators that one lookup asks at once. */
const atOnce = 4;

/** Retained messages over their coordinators. */
export class CoordinatorRetainedGateway implements RetainedGateway, Disposable {
  readonly #options: CoordinatorRetainedGatewayOptions;
  readonly #room: RoomWatch;

  constructor(options: CoordinatorRetainedGatewayOptions) {
    this.#options = options;
    this.#room = new RoomWatch(options);
  }

  hasRoom(shardId: ShardId): boolean {
    return this.#room.has(retainedIndex(shardId, this.#shards));
  }

  [Symbol.dispose](): void {
    this.#room[Symbol.dispose]();
  }

  async lookup(
    filter: string,
    reached: readonly ShardPosition[],
    batch: BatchListener,
  ): Promise<OperatingError | undefined> {
    const waiting = [...this.#byCoordinator(reached)];
    let given: Promise<void> = Promise.resolve();
    // One batch at a time, although several coordinators are asked.
    const give = (messages: readonly RetainedMessage[]): Promise<void> => {
      given = given.then(() => batch(messages));
      return given;
    };
    let failed: OperatingError | undefined;
    const ask = async (): Promise<void> => {
      for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
        const error = await this.#ask(
          next[0],
          { filter, reached: next[1], from: undefined, limit: 0 },
          give,
        );
        failed ??= error;
      }
    };
    await Promise.all(Array.from({ length: atOnce }, ask));
    return failed;
  }

  async page(
    filter: string,
    reached: readonly ShardPosition[],
    { from, limit }: { readonly from: RetainedPlace | undefined; readonly limit: number },
  ): Promise<RetainedPage> {
    const left = [...this.#byCoordinator(reached)]
      .filter(([index]) => index >= (from?.coordinator ?? 0))
      .toSorted(([a], [b]) => a - b);
    const [asked, following] = left;
    if (asked === undefined) return { messages: [], next: undefined };
    const [index, positions] = asked;
    const isGoingOn = index === from?.coordinator;
    const lookup = { filter, reached: positions, from: isGoingOn ? from : undefined, limit };
    const page = await this.#page(index, lookup);
    const messages = page.messages.map(retainedMessage);
    if (page.next !== undefined) return { messages, next: { coordinator: index, ...page.next } };
    const next = following && { coordinator: following[0], shardId: 0, name: '' };
    return { messages, next };
  }

  get #shards(): number {
    return this.#options.calls.shards(retainedKind) ?? retainedShards;
  }

  /** Only partitions that can hold retained messages are asked for. */
  #byCoordinator(reached: readonly ShardPosition[]): Map<number, MqttPosition[]> {
    const { catalog } = this.#options;
    const shards = this.#shards;
    const byIndex = new Map<number, MqttPosition[]>();
    for (const { shardId, offset } of reached) {
      const topic = catalog.topic(catalog.shard(shardId)?.topic ?? '');
      if (topic !== undefined && !isRetainable(topic)) continue;
      const index = retainedIndex(shardId, shards);
      const positions = byIndex.get(index);
      if (positions === undefined) byIndex.set(index, [{ shardId, offset }]);
      else positions.push({ shardId, offset });
    }
    return byIndex;
  }

  /** Pages of one coordinator. What `give` throws is thrown; what the coordinator does not answer is returned. */
  async #ask(
    index: number,
    first: MqttRetainedLookup,
    give: (messages: readonly RetainedMessage[]) => Promise<void>,
  ): Promise<OperatingError | undefined> {
    let lookup = first;
    for (;;) {
      const page = await this.#page(index, lookup).catch(toOperatingError);
      if (page instanceof OperatingError) return page;
      const messages = page.messages.map(retainedMessage);
      if (messages.length > 0) await give(messages);
      if (page.next === undefined) return undefined;
      lookup = { ...first, from: page.next };
    }
  }

  async #page(index: number, lookup: MqttRetainedLookup): Promise<MqttRetainedPage> {
    const { calls, timeoutMs = timeoutMsDefault } = this.#options;
    const command = { $case: 'lookup', value: lookup } as const;
    const payload = encodeMessage(MqttRetainedCommand, { command });
    return decodeMessage(
      MqttRetainedPage,
      await calls.call(retainedKind, index, payload, { timeoutMs }),
    );
  }
}

function retainedMessage(encoded: Buffer): RetainedMessage {
  const retained = decodeMessage(MqttRetained, encoded);
  return {
    topic: retained.topic,
    shardId: shardId(retained.shardId),
    offset: offset(retained.offset),
    appendTimeMs: retained.appendTimeMs,
    value: retained.value,
    headers: headersOfProto(retained.headers),
  };
}
