import type {
  ConnectedSubscription,
  ListSubscriptionsRequest,
  ListSubscriptionsResponse,
} from '@robustmq/rpc';

import type { ConnectedClient } from '../connection/connected-client.ts';
import type { LiveSubscription } from '../delivery/live-subscription.ts';
import { clientMatcher, type ClientsAfter } from './client-list.ts';
import { PageRoom } from './page-room.ts';
import { matcher } from './text-pattern.ts';

/** Subscriptions that one call looks at, but for those of the last client. */
const lookedAtMax = 20_000;

/** A page of the subscriptions that the request asks for. Throws INVALID_ARGUMENT. */
export function listSubscriptions(
  clientsAfter: ClientsAfter,
  request: ListSubscriptionsRequest,
): ListSubscriptionsResponse {
  const room = new PageRoom(request.limit);
  const isClient = clientMatcher(request.filter);
  const isFilter = matcher(request.topicFilter);
  const subscriptions: ConnectedSubscription[] = [];
  const after = request.after ?? { client: 0, topicFilter: '' };
  const isBegun = after.topicFilter !== '';
  let position = after;
  let lookedAt = 0;
  for (const client of clientsAfter(isBegun ? after.client - 1 : after.client)) {
    if (lookedAt >= lookedAtMax) return { subscriptions, next: position };
    // One that was begun may have gone since.
    const from = client.number === after.client ? after.topicFilter : '';
    const all = isClient(client) ? wantedOf(client, isFilter, from) : [];
    for (const one of all) {
      if (room.full) return { subscriptions, next: position };
      const { filter } = one.stored;
      subscriptions.push(told(client, one));
      room.take(client.clientId, filter);
      position = { client: client.number, topicFilter: filter };
    }
    position = { client: client.number, topicFilter: '' };
    lookedAt += 1 + client.session.subscriptions.size;
  }
  return { subscriptions, next: undefined };
}

/** In an order that does not change when others come and go. */
function wantedOf(
  { session }: ConnectedClient,
  isFilter: (text: string) => boolean,
  from: string,
): LiveSubscription[] {
  return [...session.subscriptions.values()]
    .filter(({ stored: { filter } }) => filter > from && isFilter(filter))
    .toSorted((a, b) => (a.stored.filter < b.stored.filter ? -1 : 1));
}

function told(
  { clientId }: ConnectedClient,
  { stored, shardIds }: LiveSubscription,
): ConnectedSubscription {
  return {
    clientId,
    topicFilter: stored.filter,
    qos: stored.qos,
    noLocal: stored.noLocal,
    retainAsPublished: stored.retainAsPublished,
    retainHandling: stored.retainHandling,
    subscriptionId: stored.subscriptionId,
    partitions: shardIds.length,
  };
}
