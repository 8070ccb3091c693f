import { type Clock, delay, type Logger, OperatingError, type SegmentId } from '@robustmq/core';
import { type Disk, isNoSpace } from '../disk.ts';
import type { Replica } from '../replica.ts';
import type { Damage, FramePlace, SegmentReader } from '../segment-reader.ts';
import type { StorageLimits } from '../storage-options.ts';
import {
  beforeAll,
  readScrubPlace,
  type ScrubPlace,
  scrubStart,
  writeScrubPlace,
} from './scrub-file.ts';
import { scrubRate } from './scrub-pace.ts';
import type { ScrubProgress } from './scrub-progress.ts';

/** After a start others come first. */
const FIRST_DELAY_MS = 60_000;
/** Read without a pause. */
const STEP_BYTES = 1024 * 1024;
/** A sync that is under way for so long says that the disk is busy: the log comes first. */
const BUSY_SYNC_MS = 100;
const BUSY_WAIT_MS = 500;
const BUSY_WAITS_MAX = 20;
/** How often it is written where the scrub is. */
const PLACE_EACH_MS = 60_000;
/** The longest wait for the next pass: a wall clock may jump. */
const LOOK_EACH_MS = 3_600_000;

export interface ScrubberOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly limits: StorageLimits;
  readonly reader: SegmentReader;
  readonly replicas: ReadonlyMap<SegmentId, Replica>;
  /** Age of the sync that is under way. */
  readonly syncAgeMs: () => number;
  readonly onDamage: (replica: Replica, damage: Damage) => void;
  readonly onFatal: (error: Error) => void;
}

/**
 * Reads the files of sealed replicas again and again: all frames with their checksums, the chain that was
 * sealed, the footer. Whatever fails marks its replica as damaged, as any read does. A pass goes through
 * the replicas in the order of their files' ids, and on after a restart where it was.
 */
export class Scrubber {
  readonly #options: ScrubberOptions;
  readonly #stopping = new AbortController();
  #place: ScrubPlace = scrubStart;
  #placeWrittenMs = 0;
  #isOrdered = false;
  /** Ends the wait for the next pass, or the pass that runs at its own pace. */
  #interrupt = new AbortController();
  #running: Promise<void> = Promise.resolve();
  readonly progress = {
    pass: 0,
    isRunning: false,
    replicas: 0,
    replicasRead: 0,
    bytes: 0,
    bytesRead: 0,
    damaged: 0,
    unread: 0,
    completedMs: 0,
    bytesTotal: 0,
  } satisfies ScrubProgress;

