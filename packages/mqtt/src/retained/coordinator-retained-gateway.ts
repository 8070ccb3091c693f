import { offset, OperatingError, shardId, toOperatingError } from '@robustmq/core';
import type { CoordinatorCalls } from '@robustmq/kernel';
import type { Catalog } from '@robustmq/placement-client';
import {
  type MqttPosition,
  MqttRetained,
  MqttRetainedLookup,
  MqttRetainedPage,
} from '@robustmq/rpc';
import { decodeMessage, encodeMessage } from '../session/encoded-message.ts';
import type {
  RetainedGateway,
  RetainedMessage,
  ShardPosition,
} from '../session/session-gateway.ts';
import { headersOfProto } from '../session/stored-message.ts';
import { isRetainable, retainedIndex } from './retainable-topics.ts';
import { retainedKind, retainedShards } from './retained-machine.ts';

export interface CoordinatorRetainedGatewayOptions {
  readonly calls: CoordinatorCalls;
  readonly catalog: Pick<Catalog, 'shard' | 'topic'>;
  /** How long a page is waited for, ms. Default 10,000. */
  readonly timeoutMs?: number;
}

type BatchListener = (messages: readonly RetainedMessage[]) => Promise<void> | void;

const timeoutMsDefault = 10_000;
/** Coordinators that one lookup asks at once. */
const atOnce = 4;

/** Retained messages over their coordinators. */
export class CoordinatorRetainedGateway implements RetainedGateway {
  readonly #options: CoordinatorRetainedGatewayOptions;

  constructor(options: CoordinatorRetainedGatewayOptions) {
    this.#options = options;
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
          { filter, reached: next[1], after: undefined },
          give,
        );
        failed ??= error;
      }
    };
    await Promise.all(Array.from({ length: atOnce }, ask));
    return failed;
  }

  /** Only partitions that can hold retained messages are asked for. */
  #byCoordinator(reached: readonly ShardPosition[]): Map<number, MqttPosition[]> {
    const { calls, catalog } = this.#options;
    const shards = calls.shards(retainedKind) ?? retainedShards;
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
      const after = messages.at(-1);
      if (!page.more || after === undefined) return undefined;
      lookup = { ...first, after: { shardId: after.shardId, offset: after.offset } };
    }
  }

  async #page(index: number, lookup: MqttRetainedLookup): Promise<MqttRetainedPage> {
    const { calls, timeoutMs = timeoutMsDefault } = this.#options;
    const payload = encodeMessage(MqttRetainedLookup, lookup);
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
