import { type Clock, delay, type Logger, OperatingError, toOperatingError } from '@robustmq/core';
import {
  brokerPeerMethods,
  type CoordinatorKind,
  type HeartbeatRequest,
  isConnectionRefused,
  type JournalHealth,
  journalControlMethods,
  type Node,
  NodeRole,
  NodeState,
  type StoredDrain,
  StoredNode,
  type Segment,
} from '@robustmq/rpc';
import { BrokerReports } from '../core/broker-reports.ts';
import { type DetectorTimes, FailureDetector, type GivenUp } from '../core/failure-detector.ts';
import { Reachability, type ReachedSegment } from '../core/reachability.ts';
import type { JournalCandidate } from '../core/replica-choice.ts';
import { nodeKey } from './keys.ts';
import { type Ledger, put } from './ledger.ts';
import type { NodeClients } from './node-clients.ts';
import { checkOtherDisk, hasOtherDisk } from './other-disk.ts';

export interface NodeRegistryOptions {
  readonly ledger: Ledger;
  readonly clients: NodeClients;
  readonly clock: Clock;
  readonly logger: Logger;
  /** `passEachMs` is how often {@link NodeRegistry.detect} is called. */
  readonly times: DetectorTimes;
  /** How long a peer may owe a journal an answer before the two count as cut from each other, in ms. */
  readonly peerSilentMs: number;
  /** A node has registered, or is back. */
  readonly onUp: (node: Node) => void;
  /** A node's lease has ended, or it begins to leave. */
  readonly onDown: (node: Node) => void;
  /** It is late: its address should be asked. */
  readonly onSuspected: (node: Node) => void;
  readonly onLeaving: (node: Node) => void;
  /** Journals are cut from each other: some may lead what they cannot commit. */
  readonly onCut: () => void;
}

const probeTimeoutMs = 1_000;
/** A connection that broke under the question tells nothing: it is asked again, so often in all. */
const probesMax = 4;
const probeAgainMs = 25;
/** Why a node is down that has ended its stream itself: nobody has to be warned. */
const inOrder = 'it has left';
const refused = 'its address refuses connections';
const answersAsAnother = 'its address answers as another';

/**
 * Which nodes live. A lease is renewed by heartbeats and ends when none comes in time, or when they tell
 * of a disk that hangs; it ends at once when the node's address refuses connections or answers as
 * somebody else. Being wrong here costs a failover, never data: writes are fenced by epoch.
 */
export class NodeRegistry {
  readonly #options: NodeRegistryOptions;
  readonly #detector: FailureDetector;
  readonly #reach: Reachability;
  readonly #reports = new BrokerReports();
  #isPaused = false;
  /** Segments in hex that journals lead no more, as they said last. */
  readonly #closed = new Map<string, ReadonlySet<string>>();
  readonly #health = new Map<string, JournalHealth>();
  readonly #probing = new Set<string>();
  readonly #beingRemoved = new Set<string>();
  /** Who registered each node last: an older session of it says nothing any more. */
  readonly #sessions = new Map<string, object>();

  constructor(options: NodeRegistryOptions) {
    this.#options = options;
    this.#detector = new FailureDetector(options.times);
    this.#reach = new Reachability(options.peerSilentMs);
  }

  /** Grants every node that was alive its full time: while placement was away it could not renew. */
  grantAll(): void {
    const nowMs = this.#options.clock.monotonicMs();
    for (const [nodeId, { value }] of this.#options.ledger.image.nodes) {
      if (value.node === undefined || value.node.state === NodeState.DOWN) continue;
      this.#detector.registered(nodeId, value.node.role === NodeRole.JOURNAL, true, nowMs);
    }
    this.#detector.pass(nowMs);
  }

