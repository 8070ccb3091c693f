import { MajorityPause } from './majority-pause.ts';
import { Patience } from './patience.ts';

/** How long what is waited for. All times in ms. */
export interface DetectorTimes {
  /** Silence after which a node is given up. It is suspected after 3/5 of that. */
  readonly leaseMs: number;
  /** How often {@link FailureDetector.pass} is meant to be called. */
  readonly passEachMs: number;
  /** Age of a sync that is under way after which a journal's disk counts as hung. */
  readonly hungSyncMs: number;
}

/** What a journal tells of itself with each heartbeat. */
export interface Vitals {
  readonly loopLagMs: number;
  /** How long the sync that is under way has taken so far; 0 when none is. */
  readonly syncAgeMs: number;
}

/** Somebody who is not to be counted on any more, and why, in words. */
export interface GivenUp {
  readonly nodeId: string;
  readonly reason: string;
}

export interface Verdicts {
  /** Silent for so long that their address should be asked. Each is told once. */
  readonly suspected: readonly string[];
  readonly givenUp: readonly GivenUp[];
}

interface Lapse {
  readonly kind: 'silent' | 'hung';
  /** Since when it was silent, or its sync was under way. */
  readonly sinceMs: number;
  /** The timeout that it has passed. */
  readonly limitMs: number;
  readonly atMs: number;
}

interface Watched {
  readonly isJournal: boolean;
  readonly patience: Patience;
  /** When it was started; -Infinity when it ran before it was heard of here. */
  startedMs: number;
  /** Until when others, which have run for longer, lead better than it. */
  coldUntilMs: number;
  heardMs: number;
  isSuspected: boolean;
  /** When the sync began that was under way at the last heartbeat. */
  syncSinceMs: number | undefined;
  /** It was under way at the heartbeat before, too: not just an event loop that was late to notice. */
  isSameSync: boolean;
  lapse: Lapse | undefined;
}

/** A pass that is late by less says nothing about what could be heard. */
const lateMinMs = 100;
/** Two heartbeats that tell of the same sync agree on its beginning up to this. */
const sameSyncMs = 100;
/**
 * A process that was just started is slow for its first seconds of work, one that was cut off has connections
 * that have to be made anew; and either may be gone again.
 */
const warmUpMs = 5_000;
const suspectShare = 0.6;
const overdueShare = 0.4;

/**
 * Which nodes live, from what is heard of them (docs/journal.md, section 4). Pure: time comes in. Being
 * wrong costs a failover, never data, and makes it slower to be wrong about that node again: a false
 * alarm is one that waiting twice as long would have spared. A journal whose disk hangs is given up as
 * one that is silent is; alone it is kept, since there is nobody to take over. Journals are not given up
 * while most of them look bad at once, see {@link MajorityPause}.
 */
export class FailureDetector {
  readonly #times: DetectorTimes;
  readonly #nodes = new Map<string, Watched>();
  readonly #pause = new MajorityPause();
  #lastPassMs: number | undefined;

  constructor(times: DetectorTimes) {
    this.#times = times;
  }

