import { assert } from '@robustmq/core';
import { Segment, SegmentState, type Shard, type StoredShard } from '@robustmq/rpc';
import { assertChain } from '../chain.ts';
import { isInternal } from '../topic-name.ts';
import type { Finding } from './finding.ts';
import type { ReportedSegment } from './reported-segment.ts';
import { factsOf, fullReplicas, type SegmentFacts } from './segment-facts.ts';

/**
 * Epochs that attempts to seal may have got without any journal hearing of them, while watchers did: they
 * ignore whatever is older than what they know.
 */
const epochsSpare = 1_000;
/** Sealed segments that a view shows, as in chain.ts. */
const sealedShown = 2;

export interface ShardToRebuild {
  readonly shardId: number;
  readonly topic: string;
  readonly partition: number;
  /** What the newest copy of the catalog says of the chain: it may be behind, and is never wrong. */
  readonly copied: {
    readonly epoch: number;
    readonly trimOffset: number;
    readonly endOffset: number;
  };
  /** The highest trim offset that any copy has, also one of a placement that had an old copy of the store. */
  readonly trimmedTo: number;
  readonly segments: readonly ReportedSegment[];
  /** Whether there are journals that nobody could ask. */
  readonly isIncomplete: boolean;
  /** When segments count as sealed, in ms since 1970: nobody remembers. */
  readonly sealedAtMs: number;
}

export interface RebuiltChain {
  readonly stored: StoredShard;
  /** All sealed segments of the chain, in order. */
  readonly sealed: readonly Segment[];
  /** Trimmed or empty ones that were to be deleted. */
  readonly deleting: readonly Segment[];
  /**
   * Without records, as far as anybody says, and not of the chain: they have to be fenced before they are left
   * out. Those that were led are in {@link deleting}, too.
   */
  readonly unused: readonly ReportedSegment[];
  /** Reported segments that the chain does not have, since records before or of them are lost. */
  readonly leftOut: number;
  readonly findings: readonly Finding[];
}

/** A segment with its place in the chain; `end` is undefined while it is not sealed. */
interface Part {
  readonly facts: SegmentFacts;
  readonly base: number;
  readonly end: number | undefined;
  /** Whether the end is proved. */
  readonly isEndSure: boolean;
}

/**
 * A chain from the replicas that journals report (docs/journal.md 2.10): dense, with at most one segment
 * that is not sealed, the last, which is left to be fenced and sealed as always. Nothing is guessed: an end
 * is known by a seal that a replica remembers, by the base of the segment behind (I3), or by the copy.
 */
export function rebuildChain(shard: ShardToRebuild): RebuiltChain {
  const findings: Finding[] = [];
  const facts = shard.segments
    .map((segment) => {
      const known = factsOf(segment, nameOf(shard));
      findings.push(...known.findings);
      return known.facts;
    })
    .toSorted((a, b) => a.segment.epoch - b.segment.epoch);
  const strays = facts.filter((one) => isStray(shard, one, facts));
  const members = facts.filter((one) => !strays.includes(one));
  const parts = partsOf(shard, members, findings);
  const { kept, gone } = withoutDeleted(shard, parts);
  const begin = beginOf(shard, kept, gone);
  const { from, end } = checkDense(shard, kept, begin, findings);
  const chain = kept.slice(from);
  const lastEpoch = Math.max(shard.copied.epoch, ...facts.map((one) => one.lastEpoch));
  const epoch = lastEpoch + epochsSpare;
  const emptyOnes = facts.filter(({ baseOffset, isUsed }) => isUsed && baseOffset === undefined);
  const deleting = [
    ...gone.map((part) => deletingOf(part.facts, part.base, part.end ?? part.base)),
    ...emptyOnes.map((one) => deletingOf(one, 0, 0)),
    ...strays.map((one) => deletingOf(one, one.baseOffset ?? 0, one.baseOffset ?? 0)),
  ];
  const toFence = facts.filter((one) => !one.isUsed || strays.includes(one));
  const base = { deleting, unused: toFence.map(({ segment }) => segment) };
  if (findings.some(({ kind }) => kind === 'conflict')) {
    const stored = { shard: emptyShard(shard, epoch, end), sealedBytes: 0 };
    return { ...base, stored, sealed: [], leftOut: kept.length, findings };
  }
  const segments = chain.map((part) => segmentOf(part, shard, epoch));
  return { ...base, ...assemble(shard, segments, { epoch, end }), leftOut: from, findings };
}

/**
 * Whether a segment that was led and that nobody has a record of cannot be left to be sealed as always: it
 * begins within one before it that is sealed, or so few of its journals still have a replica that no seal
 * would ever get enough answers. An old copy of placement's store has opened the one, and deleted what was
 * prepared of the other. When it proves to be empty it never was of the chain.
 */