  constructor(options: ScrubberOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run().catch((error: unknown) => {
      if (this.#isStopped) return;
      this.#options.onFatal(error instanceof Error ? error : new Error(String(error)));
    });
  }

  /** Begins a pass over everything now, unless an ordered one runs. */
  order(): void {
    if (this.#isOrdered) return;
    this.#isOrdered = true;
    // Whoever ordered it asks for its number at once.
    this.#begin(this.#nowMs, beforeAll);
    this.#interrupt.abort();
  }

  /** Begins nothing more. */
  halt(): void {
    this.#stopping.abort();
    this.#interrupt.abort();
  }

  /** Resolves when what runs has ended. */
  async stop(): Promise<void> {
    this.halt();
    await this.#running;
  }

  get #isStopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #run(): Promise<void> {
    const place = await readScrubPlace(this.#options.disk);
    this.progress.completedMs = place.completedMs;
    if (!this.#isOrdered) this.#place = place;
    await this.#wait(Math.min(FIRST_DELAY_MS, this.#options.limits.scrubPeriodMs / 10));
    while (!this.#isStopped) {
      this.#interrupt = new AbortController();
      if (!this.#isOrdered) await this.#untilDue();
      if (this.#isStopped) return;
      // An order may have come meanwhile, and has begun one.
      if (!this.#isOrdered) this.#begin(this.#begunMs(), this.#place.after ?? beforeAll);
      this.#interrupt = new AbortController();
      await this.#pass();
    }
  }

  /** When the pass that was cut off began; now when it was complete. */
  #begunMs(): number {
    return this.#place.after === undefined ? this.#nowMs : this.#place.begunMs;
  }

  async #untilDue(): Promise<void> {
    const { limits } = this.#options;
    while (this.#place.after === undefined && !this.#isInterrupted) {
      const agedMs = this.#nowMs - this.#place.begunMs;
      // A clock that was put back makes it begin early.
      if (agedMs >= limits.scrubPeriodMs || agedMs < 0) return;
      await this.#wait(Math.min(limits.scrubPeriodMs - agedMs, LOOK_EACH_MS));
    }
  }

  /** Whole milliseconds since 1970. */
  get #nowMs(): number {
    return Math.max(0, Math.floor(this.#options.clock.wallMs()));
  }

  get #isInterrupted(): boolean {
    return this.#interrupt.signal.aborted;
  }

  #begin(begunMs: number, after: SegmentId): void {
    this.#place = { ...this.#place, begunMs, after };
    const ahead = this.#ahead(after);
    const bytes = ahead.reduce((sum, replica) => sum + replica.written.bytes, 0);
    const counts = { replicas: ahead.length, replicasRead: 0, bytes, bytesRead: 0 };
    const found = { damaged: 0, unread: 0 };
    Object.assign(this.progress, counts, found, { isRunning: true });
    this.progress.pass++;
  }

  /** Sealed replicas behind an id that can be read, in order. */
  #ahead(after: SegmentId): Replica[] {
    return [...this.#options.replicas.values()]
      .filter((replica) => isReadable(replica) && replica.fileId > after)
      .sort((one, other) => (one.fileId < other.fileId ? -1 : 1));
  }

  async #pass(): Promise<void> {
    const { pass } = this.progress;
    for (;;) {
      // What was sealed meanwhile lies ahead, too.
      const ahead = this.#ahead(this.#place.after ?? beforeAll);
      if (ahead.length === 0) break;
      for (const replica of ahead) {
        await this.#scrub(replica);
        if (this.#isInterrupted || pass !== this.progress.pass) return;
        this.progress.replicasRead++;
        this.#place = { ...this.#place, after: replica.fileId };
        await this.#keepPlace(PLACE_EACH_MS);
      }
    }
    await this.#complete();
  }

  async #complete(): Promise<void> {
    const { logger } = this.#options;
    const { progress } = this;
    const { replicasRead, bytesRead, damaged, unread } = progress;
    const begunMs = Math.min(this.#place.begunMs, this.#nowMs);
    this.#place = { begunMs, completedMs: this.#nowMs, after: undefined };
    this.#isOrdered = false;
    Object.assign(progress, { isRunning: false, completedMs: this.#place.completedMs });
    if (replicasRead === 0) return;
    logger.info(
      { replicas: replicasRead, bytes: bytesRead, damaged, unread },
      'sealed replicas read again',
    );
    await this.#keepPlace(0);
  }

  async #scrub(replica: Replica): Promise<void> {
    if (!isReadable(replica)) return;
    const { reader, logger } = this.#options;
    const segment = replica.manifest.segmentId;
    try {
      const end = await this.#readThrough(replica);
      if (end === undefined || !isReadable(replica)) return;
      this.#checkEnd(replica, end);
      if (!replica.damaged && !(await reader.checkFooter(replica))) {
        logger.warn({ segment }, 'the footer of a segment file was broken: it is written again');
      }
    } catch (error) {
      if (replica.isDeleted || this.#isStopped) return;
      if (!(error instanceof OperatingError && error.code === 'DAMAGED')) {
        this.progress.unread++;
        logger.warn({ segment, error: String(error) }, 'a sealed replica could not be read again');
      }
    }
    if (replica.damaged) this.progress.damaged++;
  }

  /** Where its last frame in the file ends; undefined when the pass was interrupted. */
  async #readThrough(replica: Replica): Promise<Required<FramePlace> | undefined> {
    let place = { position: 0, index: 0, chain: 0 };
    while (place.position < replica.written.bytes) {
      const start = place.position;
      await this.#options.reader.walk(replica, place, replica.written.bytes, (frame) => {
        const { index, records, position, bytes, chain } = frame;
        place = { position: position + bytes, index: index + records, chain };
        return place.position - start < STEP_BYTES;
      });
      this.progress.bytesRead += place.position - start;
      this.progress.bytesTotal += place.position - start;
      await this.#pause(place.position - start);
      if (this.#isInterrupted || replica.isDeleted) return undefined;
    }
    return { ...place, chain: place.chain };
  }

  #checkEnd(replica: Replica, end: Required<FramePlace>): void {
    const { length, chain, written } = replica;
    if (end.position !== written.bytes || written.bytes !== replica.sizeBytes) return;
    if (end.index === length && end.chain === chain) return;
    const reason = `it has ${end.index} records with chain ${end.chain}, sealed were ${length} with ${chain}`;
    this.#options.onDamage(replica, { reason, fromByte: 0, toByte: end.position });
  }

  async #pause(bytes: number): Promise<void> {
    const { limits, syncAgeMs } = this.#options;
    const rate = scrubRate({
      bytesLeft: this.progress.bytes - this.progress.bytesRead,
      agedMs: this.#nowMs - this.#place.begunMs,
      periodMs: limits.scrubPeriodMs,
      bytesPerSecondMax: limits.scrubBytesPerSecondMax,
      isOrdered: this.#isOrdered,
    });
    await this.#wait((bytes * 1_000) / rate);
    for (let waits = 0; waits < BUSY_WAITS_MAX && syncAgeMs() > BUSY_SYNC_MS; waits++) {
      await this.#wait(BUSY_WAIT_MS);
      if (this.#isInterrupted) return;
    }
  }

  async #keepPlace(eachMs: number): Promise<void> {
    const { disk, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    if (nowMs - this.#placeWrittenMs < eachMs) return;
    this.#placeWrittenMs = nowMs;
    try {
      await writeScrubPlace(disk, this.#place);
    } catch (error) {
      // Without it the next start reads some once more.
      if (!isNoSpace(error)) throw error;
    }
  }

  async #wait(ms: number): Promise<void> {
    try {
      await delay(this.#options.clock, ms, this.#interrupt.signal);
    } catch (error) {
      if (!this.#isInterrupted) throw error;
    }
  }
}

/** Sealed, with something in its file, and in use. */
function isReadable(replica: Replica): boolean {
  const { isSealed, isDeleted, isCutPending, isCopying, damaged, written } = replica;
  return isSealed && !isDeleted && !isCutPending && !isCopying && !damaged && written.bytes > 0;
}
