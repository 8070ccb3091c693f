import { type Clock, OperatingError } from '@robustmq/core';
import type { Authority, ReplicaSummary, Transport } from '@robustmq/rpc';
import type { Finding } from '../core/rebuild/finding.ts';
import { planRebuild, type RebuildPlan } from '../core/rebuild/rebuild-plan.ts';
import { fenceUnused } from './fence-unused.ts';
import { inventoryOf, JournalSurvey } from './journal-survey.ts';
import type { RebuildTarget } from './rebuild-target.ts';
import { rowsOf } from './rebuilt-rows.ts';

export interface RebuildOptions {
  /** Where placement's store is to be. */
  readonly target: RebuildTarget;
  /** HOST:PORT of journals; the others are found by the copies that these keep. */
  readonly journals: readonly string[];
  /** Names of journals that cannot be asked: what only they have is lost. */
  readonly allowMissing: readonly string[];
  /** Go on although records are not at the journals that answer. */
  readonly acceptLoss: boolean;
  /** Who orders it, for the record. */
  readonly orderedBy: string;
  readonly transport: Transport;
  readonly clock: Clock;
  /** Told of the plan before anything is changed; throwing ends it. */
  readonly onPlan: (report: RebuildReport) => Promise<void> | void;
}

/** What was found, and what it makes. */
export interface RebuildReport {
  readonly clusterId: string;
  /** Epoch that the rebuilt store has: journals that heard of it refuse every placement before it. */
  readonly placementEpoch: number;
  /** Names of the journals that answered. */
  readonly journals: readonly string[];
  readonly missing: readonly string[];
  readonly topics: number;
  readonly shards: number;
  readonly sealedSegments: number;
  /** Segments that are left to be sealed by fencing once placement runs. */
  readonly unsealedSegments: number;
  readonly leftovers: number;
  readonly losses: readonly string[];
}

/** Where what was there before is kept; undefined when nothing was. */
export interface Rebuilt extends RebuildReport {
  readonly replaced: string | undefined;
}

/**
 * Revisions that the lost store may have given since the newest copy. Watchers resume behind what they
 * have seen: a rebuilt store begins far above that, so that they take the full list.
 */
const revisionsSpare = 1_000_000_000;
/** Brokers may have seen placements that no journal has heard of. */
const epochsSpare = 100;
/** A plan is made again while segments turn out to be in use; orders under way end soon. */
const plansMax = 5;
/** Ids of producers that one placement and its restarts give: see {@link producerIdBase}. */
const producerIdsPerRebuild = 2 ** 32;

/**
 * Builds placement's store from what the journals have (docs/journal.md 2.10). Nothing is changed until
 * the plan is known to be whole; then the journals are told a new placement epoch, so that whatever else
 * takes itself for their placement is refused, and the plan is made once more.
 *
 * Throws ALREADY_EXISTS for a target that is not empty, UNAVAILABLE for a journal that does not answer,
 * WRONG_CLUSTER, CONFLICT when reports contradict each other, and DAMAGED when records are missing and
 * that is not accepted.
 */
export async function rebuildPlacement(options: RebuildOptions): Promise<Rebuilt> {
  options.target.check();
  await using survey = new JournalSurvey(options.transport);
  await survey.ask(options.journals);
  const rebuild = new Rebuild(options, survey);
  await options.onPlan(rebuild.report(await rebuild.plan(0)));
  const plan = await rebuild.fencedPlan();
  const report = rebuild.report(plan);
  const replaced = await rebuild.write(plan);
  return { ...report, replaced };
}

class Rebuild {
  readonly #options: RebuildOptions;
  readonly #survey: JournalSurvey;
  readonly #clusterId: string;
  readonly #missing: readonly string[];
  /** Highest placement epoch that any journal has seen. */
  readonly #seenEpoch: number;

  constructor(options: RebuildOptions, survey: JournalSurvey) {
    this.#options = options;
    this.#survey = survey;
    this.#clusterId = clusterOf(survey);
    this.#missing = missingOf(survey, options.allowMissing);
    const epochs = [...survey.journals.values()].map(({ placementEpoch }) => placementEpoch);
    this.#seenEpoch = Math.max(...epochs);
  }

  /**
   * @param raise How far above the epoch that they have seen the journals are asked: with 0 nothing
   *   changes.
   */
  async plan(raise: 0 | 1): Promise<RebuildPlan> {
    const authority = this.#authority(raise);
    const inventories = new Map<string, readonly ReplicaSummary[]>();
    await Promise.all(
      [...this.#survey.journals.values()].map(async (journal) => {
        inventories.set(journal.nodeId, await inventoryOf(journal, authority));
      }),
    );
    const plan = planRebuild({
      copies: [...this.#survey.journals.values()].flatMap(({ kept }) => kept ?? []),
      inventories,
      isIncomplete: this.#missing.length > 0,
      nowMs: this.#options.clock.wallMs(),
    });
    this.#check(plan.findings);
    return plan;
  }

