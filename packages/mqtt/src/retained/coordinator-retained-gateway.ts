import { type Clock, offset, type ShardId, shardId } from '@robustmq/core';
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

const timeoutMsDefault = 10_000;

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

  async page(
    filter: string,
    reached: readonly ShardPosition[],
    { from, limit }: { readonly from: RetainedPlace | undefined; readonly limit: number },
  ): Promise<RetainedPage> {
    const left = [...this.#byCoordinator(reached)]
      .filter(([index]) => index >= (from?.coordinator ?? 0))
      .toSorted(([a], [b]) => a - b);
    const [asked, following] = left;
    if (asked === undefined) return { coordinator: 0, messages: [], next: undefined };
    const [index, positions] = asked;
    const isGoingOn = index === from?.coordinator;
    const lookup = { filter, reached: positions, from: isGoingOn ? from : undefined, limit };
    const page = await this.#page(index, lookup);
    const messages = page.messages.map(retainedMessage);
    const next =
      page.next !== undefined
        ? { coordinator: index, ...page.next }
        : following && { coordinator: following[0], shardId: 0, name: '' };
    return { coordinator: index, messages, next };
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
