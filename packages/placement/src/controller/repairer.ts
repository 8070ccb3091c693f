import { errorCodeOf, type Logger, OperatingError } from '@robustmq/core';
import type { FenceResult, RecoverSegment, Segment } from '@robustmq/rpc';
import { type RepairTarget, withFullReplica } from '../core/repair-decision.ts';
import { ByNode } from './by-node.ts';
import type { Image } from './image.ts';
import type { FenceOutcome, JournalOrders } from './journal-orders.ts';
import { noticeOf } from './seal-notices.ts';
import type { SealedRows } from './sealed-rows.ts';

export interface RepairerOptions {
  readonly image: Image;
  readonly rows: SealedRows;
  readonly orders: Pick<JournalOrders, 'fenceMember' | 'recoverSealed' | 'sealNotify'>;
  readonly logger: Logger;
  /** Told of each replica that is full again. */
  readonly onRepaired: (segment: Segment, nodeId: string) => void;
}

/** What a replica answers to a fence that can be completed, copied or replaced. */
const repairable: readonly string[] = ['OK', 'SEGMENT_UNKNOWN', 'DAMAGED'];

/** A full replica of a sealed segment that is to be made. */
export interface Repair {
  readonly segment: Segment;
  readonly target: RepairTarget;
  /** Live journals with all records. */
  readonly sources: readonly string[];
  /** Why it could not be done, for the log. */
  problem: string | undefined;
  /** The replica there is damaged and could not be replaced: another journal has to take its place. */
  isDamaged: boolean;
}

interface Item {
  readonly repair: Repair;
  /** What the target and one full replica answered to a fence. */
  found?: FenceOutcome;
  reference?: FenceOutcome;
  isSealed: boolean;
}

/**
 * Makes full replicas of sealed segments: fences the replica, has it completed or copied, tells it the end,
 * compares it with a full one that answers, and only then records it. Whatever is lost on the way is done
 * again. A member that has all records counts although no full one is left: replicas are prefixes of one log.
 */
export class Repairer {
  readonly #options: RepairerOptions;

  constructor(options: RepairerOptions) {
    this.#options = options;
  }

  async run(repairs: readonly Repair[]): Promise<void> {
    const items = repairs.map((repair): Item => ({ repair, isSealed: false }));
    await this.#fence(items, 'reference', ({ repair }) => repair.sources[0]);
    await this.#fence(items, 'found', ({ repair }) => repair.target.nodeId);
    await this.#copy(items.filter((item) => !hasLength(item)));
    await this.#tellEnd(items.filter(hasLength));
    // A replica that was longer than the end is cut by now.
    const sealed = items.filter(({ isSealed }) => isSealed);
    await this.#fence(sealed, 'found', ({ repair }) => repair.target.nodeId);
    for (const item of items) await this.#record(item);
  }