function isStray(
  { copied, trimmedTo, isIncomplete }: ShardToRebuild,
  { segment, baseOffset, sealedLength }: SegmentFacts,
  facts: readonly SegmentFacts[],
): boolean {
  const { reports, replicaNodeIds, ackQuorum, epoch } = segment;
  if (baseOffset === undefined || sealedLength !== undefined) return false;
  if (reports.some(({ length, damaged }) => length > 0 || damaged)) return false;
  const overlaps = facts.some(
    ({ segment: before, baseOffset: base = 0, sealedLength: length = 0 }) =>
      before.epoch < epoch && base + length > baseOffset,
  );
  if (overlaps) return true;
  const isLast = facts.every((other) => other.segment.epoch <= epoch || !other.isUsed);
  const isNewest = isLast && baseOffset >= Math.max(copied.endOffset, trimmedTo);
  return isNewest && !isIncomplete && reports.length < replicaNodeIds.length - ackQuorum + 1;
}

function nameOf({ topic, partition }: ShardToRebuild): string {
  return `${topic}/${partition}`;
}

/** The used segments in order, with their ends. */
function partsOf(
  shard: ShardToRebuild,
  facts: readonly SegmentFacts[],
  findings: Finding[],
): Part[] {
  const used = facts.filter(({ baseOffset }) => baseOffset !== undefined);
  return used.map((one, at) => {
    const next = used[at + 1];
    const base = one.baseOffset ?? 0;
    if (next !== undefined && next.segment.epoch === one.segment.epoch) {
      const text = `${one.name} and ${next.name} have the same epoch ${one.segment.epoch}`;
      findings.push({ kind: 'conflict', text });
    }
    const end = endOf(shard, one, next);
    if (end === undefined && !one.segment.isAgreed) {
      findings.push({ kind: 'conflict', text: `${one.name}: its manifests differ` });
    }
    const isInferred = one.sealedLength === undefined && next !== undefined;
    const isEndSure = !isInferred || !shard.isIncomplete || follows(one, next, facts);
    if (!isEndSure) {
      const text = `${one.name}: its end is not known, and between it and ${next?.name} there may be one that only the missing journals have`;
      findings.push({ kind: 'loss', text });
    }
    return { facts: one, base, end, isEndSure };
  });
}

function endOf(
  { copied }: ShardToRebuild,
  { baseOffset: base = 0, sealedLength }: SegmentFacts,
  next: SegmentFacts | undefined,
): number | undefined {
  if (sealedLength !== undefined) return base + sealedLength;
  if (next !== undefined) return next.baseOffset;
  // The copy was made when the chain ended there, and nothing was opened behind it since.
  return base < copied.endOffset ? copied.endOffset : undefined;
}

/**
 * Whether nothing was opened between two segments. Each epoch of a shard is given once, to a segment that
 * is opened or to an attempt to seal the last one: so the epochs between have to be accounted for.
 */
function follows(one: SegmentFacts, next: SegmentFacts, facts: readonly SegmentFacts[]): boolean {
  let reached = one.lastEpoch;
  for (const other of facts) {
    const isBetween =
      other.segment.epoch > one.segment.epoch && other.segment.epoch < next.segment.epoch;
    if (!isBetween || other.segment.epoch > reached + 1) continue;
    reached = Math.max(reached, other.lastEpoch);
  }
  return next.segment.epoch <= reached + 1;
}

/**
 * Sets apart what had left the chain: what was trimmed, and what was sealed empty. An order of another history
 * to trim takes nothing that is still there, but what nobody has any more at the front was deleted for it,
 * though a journal that lacks some of it has not heard of that.
 */
function withoutDeleted(
  { topic, copied, trimmedTo }: ShardToRebuild,
  parts: readonly Part[],
): { kept: Part[]; gone: Part[] } {
  const kept: Part[] = [];
  const gone: Part[] = [];
  parts.forEach((part, at) => {
    // The last sealed segment of an internal shard has the writer epoch and the producers.
    const isKept = isInternal(topic) && !parts.slice(at + 1).some((other) => isSealedPart(other));
    const { facts, base, end } = part;
    const isGone = (): boolean => {
      if (end === undefined) return false;
      if (end === base) return true;
      if (isKept) return false;
      if (end <= copied.trimOffset) return true;
      const isFirst = kept.length === 0;
      return isFirst && end <= trimmedTo && fullReplicas(facts.segment, end - base).length === 0;
    };
    (isGone() ? gone : kept).push(part);
  });
  return { kept, gone };
}

function isSealedPart({ base, end }: Part): boolean {
  return end !== undefined && end > base;
}

/**
 * Where the chain begins: behind what was trimmed, and behind what is missing at its front when somebody was
 * ordered to trim that. Such an order takes away nothing that is still there: it may be of another history.
 */