  /** The plan after which no journal obeys an older placement, and nothing that is left out can be led. */
  async fencedPlan(): Promise<RebuildPlan> {
    for (let tries = 0; tries < plansMax; tries++) {
      const plan = await this.plan(1);
      const authority = this.#authority(1);
      const fenced = await fenceUnused(this.#survey, authority, plan.unused);
      this.#check(fenced.findings);
      if (!fenced.used) return plan;
    }
    const message = 'segments are still being opened: stop whatever gives orders to the journals';
    throw new OperatingError('CONFLICT', message);
  }

  report(plan: RebuildPlan): RebuildReport {
    const unsealed = plan.shards.filter(({ shard }) =>
      shard?.segments.some(({ fullNodeIds }) => fullNodeIds.length === 0),
    );
    return {
      clusterId: this.#clusterId,
      placementEpoch: this.#authority(1).placementEpoch,
      journals: [...this.#survey.journals.keys()].toSorted(),
      missing: this.#missing,
      topics: plan.topics.length,
      shards: plan.shards.length,
      sealedSegments: plan.sealed.length,
      unsealedSegments: unsealed.length,
      leftovers: plan.leftovers,
      losses: textsOf(plan.findings, 'loss'),
    };
  }

  write(plan: RebuildPlan): Promise<string | undefined> {
    const { target, clock, orderedBy } = this.#options;
    const { clusterId, placementEpoch } = this.#authority(1);
    const cluster = {
      clusterId,
      placementEpoch,
      nextShardId: plan.nextShardId,
      nextProducerId: Math.max(plan.nextProducerId, producerIdBase(placementEpoch)),
      incomplete: this.#missing.length > 0,
      lineage: [],
    };
    const audit = {
      atMs: clock.wallMs(),
      action: 'placement-rebuild',
      orderedBy,
      shardId: 0,
      topic: '',
      partition: 0,
      segmentId: Buffer.alloc(0),
      baseOffset: 0,
      endOffsetMin: 0,
      presentNodeIds: [...this.#survey.journals.keys()],
      absentNodeIds: [...this.#missing],
    };
    const operations = [...rowsOf(plan, cluster, audit)];
    const afterRevision = plan.revision + revisionsSpare;
    return target.write({ afterRevision, placementEpoch, operations });
  }

  #authority(raise: 0 | 1): Authority {
    const placementEpoch = this.#seenEpoch + raise * epochsSpare;
    return { clusterId: this.#clusterId, placementEpoch, lineage: [] };
  }

  #check(findings: readonly Finding[]): void {
    const conflicts = textsOf(findings, 'conflict');
    if (conflicts.length > 0) throw new OperatingError('CONFLICT', listed(conflicts));
    const losses = textsOf(findings, 'loss');
    if (losses.length === 0 || this.#options.acceptLoss) return;
    const message = `${listed(losses)}; name or start the journals that have them, or give --accept-loss: chains then begin behind what is missing`;
    throw new OperatingError('DAMAGED', message);
  }
}

/**
 * Ids of producers are not told by replicas, and a retry is recognised by them: none may be given twice.
 * Each rebuild begins with a range of its own, by its epoch, which is above all epochs before. A cluster
 * would have to give 4 billion ids between two rebuilds to leave its range.
 */
function producerIdBase(placementEpoch: number): number {
  const base = placementEpoch * producerIdsPerRebuild;
  if (Number.isSafeInteger(base)) return base;
  throw new OperatingError('UNSUPPORTED', `placement epoch ${placementEpoch} is too high`);
}

function clusterOf(survey: JournalSurvey): string {
  const journals = [...survey.journals.values()].filter(({ clusterId }) => clusterId !== '');
  const [first] = journals;
  if (first === undefined || survey.newest === undefined) {
    const message = "none of the journals keeps a copy of placement's catalog: are they new?";
    throw new OperatingError('NOT_FOUND', message);
  }
  const other = journals.find(({ clusterId }) => clusterId !== first.clusterId);
  if (other === undefined) return first.clusterId;
  const message = `${first.nodeId} belongs to cluster ${first.clusterId}, ${other.nodeId} to ${other.clusterId}`;
  throw new OperatingError('WRONG_CLUSTER', message);
}

/** Throws UNAVAILABLE for journals that were not asked and not named as missing. */
function missingOf(survey: JournalSurvey, allowed: readonly string[]): string[] {
  const known = new Set(survey.newest?.copy.journals.map(({ nodeId }) => nodeId));
  const stranger = allowed.find((nodeId) => !known.has(nodeId));
  if (stranger !== undefined) {
    const message = `--allow-missing ${stranger}: the cluster's journals are ${[...known].join(', ')}`;
    throw new OperatingError('INVALID_ARGUMENT', message);
  }
  const missing = [...known].filter((nodeId) => !survey.journals.has(nodeId));
  const refused = missing.filter((nodeId) => !allowed.includes(nodeId));
  if (refused.length === 0) return missing;
  const [nodeId = ''] = refused;
  const reasons = refused.map((name) => `${name} (${survey.away.get(name) ?? 'not asked'})`);
  const message = `journals are missing: ${reasons.join(', ')}; start them, name their address with --journal HOST:PORT, or give --allow-missing ${nodeId} if it will never come back: what only it has is lost`;
  throw new OperatingError('UNAVAILABLE', message);
}

function textsOf(findings: readonly Finding[], kind: Finding['kind']): string[] {
  return findings.filter((finding) => finding.kind === kind).map(({ text }) => text);
}

/** The first few: a journal whose disk is gone is missed by every chain. */
function listed(texts: readonly string[]): string {
  const shown = 5;
  const more = texts.length > shown ? `; and ${texts.length - shown} more` : '';
  return `${texts.slice(0, shown).join('; ')}${more}`;
}
