import { OperatingError } from '@robustmq/core';
import type {
  ClearRetainedRequest,
  ClearRetainedResponse,
  ListedRetained,
  ListRetainedRequest,
  ListRetainedResponse,
  RetainedPlace,
} from '@robustmq/rpc';

import { parseSharedFilter, TopicProblem, topicFilterProblem } from '../codec/topic.ts';
import { RecordMessage } from '../message/record-message.ts';
import type { RetainedMessage, RetainedPage } from '../session/session-gateway.ts';
import { checkRows } from './page-room.ts';

/** The retained messages of the cluster, as a broker reaches them. */
export interface RetainedStore {
  /** A page of those that the filter matches. */
  page(filter: string, from: RetainedPlace | undefined, limit: number): Promise<RetainedPage>;
  /** Clears them; resolves once that is committed. */
  clear(messages: readonly RetainedMessage[]): Promise<void>;
}

const payloadStartBytes = 256;
/** Messages that one call clears. */
const clearedTogether = 500;

/** A page of the retained messages that the request asks for. Throws INVALID_ARGUMENT. */
export async function listRetained(
  store: RetainedStore,
  { topicFilter, from, limit }: ListRetainedRequest,
): Promise<ListRetainedResponse> {
  checkFilter(topicFilter);
  checkRows(limit);
  const { messages, next } = await store.page(topicFilter, from, limit);
  return { messages: messages.map(listed), next };
}

/** Clears a page of them. Throws INVALID_ARGUMENT. */
export async function clearRetained(
  store: RetainedStore,
  { topicFilter, from }: ClearRetainedRequest,
): Promise<ClearRetainedResponse> {
  checkFilter(topicFilter);
  const { messages, next } = await store.page(topicFilter, from, clearedTogether);
  await store.clear(messages);
  return { cleared: messages.length, next };
}

function checkFilter(filter: string): void {
  const bytes = Buffer.from(filter);
  const problem = topicFilterProblem(bytes, 0, bytes.length);
  if (problem === TopicProblem.none && parseSharedFilter(filter) === undefined) return;
  throw new OperatingError(
    'INVALID_ARGUMENT',
    `${JSON.stringify(filter)} is no MQTT topic filter, for example plant/+/state or plant/#`,
  );
}

function listed({
  topic,
  value,
  headers,
  shardId,
  offset,
  appendTimeMs,
}: RetainedMessage): ListedRetained {
  const message = new RecordMessage();
  message.readStored(value, headers);
  return {
    topic,
    payloadBytes: value.length,
    payloadStart: value.subarray(0, payloadStartBytes),
    shardId,
    offset,
    appendTimeMs,
    expiresAtMs: message.expiryMs < 0 ? undefined : appendTimeMs + message.expiryMs,
    qos: Math.max(0, message.qos),
  };
}