  /**
   * Registers a node. Throws FENCED when a newer incarnation of it has registered, and CONFLICT for another
   * disk under the id of a journal, until the one that is known is down.
   */
  async register(request: HeartbeatRequest, session: object): Promise<Node> {
    const { ledger, logger, clock } = this.#options;
    const wanted = checkNode(request.node);
    const before = ledger.image.node(wanted.nodeId);
    const isNew = before?.incarnation !== wanted.incarnation;
    // One that comes back with its disk still hanging stays down until it says that it does not.
    const isHung = !isNew && this.#detector.isHung(wanted.nodeId);
    const drain = ledger.image.nodes.get(wanted.nodeId)?.value.drain;
    const state = isHung ? NodeState.DOWN : stateOf(request, drain);
    const node: Node = { ...wanted, state };
    // Who is known may be gone, and nobody has asked yet.
    if (before !== undefined && hasOtherDisk(before, node)) this.#options.onSuspected(before);
    await this.#store(node, request.coordinatorKinds);
    warnOfNewDisk(logger, before, node);
    this.#sessions.set(node.nodeId, session);
    const isJournal = node.role === NodeRole.JOURNAL;
    this.#detector.registered(node.nodeId, isJournal, isNew, clock.monotonicMs());
    if (isNew) this.#reach.forget(node.nodeId);
    if (isNew) this.#reports.forget(node.nodeId);
    this.#noteHealth(node.nodeId, request);
    await this.#options.clients.prune();
    const { nodeId, incarnation, address } = node;
    logger.info({ nodeId, incarnation, address }, 'node registered');
    if (state !== NodeState.DOWN) this.#options.onUp(node);
    return node;
  }

