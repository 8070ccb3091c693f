import { Patience } from './patience.ts';

/** A peer that owes a journal an answer. */
export interface SilentPeer {
  readonly nodeId: string;
  /** For how long it has sent nothing, in ms; 0 when it owes nothing. */
  readonly silentMs: number;
}

/** Who takes part in a segment, as far as reach matters. */
export interface ReachedSegment {
  readonly leaderNodeId: string;
  readonly replicaNodeIds: readonly string[];
  readonly ackQuorum: number;
}

export type ReachChange = 'cut' | 'healed';

interface Silence {
  readonly sinceMs: number;
  /** How long it was when it was told last. */
  readonly silentMs: number;
  /** Undefined while the peer is only doubted; else the time that its silence has passed. */
  readonly limitMs: number | undefined;
}

interface Reporter {
  readonly patience: Patience;
  silences: Map<string, Silence>;
}

/** A peer is doubted after this part of the time: what is under way is always owed for a moment. */
const doubtShare = 0.5;

/**
 * Which journals are cut off from one another, by what they say of their peers (DESIGN.md, Reach). Pure:
 * time comes in. A connection needs both directions, so a cut counts for both, whoever tells. Being wrong
 * costs a roll, and makes it slower to believe that journal again.
 */
export class Reachability {
  readonly #peerSilentMs: number;
  readonly #reporters = new Map<string, Reporter>();
  #cuts = 0;

  /** @param peerSilentMs Silence after which a peer counts as cut off, in ms. */
  constructor(peerSilentMs: number) {
    this.#peerSilentMs = peerSilentMs;
  }

  /** Whether nobody is cut off from anybody. */
  get isWhole(): boolean {
    return this.#cuts === 0;
  }

  /** A heartbeat tells how its peers are. Returns the peers whose connection with it was cut or healed. */
  told(nodeId: string, peers: readonly SilentPeer[], nowMs: number): Map<string, ReachChange> {
    const reporter = this.#reporter(nodeId);
    const before = reporter.silences;
    const silences = new Map<string, Silence>();
    for (const peer of peers) {
      if (peer.silentMs < doubtShare * this.#peerSilentMs) continue;
      const { silentMs } = peer;
      const known = before.get(peer.nodeId);
      // One that has grown is the same: when it began cannot be told, since heartbeats may be late.
      const isSame = known !== undefined && silentMs > known.silentMs;
      const limitMs = isSame ? (known.limitMs ?? this.#limit(reporter, peer)) : undefined;
      const sinceMs = isSame ? known.sinceMs : nowMs - silentMs;
      silences.set(peer.nodeId, { sinceMs, silentMs, limitMs });
    }
    reporter.silences = silences;
    return this.#changes(reporter, before, nowMs);
  }

  /** How late the event loop of a journal is: its own reports, and those about it, are given as much more. */
  lags(nodeId: string, lagMs: number): void {
    this.#reporter(nodeId).patience.lagMs = lagMs;
  }

  /** It was started anew, or is gone: what it said counts no more. */
  forget(nodeId: string): void {
    const reporter = this.#reporters.get(nodeId);
    if (reporter === undefined) return;
    for (const { limitMs } of reporter.silences.values()) if (limitMs !== undefined) this.#cuts--;
    this.#reporters.delete(nodeId);
  }

  /** Whether a journal is cut off from somebody by what it says itself. */
  tellsOfCuts(nodeId: string): boolean {
    const silences = this.#reporters.get(nodeId)?.silences.values() ?? [];
    return Array.from(silences).some(({ limitMs }) => limitMs !== undefined);
  }

  /** Whether two journals are connected as far as anybody knows. */
  reaches(one: string, other: string): boolean {
    return this.isWhole || !(this.#isCut(one, other) || this.#isCut(other, one));
  }

  /** Those of them that are connected to more than half of all; all of them while there is none. */
  connected(nodeIds: readonly string[]): readonly string[] {
    if (this.isWhole) return nodeIds;
    const well = nodeIds.filter((nodeId) => 2 * this.#reached(nodeId, nodeIds) > nodeIds.length);
    return well.length > 0 ? well : nodeIds;
  }

  /**
   * Whether the leader cannot commit, being cut off from too many of the members that live, while a journal
   * that takes segments could: then it is better sealed.
   */
  isCutOff(
    segment: ReachedSegment,
    liveNodeIds: readonly string[],
    candidateNodeIds: readonly string[],
  ): boolean {
    if (this.isWhole) return false;
    const { leaderNodeId, ackQuorum } = segment;
    if (this.#reached(leaderNodeId, liveNodeIds) >= ackQuorum) return false;
    // Whoever is only doubted may turn out to be cut off: when all stall, the first to say so moves nothing.
    const isSure = (one: string) => (other: string) =>
      one === other || !(this.#isSilent(one, other) || this.#isSilent(other, one));
    return candidateNodeIds.some(
      (nodeId) =>
        nodeId !== leaderNodeId && candidateNodeIds.filter(isSure(nodeId)).length >= ackQuorum,
    );
  }

  /** How many of these a journal is connected to, itself included if it is one of them. */
  #reached(nodeId: string, members: readonly string[]): number {
    return members.filter((member) => member === nodeId || this.reaches(nodeId, member)).length;
  }

  #isSilent(reporter: string, peer: string): boolean {
    return this.#reporters.get(reporter)?.silences.has(peer) === true;
  }

  #isCut(reporter: string, peer: string): boolean {
    return this.#reporters.get(reporter)?.silences.get(peer)?.limitMs !== undefined;
  }

  /** The limit that the silence of the peer has passed; undefined while it has not. */
  #limit({ patience }: Reporter, { nodeId, silentMs }: SilentPeer): number | undefined {
    const peerLagMs = this.#reporters.get(nodeId)?.patience.lagMs ?? 0;
    const limitMs = patience.stretched(this.#peerSilentMs) + peerLagMs;
    return silentMs >= limitMs ? limitMs : undefined;
  }

  #changes(
    { silences, patience }: Reporter,
    before: ReadonlyMap<string, Silence>,
    nowMs: number,
  ): Map<string, ReachChange> {
    const changes = new Map<string, ReachChange>();
    for (const [peer, { limitMs }] of silences) {
      if (limitMs === undefined || before.get(peer)?.limitMs !== undefined) continue;
      this.#cuts++;
      changes.set(peer, 'cut');
    }
    let isFalseAlarm = false;
    for (const [peer, { sinceMs, limitMs }] of before) {
      if (limitMs === undefined || silences.get(peer)?.limitMs !== undefined) continue;
      this.#cuts--;
      changes.set(peer, 'healed');
      if (nowMs - sinceMs < 2 * limitMs) isFalseAlarm = true;
    }
    if (isFalseAlarm) patience.falseAlarm(nowMs);
    else if (silences.size === 0) patience.calm(nowMs);
    return changes;
  }

  #reporter(nodeId: string): Reporter {
    let reporter = this.#reporters.get(nodeId);
    if (reporter === undefined) {
      reporter = { patience: new Patience(), silences: new Map() };
      this.#reporters.set(nodeId, reporter);
    }
    return reporter;
  }
}