function beginOf(
  { copied, trimmedTo }: ShardToRebuild,
  kept: readonly Part[],
  gone: readonly Part[],
): number {
  const begin = Math.max(
    Math.min(copied.trimOffset, copied.endOffset),
    ...gone.map(({ base, end = base }) => (end > base ? end : 0)),
  );
  const front = kept[0]?.base ?? copied.endOffset;
  return front <= trimmedTo ? Math.max(begin, front) : begin;
}

/**
 * I3, from where the trimmed part ends. Returns from which part on the chain has everything (all, unless
 * something was found), and where its sealed part ends.
 */
function checkDense(
  shard: ShardToRebuild,
  parts: readonly Part[],
  begin: number,
  findings: Finding[],
): { from: number; end: number } {
  const name = nameOf(shard);
  const { endOffset } = shard.copied;
  const found = (kind: Finding['kind'], text: string): void => {
    findings.push({ kind, text });
  };
  let from = 0;
  let expected = begin;
  parts.forEach(({ facts, base, end, isEndSure }, at) => {
    if (base > expected) {
      found('loss', `${name}: nobody has the records from ${expected} to ${base}`);
      from = at;
    } else if (base < expected && at > 0) {
      found('conflict', `${facts.name} begins at ${base}, the one before ends at ${expected}`);
    }
    if (end === undefined) {
      expected = base;
      return;
    }
    if (end < base) found('conflict', `${facts.name} begins at ${base} and ends at ${end}`);
    else if (fullReplicas(facts.segment, end - base).length === 0) {
      found('loss', `${facts.name}: no journal has an intact copy of its ${end - base} records`);
      from = at + 1;
    } else if (!isEndSure) from = at + 1;
    expected = end;
  });
  const isOpen = parts.length > 0 && parts.at(-1)?.end === undefined;
  if (isOpen || expected >= endOffset) return { from, end: expected };
  found('loss', `${name}: nobody has the records from ${expected} to ${endOffset}`);
  return { from: parts.length, end: endOffset };
}

function segmentOf({ facts, base, end }: Part, shard: ShardToRebuild, epoch: number): Segment {
  const { segment, lastEpoch } = facts;
  const common = {
    segmentId: segment.segmentId,
    shardId: shard.shardId,
    baseOffset: base,
    epoch: segment.epoch,
    replicaNodeIds: [...segment.replicaNodeIds],
    ackQuorum: segment.ackQuorum,
  };
  if (end === undefined) {
    return Segment.fromPartial({ ...common, state: SegmentState.SEALING, sealEpoch: epoch });
  }
  const full = fullReplicas(segment, end - base);
  // One that ends there is measured exactly; one with more has what was never committed.
  const exact = full.find(({ length }) => length === end - base) ?? full[0];
  return Segment.fromPartial({
    ...common,
    endOffset: end,
    state: SegmentState.SEALED,
    sealEpoch: lastEpoch > segment.epoch ? lastEpoch : segment.epoch,
    fullNodeIds: full.map(({ nodeId }) => nodeId),
    sizeBytes: exact?.sizeBytes ?? 0,
    maxTimestampMs: exact?.maxTimestampMs ?? 0,
    sealedAtMs: shard.sealedAtMs,
  });
}

function deletingOf({ segment }: SegmentFacts, base: number, end: number): Segment {
  return Segment.fromPartial({
    segmentId: segment.segmentId,
    shardId: segment.shardId,
    baseOffset: base,
    endOffset: end,
    state: SegmentState.DELETING,
    epoch: segment.epoch,
    replicaNodeIds: [...segment.replicaNodeIds],
    ackQuorum: segment.ackQuorum,
  });
}

function assemble(
  shard: ShardToRebuild,
  segments: readonly Segment[],
  { epoch, end }: { readonly epoch: number; readonly end: number },
): { stored: StoredShard; sealed: Segment[] } {
  const sealed = segments.filter(({ state }) => state === SegmentState.SEALED);
  const unsealed = segments.filter(({ state }) => state !== SegmentState.SEALED);
  segments.forEach((segment, at) => {
    const before = segments[at - 1];
    const isDense = before === undefined || before.endOffset === segment.baseOffset;
    assert(isDense, `I3: ${nameOf(shard)} is dense at ${segment.baseOffset}`);
    const isAbove = before === undefined || before.epoch < segment.epoch;
    assert(isAbove, `I11: the epochs of ${nameOf(shard)} grow`);
  });
  const first = segments[0]?.baseOffset ?? end;
  const view: Shard = {
    ...emptyShard(shard, epoch, end),
    trimOffset: Math.max(shard.copied.trimOffset, first),
    segments: [...sealed.slice(-sealedShown), ...unsealed],
  };
  assertChain(view);
  const sealedBytes = sealed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return { stored: { shard: view, sealedBytes }, sealed };
}

function emptyShard(
  { shardId, topic, partition }: ShardToRebuild,
  epoch: number,
  end: number,
): Shard {
  return { shardId, topic, partition, epoch, trimOffset: end, endOffset: end, segments: [] };
}