  async #fence(
    items: readonly Item[],
    as: 'found' | 'reference',
    nodeOf: (item: Item) => string | undefined,
  ): Promise<void> {
    const byNode = new ByNode<Item>();
    for (const item of items) {
      const nodeId = nodeOf(item);
      if (nodeId !== undefined) byNode.add(nodeId, item);
    }
    await byNode.forEach(async (nodeId, ofNode) => {
      const wanted = ofNode.map(({ repair: { segment } }) => ({
        segmentId: segment.segmentId,
        epoch: segment.sealEpoch,
      }));
      const answers = await this.#options.orders.fenceMember(nodeId, wanted);
      ofNode.forEach((item, at) => {
        const answer = answers[at];
        if (answer !== undefined) item[as] = answer;
      });
    });
  }

  async #copy(items: readonly Item[]): Promise<void> {
    const byNode = new ByNode<Item>();
    for (const item of items) {
      // A damaged one is replaced where it is, by a copy beside it.
      const { sources } = item.repair;
      if (sources.length === 0) item.repair.problem = 'no journal with all records is there';
      else if (repairable.includes(codeOf(item.found))) byNode.add(item.repair.target.nodeId, item);
    }
    await byNode.forEach(async (nodeId, ofNode) => {
      const wanted = ofNode.map(({ repair }) => this.#orderFor(repair));
      const answers = await this.#options.orders.recoverSealed(nodeId, wanted);
      ofNode.forEach((item, at) => {
        const answer = answers[at];
        const wasDamaged = codeOf(item.found) === 'DAMAGED';
        if (answer !== undefined) item.found = answer;
        item.repair.isDamaged = wasDamaged && !isOk(item.found);
      });
    });
  }

  #orderFor({ segment, target, sources }: Repair): RecoverSegment {
    const { segmentId, shardId, epoch, ackQuorum, baseOffset, endOffset, sealEpoch } = segment;
    const { replicaNodeIds } = withFullReplica(segment, target);
    return {
      segmentId,
      epoch: sealEpoch,
      baseOffset,
      length: endOffset - baseOffset,
      sources: sources.flatMap((nodeId) => this.#options.image.liveNode(nodeId) ?? []),
      copy: { segmentId, shardId, epoch, replicaNodeIds, ackQuorum },
    };
  }

  async #tellEnd(items: readonly Item[]): Promise<void> {
    const byNode = new ByNode<Item>();
    for (const item of items) byNode.add(item.repair.target.nodeId, item);
    await byNode.forEach(async (nodeId, ofNode) => {
      const notices = ofNode.map(({ repair }) => noticeOf(repair.segment));
      const outcomes = await this.#options.orders.sealNotify(nodeId, notices);
      ofNode.forEach((item, at) => {
        const outcome = outcomes[at];
        item.isSealed = outcome === undefined;
        if (outcome !== undefined) item.repair.problem = outcome.message;
      });
    });
  }

  async #record(item: Item): Promise<void> {
    const { repair, found, reference, isSealed } = item;
    const { segment, target } = repair;
    if (!isSealed || !isOk(found)) {
      repair.problem ??= problemOf(found) ?? problemOf(reference) ?? 'no answer';
      return;
    }
    const length = segment.endOffset - segment.baseOffset;
    if (found.length !== length) {
      repair.problem = `${found.length} of ${length} records`;
      return;
    }
    // Without one to compare with: two replicas of one length are equal (I4).
    if (isOk(reference) && (reference.length !== length || reference.chain !== found.chain)) {
      const fields = { segmentId: segment.segmentId.toString('hex'), nodeId: target.nodeId };
      const message = 'two replicas of a segment differ: somebody has to look at them';
      this.#options.logger.error({ ...fields, full: repair.sources[0] }, message);
      repair.problem = message;
      return;
    }
    const isRecorded = await this.#options.rows.change(segment, (now) => {
      const { replaces } = target;
      const isWanted = replaces === undefined || now.replicaNodeIds.includes(replaces);
      return isWanted ? withFullReplica(without(now, lostAt(item)), target) : undefined;
    });
    if (isRecorded) this.#options.onRepaired(segment, target.nodeId);
    else repair.problem = 'the segment was changed meanwhile';
  }
}

/** The journal whose replica counted as full, and is proved to be lost or damaged. */
function lostAt({ repair, reference }: Item): string | undefined {
  return ['SEGMENT_UNKNOWN', 'DAMAGED'].includes(codeOf(reference)) ? repair.sources[0] : undefined;
}

function without(segment: Segment, nodeId: string | undefined): Segment {
  const fullNodeIds = segment.fullNodeIds.filter((one) => one !== nodeId);
  return { ...segment, fullNodeIds };
}

function isOk(answer: FenceOutcome | undefined): answer is FenceResult {
  return answer !== undefined && codeOf(answer) === 'OK';
}

function codeOf(answer: FenceOutcome | undefined): string {
  if (answer === undefined) return 'UNAVAILABLE';
  if (answer instanceof OperatingError) return answer.code;
  const code = answer.status?.code ?? 0;
  return code === 0 ? 'OK' : (errorCodeOf(code) ?? 'INTERNAL');
}

function problemOf(answer: FenceOutcome | undefined): string | undefined {
  if (answer instanceof OperatingError) return answer.message;
  return codeOf(answer) === 'OK' ? undefined : answer?.status?.message;
}

function hasLength({ repair: { segment }, found }: Item): boolean {
  return isOk(found) && found.length >= segment.endOffset - segment.baseOffset;
}
