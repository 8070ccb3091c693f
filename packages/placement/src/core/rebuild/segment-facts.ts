import type { Finding } from './finding.ts';
import type { ReportedReplica, ReportedSegment } from './reported-segment.ts';

/** What all reports of one segment say together. */
export interface SegmentFacts {
  readonly segment: ReportedSegment;
  /** For messages. */
  readonly name: string;
  /** Undefined when no replica was ever led or followed. */
  readonly baseOffset: number | undefined;
  /** Records, when a replica was told the end. What one journal was told is true for all. */
  readonly sealedLength: number | undefined;
  /** Highest epoch that the segment is known to have had: its own, or of an attempt to seal it. */
  readonly lastEpoch: number;
  /** Whether any replica was led, followed or sealed. One that was not may still have been opened. */
  readonly isUsed: boolean;
}

export function factsOf(
  segment: ReportedSegment,
  shardName: string,
): { facts: SegmentFacts; findings: Finding[] } {
  const { reports, segmentId, epoch } = segment;
  const name = `segment ${segmentId.toString('hex')} of ${shardName}`;
  const bases = new Set(reports.flatMap(({ baseOffset }) => baseOffset ?? []));
  const ends = new Set(reports.flatMap(({ sealed, length }) => (sealed ? [length] : [])));
  const findings: Finding[] = [];
  const conflict = (text: string): void => {
    findings.push({ kind: 'conflict', text: `${name}: ${text}` });
  };
  if (bases.size > 1) conflict(`its replicas begin at different offsets, ${list(bases)}`);
  if (ends.size > 1) conflict(`its replicas were sealed at different lengths, ${list(ends)}`);
  const [baseOffset] = bases;
  const [sealedLength] = ends;
  if (baseOffset === undefined && (sealedLength ?? 0) > 0) conflict('nobody knows where it begins');
  const facts = {
    segment,
    name,
    baseOffset,
    sealedLength,
    lastEpoch: Math.max(epoch, ...reports.map(({ fencedEpoch }) => fencedEpoch)),
    isUsed: baseOffset !== undefined || sealedLength !== undefined,
  };
  return { facts, findings };
}

/** Replicas that are intact and have so many records. */
export function fullReplicas({ reports }: ReportedSegment, length: number): ReportedReplica[] {
  return reports.filter((report) => !report.damaged && report.length >= length);
}

function list(numbers: ReadonlySet<number>): string {
  return [...numbers].join(' and ');
}
