import {
  type Authority,
  type ControlResponse,
  type FenceResponse,
  type FenceResult,
  journalAdminMethods,
  journalBrokerMethods,
  journalControlMethods,
  journalReplicaMethods,
  segmentIdOfBytes,
  type ServiceRegistry,
  type Status,
  toStatus,
} from '@robustmq/rpc';
import { activateSegments } from './activate-order.ts';
import { AppendStream } from './append-stream.ts';
import { checkAuthority } from './authority-check.ts';
import { readCatalog, storeCatalog } from './catalog-order.ts';
import { fenceSegments } from './fence-order.ts';
import { fetchFrames } from './fetch-query.ts';
import { InventoryStream } from './inventory-stream.ts';
import type { JournalNode } from './journal-node.ts';
import { listOffsets } from './offset-queries.ts';
import { operatingErrorOf } from './operating-error.ts';
import { prepareReplicas } from './prepare-order.ts';
import { ReadStream } from './read-stream.ts';
import { recoverSegments } from './recover-order.ts';
import { describeReplicas } from './replica-summary.ts';
import { ReplicateStream } from './replicate-stream.ts';
import { scrubState } from './scrub-query.ts';
import { deleteReplicas, sealReplicas } from './seal-order.ts';
import { TailStream } from './tail-stream.ts';

/** Adds everything that a journal serves to a server. */
export function registerJournal(registry: ServiceRegistry, node: JournalNode): void {
  registerForBrokers(registry, node);
  registerForPlacement(registry, node);
  registerForJournals(registry, node);
  registry.unary(journalAdminMethods.describeReplicas, (request) =>
    describeReplicas(node, request),
  );
  registry.unary(journalAdminMethods.scrub, (request) => scrubState(node.storage, request));
}

function registerForBrokers(registry: ServiceRegistry, node: JournalNode): void {
  const { append, read, tail } = journalBrokerMethods;
  registry.stream(append, (stream) => new AppendStream(stream, node));
  registry.stream(read, (stream) => new ReadStream(stream, node));
  registry.stream(tail, (stream) => new TailStream(stream, node));
  registry.unary(journalBrokerMethods.listOffsets, (request) => listOffsets(node, request));
}

interface Order {
  readonly authority: Authority | undefined;
}

/** Carries out an order after its authority was checked; a refusal of the whole call is an answer. */
async function carryOut<Request extends Order>(
  node: JournalNode,
  request: Request,
  order: (node: JournalNode, request: Request) => Promise<Status[]>,
): Promise<ControlResponse> {
  try {
    await checkAuthority(node.storage, request.authority);
    return { status: undefined, results: await order(node, request) };
  } catch (thrown) {
    return { status: toStatus(operatingErrorOf(thrown)), results: [] };
  }
}

/** The same for orders that tell what the replicas have. */
async function measure<Request extends Order>(
  node: JournalNode,
  request: Request,
  order: (node: JournalNode, request: Request) => Promise<FenceResult[]>,
): Promise<FenceResponse> {
  try {
    await checkAuthority(node.storage, request.authority);
    return { status: undefined, results: await order(node, request) };
  } catch (thrown) {
    return { status: toStatus(operatingErrorOf(thrown)), results: [] };
  }
}

function registerForPlacement(registry: ServiceRegistry, node: JournalNode): void {
  const methods = journalControlMethods;
  const { storage, limits } = node;
  registry.unary(methods.prepare, (request) => carryOut(node, request, prepareReplicas));
  registry.unary(methods.activate, (request) => carryOut(node, request, activateSegments));
  registry.unary(methods.sealNotify, (request) => carryOut(node, request, sealReplicas));
  registry.unary(methods.delete, (request) => carryOut(node, request, deleteReplicas));
  registry.unary(methods.fence, (request) => measure(node, request, fenceSegments));
  registry.unary(methods.recover, (request) => measure(node, request, recoverSegments));
  registry.unary(methods.storeCatalog, (request) => storeCatalog(storage, request));
  registry.unary(methods.readCatalog, () => readCatalog(storage));
  registry.unary(methods.probe, () => ({
    nodeId: storage.nodeId,
    incarnation: storage.incarnation,
  }));
  registry.stream(
    methods.inventory,
    (stream) => new InventoryStream(stream, node, limits.controlItemsMax),
  );
}

function registerForJournals(registry: ServiceRegistry, node: JournalNode): void {
  registry.stream(journalReplicaMethods.replicate, (stream) => new ReplicateStream(stream, node));
  registry.unary(journalReplicaMethods.fetch, (request) => fetchFrames(node, request));
  registry.unary(journalReplicaMethods.exportProducers, async (request) => {
    try {
      const snapshot = await node.takeover.exportAt(segmentIdOfBytes(request.segmentId));
      return { status: undefined, snapshot };
    } catch (thrown) {
      return { status: toStatus(operatingErrorOf(thrown)), snapshot: Buffer.alloc(0) };
    }
  });
}
