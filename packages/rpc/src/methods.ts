import { appendRequestCodec, appendResponseCodec } from './codec/append-codec.ts';
import type { MessageCodec } from './codec/message-codec.ts';
import { readRequestCodec, readResponseCodec } from './codec/read-codec.ts';
import { replicateRequestCodec, replicateResponseCodec } from './codec/replicate-codec.ts';
import { tailRequestCodec, tailResponseCodec } from './codec/tail-codec.ts';
import { BrokerPeerService } from './generated/robustmq/v1/broker.ts';
import { BrokerAdminService } from './generated/robustmq/v1/broker_admin.ts';
import {
  AuthService,
  KVService,
  LeaseService,
  WatchService,
} from './generated/etcdserverpb/rpc.ts';
import {
  JournalAdminService,
  JournalBrokerService,
  JournalControlService,
  JournalReplicaService,
} from './generated/robustmq/v1/journal.ts';
import { PlacementAdminService, PlacementNodeService } from './generated/robustmq/v1/placement.ts';
import type { Method } from './transport.ts';

/** A bidirectional stream whose messages are coded by hand. */
function hotStream<Request, Response>(
  path: string,
  request: MessageCodec<Request>,
  response: MessageCodec<Response>,
): Method<Request, Response> {
  return {
    path,
    requestStream: true,
    responseStream: true,
    requestSerialize: request.serialize,
    requestDeserialize: request.deserialize,
    responseSerialize: response.serialize,
    responseDeserialize: response.deserialize,
  };
}

/** What brokers and journals call at placement. */
export const placementNodeMethods = PlacementNodeService;

/** What operators call at placement. */
export const placementAdminMethods = PlacementAdminService;

/** What brokers call at a journal. */
export const journalBrokerMethods = {
  append: hotStream(JournalBrokerService.append.path, appendRequestCodec, appendResponseCodec),
  read: hotStream(JournalBrokerService.read.path, readRequestCodec, readResponseCodec),
  tail: hotStream(JournalBrokerService.tail.path, tailRequestCodec, tailResponseCodec),
  listOffsets: JournalBrokerService.listOffsets,
};

/** What operators call at a journal. */
export const journalAdminMethods = JournalAdminService;

/** What placement orders a journal to do. */
export const journalControlMethods = JournalControlService;

/** What journals call at each other. */
export const journalReplicaMethods = {
  replicate: hotStream(
    JournalReplicaService.replicate.path,
    replicateRequestCodec,
    replicateResponseCodec,
  ),
  fetch: JournalReplicaService.fetch,
  exportProducers: JournalReplicaService.exportProducers,
};

/** What brokers call at each other. */
export const brokerPeerMethods = BrokerPeerService;

/** What operators call at a broker. */
export const brokerAdminMethods = BrokerAdminService;

/** What placement calls at etcd (proto/etcdserverpb); never served here. */
export const etcdKvMethods = KVService;
export const etcdWatchMethods = WatchService;
export const etcdLeaseMethods = LeaseService;
export const etcdAuthMethods = AuthService;