  /** A node is there; `isNew` when it was started since it was last heard of. */
  registered(nodeId: string, isJournal: boolean, isNew: boolean, nowMs: number): void {
    const known = this.#nodes.get(nodeId);
    const startedMs = isNew ? nowMs : -Infinity;
    const coldUntilMs = isNew && this.#hasWarmPeer(known, nowMs) ? nowMs + warmUpMs : -Infinity;
    if (known !== undefined && known.isJournal === isJournal) {
      if (isNew) {
        forgetSync(known);
        known.lapse = undefined;
        known.startedMs = startedMs;
        known.coldUntilMs = coldUntilMs;
      }
      this.heard(nodeId, nowMs, undefined);
      return;
    }
    this.#nodes.set(nodeId, {
      isJournal,
      patience: new Patience(),
      startedMs,
      coldUntilMs,
      heardMs: nowMs,
      isSuspected: false,
      syncSinceMs: undefined,
      isSameSync: false,
      lapse: undefined,
    });
  }

  /** A heartbeat: it counts from now. */
  heard(nodeId: string, nowMs: number, vitals: Vitals | undefined): void {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) return;
    if (node.lapse?.kind === 'silent') this.#recovered(node, nowMs);
    node.heardMs = nowMs;
    node.isSuspected = false;
    if (vitals !== undefined) this.#note(node, vitals, nowMs);
    if (node.lapse === undefined) node.patience.calm(nowMs);
  }

  /** Whether it was given up and nothing has changed that. */
  isGivenUp(nodeId: string): boolean {
    return this.#nodes.get(nodeId)?.lapse !== undefined;
  }

  /** Whether it was given up since its disk hung when it was last heard of. */
  isHung(nodeId: string): boolean {
    return this.#nodes.get(nodeId)?.lapse?.kind === 'hung';
  }

  /**
   * Whether two of its heartbeats are missing. Nothing is taken from it for that, so former false alarms do
   * not stretch it: it is only given nothing new while others can do without it.
   */
  isOverdue(nodeId: string, nowMs: number): boolean {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) return false;
    return nowMs - node.heardMs >= overdueShare * this.#times.leaseMs + node.patience.lagMs;
  }

  /** Whether it was given up wrongly lately: it may be so again, and better leads nothing new. */
  isRestless(nodeId: string): boolean {
    return this.#nodes.get(nodeId)?.patience.isRestless === true;
  }

  /**
   * Whether a journal was started, or was heard again after it had been given up, within the last 5 s while
   * others had run for longer: they better lead what is new, until it has followed for a while. Journals that
   * start together are not.
   */
  isCold(nodeId: string, nowMs: number): boolean {
    return nowMs < (this.#nodes.get(nodeId)?.coldUntilMs ?? -Infinity);
  }

  /** It is known to be gone, by other evidence: nothing is expected of it until it registers. */
  end(nodeId: string): void {
    this.#nodes.delete(nodeId);
  }

  /** What was decided about a node could not be carried out: it gets its time once more. */
  putOff(nodeId: string, nowMs: number): void {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) return;
    node.lapse = undefined;
    node.heardMs = nowMs;
    forgetSync(node);
  }

  /** Until when journals are not given up since most of them look bad at once; undefined: they are. */
  pausedUntilMs(): number | undefined {
    return this.#pause.untilMs;
  }

  /**
   * Looks at all nodes. A pass that comes late by d first takes d off every silence: while this process
   * did not run, it could not hear anybody either.
   */
  pass(nowMs: number): Verdicts {
    this.#forgiveLateness(nowMs);
    const suspected: string[] = [];
    const due: [string, Watched, Lapse][] = [];
    for (const [nodeId, node] of this.#nodes) {
      if (node.lapse !== undefined) continue;
      if (!node.isSuspected && this.#looksSilent(node, nowMs)) {
        node.isSuspected = true;
        suspected.push(nodeId);
      }
      const lapse = this.#lapseOf(node, nowMs);
      if (lapse !== undefined) due.push([nodeId, node, lapse]);
    }
    const isPaused = this.#isPaused(due.length > 0, nowMs);
    const givenUp: GivenUp[] = [];
    for (const [nodeId, node, lapse] of due) {
      if (node.isJournal && isPaused) continue;
      if (lapse.kind === 'hung' && !this.#hasPeer(node, nowMs)) continue;
      node.lapse = lapse;
      givenUp.push({ nodeId, reason: reasonOf(lapse) });
    }
    return { suspected, givenUp };
  }

  #note(node: Watched, { loopLagMs, syncAgeMs }: Vitals, nowMs: number): void {
    node.patience.lagMs = loopLagMs;
    const before = node.syncSinceMs;
    const sinceMs = syncAgeMs === 0 ? undefined : nowMs - syncAgeMs;
    node.syncSinceMs = sinceMs;
    node.isSameSync =
      sinceMs !== undefined && before !== undefined && Math.abs(sinceMs - before) < sameSyncMs;
    const isHung = syncAgeMs > node.patience.stretched(this.#times.hungSyncMs);
    if (node.lapse?.kind === 'hung' && !isHung) this.#recovered(node, nowMs);
  }

  #recovered(node: Watched, nowMs: number): void {
    const { lapse } = node;
    if (node.isJournal && this.#hasWarmPeer(node, nowMs)) node.coldUntilMs = nowMs + warmUpMs;
    if (lapse !== undefined && nowMs - lapse.sinceMs < 2 * lapse.limitMs) {
      node.patience.falseAlarm(nowMs);
    }
    node.lapse = undefined;
  }

  #forgiveLateness(nowMs: number): void {
    const { passEachMs } = this.#times;
    const lateMs = nowMs - (this.#lastPassMs ?? nowMs) - passEachMs;
    this.#lastPassMs = nowMs;
    if (lateMs < lateMinMs) return;
    for (const node of this.#nodes.values()) {
      node.heardMs += lateMs;
      if (node.syncSinceMs !== undefined) node.syncSinceMs += lateMs;
    }
  }

  #lapseOf(node: Watched, nowMs: number): Lapse | undefined {
    const { leaseMs, hungSyncMs } = this.#times;
    const limitMs = node.patience.stretched(leaseMs);
    if (nowMs - node.heardMs >= limitMs) {
      return { kind: 'silent', sinceMs: node.heardMs, limitMs, atMs: nowMs };
    }
    if (!this.#looksHung(node)) return undefined;
    const hungLimitMs = node.patience.stretched(hungSyncMs);
    const sinceMs = node.syncSinceMs ?? nowMs;
    return { kind: 'hung', sinceMs, limitMs: hungLimitMs, atMs: nowMs };
  }

  #looksSilent(node: Watched, nowMs: number): boolean {
    const limitMs = suspectShare * node.patience.stretched(this.#times.leaseMs);
    return nowMs - node.heardMs >= limitMs;
  }

  /** By what it told last: a node that tells nothing any more is silent, not hung. */
  #looksHung(node: Watched): boolean {
    const { syncSinceMs, heardMs, isSameSync, patience } = node;
    if (syncSinceMs === undefined || !isSameSync) return false;
    return heardMs - syncSinceMs > patience.stretched(this.#times.hungSyncMs);
  }

  #looksBad(node: Watched, nowMs: number): boolean {
    return this.#looksSilent(node, nowMs) || this.#looksHung(node);
  }

  /** Whether another journal is well. */
  #hasWarmPeer(node: Watched | undefined, nowMs: number): boolean {
    return [...this.#nodes.values()].some(
      (other) =>
        other !== node &&
        other.isJournal &&
        other.lapse === undefined &&
        nowMs - other.startedMs >= warmUpMs,
    );
  }

  #hasPeer(node: Watched, nowMs: number): boolean {
    for (const other of this.#nodes.values()) {
      if (other === node || !other.isJournal || other.lapse !== undefined) continue;
      if (!this.#looksBad(other, nowMs)) return true;
    }
    return false;
  }

  #isPaused(isAnyDue: boolean, nowMs: number): boolean {
    let total = 0;
    let bad = 0;
    for (const node of this.#nodes.values()) {
      if (!node.isJournal) continue;
      if (node.lapse !== undefined && !this.#pause.isRecent(node.lapse.atMs, nowMs)) continue;
      total++;
      if (node.lapse !== undefined || this.#looksBad(node, nowMs)) bad++;
    }
    return this.#pause.pass({ total, bad, isAnyDue, nowMs });
  }
}

function forgetSync(node: Watched): void {
  node.syncSinceMs = undefined;
  node.isSameSync = false;
}

function reasonOf({ kind, sinceMs, atMs }: Lapse): string {
  const ms = Math.round(atMs - sinceMs);
  return kind === 'silent'
    ? `nothing was heard of it for ${ms} ms`
    : `its disk hangs: a sync is under way for ${ms} ms`;
}