  /** Renews a lease. A node whose lease had ended is back; one that says so begins to leave. */
  async renew(node: Node, request: HeartbeatRequest): Promise<void> {
    const { ledger, clock, logger } = this.#options;
    const stored = ledger.image.node(node.nodeId);
    if (stored?.incarnation !== node.incarnation) {
      throw this.#options.ledger.image.removedNodes.has(node.nodeId) ? removed(node) : newer(node);
    }
    const nowMs = clock.monotonicMs();
    this.#detector.registered(node.nodeId, node.role === NodeRole.JOURNAL, false, nowMs);
    this.#detector.heard(node.nodeId, nowMs, request.journalHealth);
    this.#noteHealth(node.nodeId, request);
    const state = stateOf(request, ledger.image.nodes.get(node.nodeId)?.value.drain);
    if (stored.state === state || this.#detector.isGivenUp(node.nodeId)) return;
    await this.#setState(stored, state);
    logger.info({ nodeId: node.nodeId, state }, 'node changed its state');
    if (state === NodeState.DRAINING) this.#options.onLeaving({ ...stored, state });
    else this.#options.onUp({ ...stored, state });
  }

  /** A node has ended its stream in order: it is gone. */
  async left(node: Node, session: object): Promise<void> {
    if (this.#sessions.get(node.nodeId) === session) await this.#down(node, inOrder);
  }

  /**
   * Ends the leases that have run out, and asks the address of whoever is late. What cannot be stored is
   * tried again a lease later.
   */
  async detect(): Promise<void> {
    const nowMs = this.#options.clock.monotonicMs();
    const { suspected, givenUp } = this.#detector.pass(nowMs);
    this.#tellPause(nowMs);
    for (const nodeId of suspected) {
      const node = this.#options.ledger.image.liveNode(nodeId);
      if (node !== undefined) this.#options.onSuspected(node);
    }
    const failures: unknown[] = [];
    for (const one of givenUp) await this.#giveUp(one, nowMs, failures);
    if (failures.length > 0) throw failures[0];
  }

  async #giveUp({ nodeId, reason }: GivenUp, nowMs: number, failures: unknown[]): Promise<void> {
    const node = this.#options.ledger.image.node(nodeId);
    if (node === undefined) return;
    try {
      await this.#setDown(node, reason);
    } catch (thrown) {
      this.#detector.putOff(nodeId, nowMs);
      failures.push(thrown);
    }
  }

  #tellPause(nowMs: number): void {
    const isPaused = (this.#detector.pausedUntilMs() ?? nowMs) > nowMs;
    if (isPaused && !this.#isPaused) {
      const message =
        'most journals look bad at once: placement may be cut off itself, so none is given up for 10 s';
      this.#options.logger.error({}, message);
    }
    this.#isPaused = isPaused;
  }

  /**
   * Asks the node's address who is there, when `incarnation` is the one that is believed to live: a
   * refused connection or another answer ends its lease now. Silence proves nothing.
   */
  async probe(nodeId: string, incarnation: number): Promise<void> {
    const node = this.#options.ledger.image.liveNode(nodeId);
    if (node === undefined || node.incarnation !== incarnation || this.#probing.has(nodeId)) return;
    this.#probing.add(nodeId);
    try {
      const found = await this.#find(node);
      if (found === undefined) return;
      const isSame = found.nodeId === nodeId && found.incarnation === incarnation;
      if (!isSame) await this.#down(node, found.nodeId === '' ? refused : answersAsAnother);
    } finally {
      this.#probing.delete(nodeId);
    }
  }

  /** Who is at the node's address, with an empty id when nobody listens; undefined when nobody knows. */
  async #find(node: Node): Promise<{ nodeId: string; incarnation: number } | undefined> {
    const { clock } = this.#options;
    const endMs = clock.monotonicMs() + probeTimeoutMs;
    for (let probes = 0; probes < probesMax; probes++) {
      try {
        return await this.#ask(node, Math.max(1, endMs - clock.monotonicMs()));
      } catch (thrown) {
        if (isConnectionRefused(toOperatingError(thrown))) return { nodeId: '', incarnation: 0 };
      }
      if (clock.monotonicMs() >= endMs) return undefined;
      await delay(clock, probeAgainMs);
    }
    return undefined;
  }

  /** A node was removed. */
  forget(nodeId: string): void {
    this.#detector.end(nodeId);
    this.#reach.forget(nodeId);
    this.#reports.forget(nodeId);
    this.#health.delete(nodeId);
    this.#sessions.delete(nodeId);
  }

  /** Whether two journals are connected, as far as they say. */
  readonly reaches = (one: string, other: string): boolean => this.#reach.reaches(one, other);

  /**
   * Whether the leader is cut off from so many members that it commits nothing, or from so many brokers
   * that it serves nobody, and another could do better.
   */
  isCutOff(segment: ReachedSegment): boolean {
    const { image } = this.#options.ledger;
    const isLost = this.#isLost(segment.leaderNodeId);
    if (this.#reach.isWhole && !isLost) return false;
    const live = segment.replicaNodeIds.filter((nodeId) => image.liveNode(nodeId) !== undefined);
    const candidates = this.journalCandidates().map(({ nodeId }) => nodeId);
    if (this.#reach.isCutOff(segment, live, candidates)) return true;
    return isLost && candidates.some((nodeId) => this.#canServe(nodeId, segment, candidates));
  }

  /** Whether heartbeats of a node are missing: it may be stopped, and orders to it may hang. */
  isOverdue(nodeId: string): boolean {
    return this.#detector.isOverdue(nodeId, this.#options.clock.monotonicMs());
  }

  /** Whether its leader says that it leads the segment no more: a follower refused it. */
  hasClosed({ segmentId, leaderNodeId }: Segment): boolean {
    const closed = this.#closed.get(leaderNodeId);
    return closed !== undefined && closed.has(segmentId.toString('hex'));
  }

  /** From now on nothing is opened on it, until what is returned is called. */
  beginRemoval(nodeId: string): () => void {
    this.#beingRemoved.add(nodeId);
    return () => this.#beingRemoved.delete(nodeId);
  }

  isBeingRemoved(nodeId: string): boolean {
    return this.#beingRemoved.has(nodeId);
  }

  /**
   * Whether a journal should lead nothing new while others can: brokers got no answer from it, it was
   * silent for a while and came back, and may be silent again, or it has just been started or come back.
   */
  isAvoided(nodeId: string): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    return (
      this.#wasLost(nodeId) ||
      this.#detector.isRestless(nodeId) ||
      this.#detector.isCold(nodeId, nowMs)
    );
  }

  /** A broker gets no answer from a journal. */
  reportSilent(nodeId: string, incarnation: number, reporterId: string): void {
    const { ledger, clock, logger, onCut } = this.#options;
    const { image } = ledger;
    if (image.liveNode(nodeId)?.incarnation !== incarnation) return;
    if (image.liveNode(reporterId)?.role !== NodeRole.BROKER) return;
    this.#reports.report(nodeId, reporterId, clock.monotonicMs());
    const wasLost = this.#wasLost(nodeId);
    if (!this.#isLost(nodeId)) return;
    const message = 'brokers get no answer from a journal: others lead';
    if (!wasLost) logger.warn({ nodeId, reporterId }, message);
    onCut();
  }

  #wasLost(nodeId: string): boolean {
    return this.#reports.isAvoided(nodeId, this.#options.clock.monotonicMs());
  }

  #isLost(nodeId: string): boolean {
    if (!this.#reports.isReported(nodeId)) return false;
    const brokers: string[] = [];
    for (const { value } of this.#options.ledger.image.nodes.values()) {
      const { node } = value;
      if (node?.role !== NodeRole.BROKER || node.state === NodeState.DOWN) continue;
      brokers.push(node.nodeId);
    }
    return this.#reports.isLost(nodeId, brokers, this.#options.clock.monotonicMs());
  }

  #canServe(nodeId: string, { leaderNodeId, ackQuorum }: ReachedSegment, all: string[]): boolean {
    if (nodeId === leaderNodeId || this.#wasLost(nodeId)) return false;
    const reached = all.filter((other) => other === nodeId || this.reaches(nodeId, other));
    return reached.length >= ackQuorum;
  }

  /** Last health of each journal. */
  health(): ReadonlyMap<string, JournalHealth> {
    return this.#health;
  }

  /** Journals that may get new segments: alive, not leaving, with space, and connected to most others. */
  journalCandidates(): JournalCandidate[] {
    const { image } = this.#options.ledger;
    const candidates: JournalCandidate[] = [];
    for (const { value } of image.nodes.values()) {
      const { node } = value;
      if (node?.role !== NodeRole.JOURNAL || node.state !== NodeState.UP) continue;
      const { nodeId, incarnation, zone } = node;
      const health = this.#health.get(nodeId);
      if (health?.readOnly === true) continue;
      const ledSegments = image.ledBy(nodeId).size;
      const openReplicas = image.replicatedBy(nodeId).size;
      const load = { ledSegments, openReplicas };
      candidates.push({ nodeId, incarnation, zone, freeBytes: health?.freeBytes, ...load });
    }
    const connected = new Set(this.#reach.connected(candidates.map(({ nodeId }) => nodeId)));
    return candidates.filter(({ nodeId }) => connected.has(nodeId));
  }

  async #ask(node: Node, timeoutMs: number): Promise<{ nodeId: string; incarnation: number }> {
    const client = this.#options.clients.at(node.address);
    const options = { timeoutMs };
    return node.role === NodeRole.JOURNAL
      ? client.call(journalControlMethods.probe, {}, options)
      : client.call(brokerPeerMethods.probe, {}, options);
  }

  async #store(node: Node, kinds: readonly CoordinatorKind[]): Promise<void> {
    const { ledger } = this.#options;
    await ledger.change(() => {
      const row = ledger.image.nodes.get(node.nodeId);
      const before = row?.value.node;
      if (before !== undefined && hasOtherDisk(before, node)) checkOtherDisk(before, node);
      else if (before !== undefined && before.incarnation > node.incarnation) throw newer(node);
      if (before !== undefined && before.role !== node.role) {
        const message = `node id ${node.nodeId} belongs to a node of another role: choose another --node-id`;
        throw new OperatingError('ALREADY_EXISTS', message);
      }
      if (ledger.image.removedNodes.has(node.nodeId)) throw removed(node);
      const stored: StoredNode = {
        node,
        coordinatorKinds: [...kinds],
        drain: row?.value.drain,
      };
      return {
        conditions: [{ key: nodeKey(node.nodeId), revision: row?.revision ?? 0 }],
        operations: [put(nodeKey(node.nodeId), StoredNode.encode(stored))],
      };
    });
  }

  /** Sets the state of a node while it still has this incarnation. */
  #setState(node: Node, state: NodeState): Promise<boolean> {
    const { ledger } = this.#options;
    return ledger.change(() => {
      const row = ledger.image.nodes.get(node.nodeId);
      const now = row?.value.node;
      if (row === undefined || now?.incarnation !== node.incarnation) return undefined;
      if (now.state === state) return undefined;
      const stored: StoredNode = { ...row.value, node: { ...now, state } };
      return {
        conditions: [{ key: nodeKey(node.nodeId), revision: row.revision }],
        operations: [put(nodeKey(node.nodeId), StoredNode.encode(stored))],
      };
    });
  }

  /** It is proved that the node is gone. */
  async #down(node: Node, reason: string): Promise<void> {
    if (await this.#setDown(node, reason)) this.#detector.end(node.nodeId);
  }

  async #setDown(node: Node, reason: string): Promise<boolean> {
    const { nodeId, incarnation } = node;
    if (!(await this.#setState(node, NodeState.DOWN))) return false;
    const fields = { nodeId, incarnation, reason };
    if (reason === inOrder) this.#options.logger.info(fields, 'node is down');
    else this.#options.logger.warn(fields, 'node is down');
    this.#options.onDown({ ...node, state: NodeState.DOWN });
    return true;
  }

  #noteHealth(nodeId: string, request: HeartbeatRequest): void {
    const { journalHealth } = request;
    if (journalHealth === undefined) return;
    this.#health.set(nodeId, journalHealth);
    this.#noteClosed(nodeId, journalHealth);
    this.#noteReach(nodeId, journalHealth);
  }

  #noteClosed(nodeId: string, { closedSegments }: JournalHealth): void {
    this.#closed.delete(nodeId);
    if (closedSegments.length === 0) return;
    this.#closed.set(nodeId, new Set(closedSegments.map((id) => id.toString('hex'))));
    this.#options.onCut();
  }

