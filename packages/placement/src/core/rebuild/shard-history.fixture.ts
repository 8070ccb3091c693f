import { randomInteger, type Random } from '@robustmq/core';
import { ReplicaSummary } from '@robustmq/rpc';
import type { ShardToRebuild } from './rebuilt-chain.ts';
import { gatherSegments } from './reported-segment.ts';

const nodes = ['n1', 'n2', 'n3', 'n4'] as const;
const ackQuorum = 2;

interface Replica {
  length: number;
  baseKnown: boolean;
  sealed: boolean;
  fencedEpoch: number;
  damaged: boolean;
}

export interface TrueSegment {
  readonly id: Buffer;
  readonly epoch: number;
  readonly base: number;
  end: number | undefined;
  readonly replicas: Map<string, Replica>;
}

/**
 * One shard as placement and journals live it, with everything that may get lost between them: what is
 * known here for certain is what a rebuild has to find out from the replicas.
 */
export class ShardHistory {
  readonly #random: Random;
  /** All that still have replicas somewhere. */
  readonly #all: TrueSegment[] = [];
  chain: TrueSegment[] = [];
  epoch = 0;
  trimOffset = 0;
  endOffset = 0;
  copied = { epoch: 0, trimOffset: 0, endOffset: 0 };
  /** Segments that left the chain, in hex; and those of them that a copy tells. */
  readonly #deleting = new Set<string>();
  #copiedDeleting: ReadonlySet<string> = new Set();
  #ids = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  get open(): TrueSegment | undefined {
    return this.chain.find(({ end }) => end === undefined);
  }

  step(): void {
    const steps = [
      () => this.#open(),
      () => this.#append(),
      () => this.#append(),
      () => this.#roll(),
      () => this.#failOver(),
      () => this.#prepareOnly(),
      () => this.#trim(),
      () => this.#damage(),
      () => this.#copyCatalog(),
    ];
    this.#pick(steps)();
  }

  inventories(without: ReadonlySet<string> = new Set()): Map<string, ReplicaSummary[]> {
    const found = new Map<string, ReplicaSummary[]>();
    for (const node of nodes) if (!without.has(node)) found.set(node, []);
    for (const segment of this.#all) {
      for (const [nodeId, replica] of segment.replicas) {
        found.get(nodeId)?.push(
          ReplicaSummary.fromPartial({
            ...replica,
            segmentId: segment.id,
            shardId: 1,
            epoch: segment.epoch,
            baseOffset: replica.baseKnown ? segment.base : 0,
            replicaNodeIds: [...segment.replicas.keys()],
            ackQuorum,
            sizeBytes: replica.length * 100,
          }),
        );
      }
    }
    return found;
  }

  toRebuild(without: ReadonlySet<string> = new Set()): ShardToRebuild {
    return {
      shardId: 1,
      topic: 't',
      partition: 0,
      copied: this.copied,
      trimmedTo: this.copied.trimOffset,
      segments: gatherSegments(this.inventories(without)).filter(
        ({ segmentId }) => !this.#copiedDeleting.has(segmentId.toString('hex')),
      ),
      isIncomplete: without.size > 0,
      sealedAtMs: 1,
    };
  }

  /** The disks forget a segment altogether. */
  lose(segment: TrueSegment): void {
    const at = this.#all.indexOf(segment);
    if (at >= 0) this.#all.splice(at, 1);
  }

  /** One journal is left with it, which was not told its end and lacks the last record. */
  shorten(segment: TrueSegment): void {
    const [first] = segment.replicas;
    const length = (segment.end ?? segment.base) - segment.base - 1;
    segment.replicas.clear();
    if (first === undefined) return;
    const [nodeId, replica] = first;
    segment.replicas.set(nodeId, { ...replica, length, baseKnown: true, sealed: false });
  }

  #open(): void {
    if (this.open !== undefined) return;
    const segment = this.#prepare(this.epoch + 1);
    this.epoch++;
    this.chain.push(segment);
    this.#all.push(segment);
    // Activated; durable only with the first frame.
    if (this.#chance(0.7)) this.#leader(segment).baseKnown = true;
  }

  #prepareOnly(): void {
    this.#all.push(this.#prepare(this.epoch + 1));
  }

  #prepare(epoch: number): TrueSegment {
    const replicas = new Map<string, Replica>();
    const from = randomInteger(this.#random, nodes.length);
    for (let at = 0; at < 3; at++) {
      const nodeId = nodes[(from + at) % nodes.length] ?? 'n1';
      const replica = {
        length: 0,
        baseKnown: false,
        sealed: false,
        fencedEpoch: 0,
        damaged: false,
      };
      replicas.set(nodeId, replica);
    }
    const id = Buffer.alloc(16);
    id.writeUInt32BE(++this.#ids);
    return { id, epoch, base: this.endOffset, end: undefined, replicas };
  }

  /** Acknowledged: on the leader and at least one follower. */
  #append(): void {
    const segment = this.open;
    if (segment === undefined) return;
    const leader = this.#leader(segment);
    if (leader.damaged) return;
    leader.baseKnown = true;
    leader.length += 1 + randomInteger(this.#random, 5);
    const followers = [...segment.replicas.values()].slice(1).filter(({ damaged }) => !damaged);
    const always = randomInteger(this.#random, followers.length);
    followers.forEach((follower, at) => {
      if (at !== always && this.#chance(0.4)) return;
      follower.baseKnown = true;
      follower.length = leader.length;
    });
    // Written by the leader, and never committed.
    if (this.#chance(0.2)) leader.length++;
  }

  /** The leader knows the end, and tells placement. */
  #roll(): void {
    const segment = this.open;
    if (segment === undefined) return;
    const leader = this.#leader(segment);
    if (leader.damaged) return;
    for (const replica of [...segment.replicas.values()].slice(0, ackQuorum)) {
      if (replica.damaged) return;
    }
    for (const replica of [...segment.replicas.values()].slice(1, ackQuorum)) {
      replica.length = leader.length;
      replica.baseKnown ||= leader.length > 0;
    }
    this.epoch++;
    this.#end(segment, leader.length);
  }

  /** Attempts with higher and higher epochs, of which the last one finds enough replicas. */
  #failOver(): void {
    const segment = this.open;
    if (segment === undefined) return;
    const intact = [...segment.replicas.values()].filter(({ damaged }) => !damaged);
    const attempts = 1 + randomInteger(this.#random, 3);
    for (let at = 0; at < attempts; at++) {
      this.epoch++;
      for (const replica of intact) if (this.#chance(0.5)) replica.fencedEpoch = this.epoch;
    }
    const asked = this.#chance(0.5) ? intact : intact.slice(-ackQuorum);
    for (const replica of asked) replica.fencedEpoch = this.epoch;
    const length = Math.max(...asked.map((replica) => replica.length));
    for (const replica of asked.slice(0, ackQuorum)) {
      replica.length = length;
      replica.baseKnown ||= length > 0;
    }
    this.#end(segment, length);
  }

  /** Recorded; the notices may be lost. */
  #end(segment: TrueSegment, length: number): void {
    const { base } = segment;
    segment.end = base + length;
    this.endOffset = segment.end;
    for (const replica of segment.replicas.values()) {
      if (replica.damaged || replica.length < length || this.#chance(0.5)) continue;
      replica.length = length;
      replica.sealed = true;
    }
    if (length > 0) return;
    this.chain = this.chain.filter((other) => other !== segment);
    this.#deleteSome(segment);
  }

  #trim(): void {
    const sealed = this.chain.filter(({ end }) => end !== undefined);
    const last = sealed[randomInteger(this.#random, Math.max(1, sealed.length))];
    if (last?.end === undefined) return;
    const trimOffset = last.end;
    this.trimOffset = trimOffset;
    const gone = this.chain.filter(({ end = Number.POSITIVE_INFINITY }) => end <= trimOffset);
    this.chain = this.chain.filter((segment) => !gone.includes(segment));
    for (const segment of gone) this.#deleteSome(segment);
  }

  /** A journal keeps a copy that says so before it deletes. */
  #deleteSome(segment: TrueSegment): void {
    this.#deleting.add(segment.id.toString('hex'));
    if (this.#chance(0.3)) return;
    this.#copyCatalog();
    for (const nodeId of segment.replicas.keys()) {
      if (this.#chance(0.6)) segment.replicas.delete(nodeId);
    }
    if (segment.replicas.size === 0) this.lose(segment);
  }

  /** One replica of a segment may rot. */
  #damage(): void {
    const segment = this.#pick(this.#all);
    const replicas = [...(segment?.replicas.values() ?? [])];
    if (replicas.length < 3 || replicas.some(({ damaged }) => damaged)) return;
    const victim = replicas[randomInteger(this.#random, replicas.length)];
    if (victim !== undefined && victim.length > 0) victim.damaged = true;
  }

  #copyCatalog(): void {
    const { epoch, trimOffset, endOffset } = this;
    this.copied = { epoch, trimOffset, endOffset };
    this.#copiedDeleting = new Set(this.#deleting);
  }

  #leader(segment: TrueSegment): Replica {
    const [leader] = segment.replicas.values();
    if (leader === undefined) throw new Error('a segment has a leader');
    return leader;
  }

  #chance(probability: number): boolean {
    return this.#random.next() < probability;
  }

  #pick<T>(items: readonly T[]): T {
    return items[randomInteger(this.#random, Math.max(1, items.length))] as T;
  }
}