  #noteReach(nodeId: string, { followers, loopLagMs }: JournalHealth): void {
    const { clock, logger, onCut } = this.#options;
    this.#reach.lags(nodeId, loopLagMs);
    const changes = this.#reach.told(nodeId, followers, clock.monotonicMs());
    for (const [peer, change] of changes) {
      const message = 'a journal gets no answer from its peer';
      if (change === 'cut') logger.warn({ nodeId, peer }, message);
      else logger.info({ nodeId, peer }, 'a journal gets answers from its peer again');
    }
    // Each time: who could do better may have been doubted the time before.
    if (this.#reach.tellsOfCuts(nodeId)) onCut();
  }
}

function stateOf({ draining }: HeartbeatRequest, drain: StoredDrain | undefined): NodeState {
  if (drain?.done === true) return NodeState.DRAINED;
  return draining || drain !== undefined ? NodeState.DRAINING : NodeState.UP;
}

function removed(node: Node): OperatingError {
  const message = `node ${node.nodeId} was removed, and chains may still name it: start it with an empty --data-dir and another --node-id`;
  return new OperatingError('FENCED', message);
}

function newer(node: Node): OperatingError {
  const message = `node ${node.nodeId}: a newer incarnation than ${node.incarnation} has registered; is its --node-id or --data-dir used twice?`;
  return new OperatingError('FENCED', message);
}

function checkNode(node: Node | undefined): Node {
  const problem = (text: string): OperatingError => new OperatingError('INVALID_ARGUMENT', text);
  if (node === undefined) throw problem('the first heartbeat has to name the node');
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(node.nodeId)) {
    throw problem(`node id ${JSON.stringify(node.nodeId)}: 1 to 64 of letters, digits, ., _ and -`);
  }
  if (node.role !== NodeRole.BROKER && node.role !== NodeRole.JOURNAL) {
    throw problem(`node ${node.nodeId} has to be a broker or a journal`);
  }
  if (node.address === '' || node.incarnation < 1) {
    throw problem(`node ${node.nodeId} needs an address and an incarnation from 1`);
  }
  return node;
}

function warnOfNewDisk(logger: Logger, before: Node | undefined, after: Node): void {
  if (before === undefined || !hasOtherDisk(before, after)) return;
  const { nodeId, diskUuid } = after;
  logger.error(
    { nodeId, diskUuid, before: before.diskUuid },
    'a journal is back with another disk',
  );
}
