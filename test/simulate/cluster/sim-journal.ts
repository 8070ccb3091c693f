import { randomInteger } from '@robustmq/core';
import { type JournalServer, startJournal } from '@robustmq/journal-server';
import { Registry } from 'prom-client';
import { MemoryDisk } from '../../../packages/testkit/src/memory-disk.ts';
import type { SimNetwork } from '../network/sim-network.ts';
import { whenSettled } from '../world/when-settled.ts';
import { SimProcess } from '../world/sim-process.ts';
import { worldLogger } from '../world/world-logger.ts';
import { lastFrames, type LogBlock, logBlocks, sectorBytes } from './log-blocks.ts';

const KIB = 1024;

/** So small that log files are emptied and used again within seconds. */
const storageLimits = {
  flushBytes: 8 * KIB,
  syncBytes: 20 * KIB,
  unflushedBytesMax: 1024 * KIB,
  recentBytesMax: 32 * KIB,
  slabBytes: 8 * KIB,
  reserveBytes: 0,
  scrubPeriodMs: 1_000,
};
const limits = {
  sweepEachMs: 500,
  rollRetryMs: 1_000,
  snapshotEachBytes: 4 * KIB,
  producerProtectedMs: 1_000,
};
const logFiles = 4;
const diskBytes = 16 * 1024 * KIB;

export interface SimJournalOptions {
  readonly name: string;
  readonly network: SimNetwork;
  readonly placement: readonly string[];
  /** How long a disk takes for one operation at most, in ms. */
  readonly diskMs: number;
  readonly logFileBytes: number;
  readonly producerExpiryMs: number;
  /** Its disk may lie: what it cannot read any more is nobody's fault. */
  readonly diskLies: boolean;
  /** Whether placement may be one that it has to refuse. */
  readonly isRefused: () => boolean;
  /** Told when its process has gone, however that came. */
  readonly onGone: (journal: SimJournal) => void;
}

/** A journal: the shipped server on a machine of the world. */
export class SimJournal {
  readonly name: string;
  readonly process: SimProcess;
  readonly diskLies: boolean;
  /** Longest time of one disk operation now, in ms. */
  diskMs: number;
  disk: MemoryDisk;
  /** Its disk was made to fail, so that it may end by itself. */
  mayEnd = false;
  /** Set: power is lost as soon as a block of several sectors is written to the log and not synced. */
  onTornWrite: (() => void) | undefined;
  readonly #options: SimJournalOptions;
  #server: JournalServer | undefined;

  constructor(options: SimJournalOptions) {
    this.#options = options;
    this.name = options.name;
    this.diskMs = options.diskMs;
    this.diskLies = options.diskLies;
    this.process = new SimProcess(options.name, options.network.world);
    this.disk = this.#newDisk();
  }

  get address(): string {
    return `${this.name}:1`;
  }

  start(): void {
    const { network, placement, producerExpiryMs, logFileBytes } = this.#options;
    const { process, name } = this;
    process.begin();
    const { life } = process;
    const isSameLife = (): boolean => process.isAlive && process.life === life;
    const started = startJournal({
      dataDir: '',
      listen: this.address,
      placement,
      nodeId: name,
      limits: { ...limits, producerIdleExpiryMs: producerExpiryMs },
      storageLimits: {
        ...storageLimits,
        walFileBytes: logFileBytes,
        walBytesMax: logFiles * logFileBytes,
      },
      transport: network.transportOf(process),
      clock: process.clock,
      random: process.newRandom(),
      logger: worldLogger(process),
      registry: new Registry(),
      disk: this.disk.mount(),
      loopLag: { takeMs: () => 0, [Symbol.dispose]: () => {} },
      onFatal: (error) => {
        if (isSameLife()) this.#ended(error);
      },
    });
    whenSettled(
      started,
      (server) => {
        if (isSameLife()) this.#server = server;
      },
      (thrown: unknown) => {
        if (isSameLife()) this.#ended(thrown instanceof Error ? thrown : new Error(String(thrown)));
      },
    );
  }

  /** SIGKILL: what was written and not synced stays in the kernel. */
  kill(): void {
    this.disk.kill();
    this.#gone('is killed', false);
  }

  /** The machine loses power: what was not synced is lost in part, and nobody refuses connections. */
  losePower(): void {
    this.disk.crash(this.process.world.random);
    this.#gone('loses power', true);
  }

  /** SIGTERM; it ends by itself, and may be killed before. */
  terminate(): void {
    const server = this.#server;
    if (server === undefined || !this.process.isAlive) return;
    const { process } = this;
    const { life } = process;
    process.world.note(`${this.name} is told to end`);
    whenSettled(
      Promise.resolve(server[Symbol.asyncDispose]()),
      () => {
        if (process.isAlive && process.life === life) this.kill();
      },
      (thrown: unknown) => {
        if (!process.isAlive || process.life !== life) return;
        if (!this.mayEnd) process.world.violate(`${this.name} cannot end: ${String(thrown)}`);
        this.kill();
      },
    );
  }

  /** A disk without anything on it takes the place of the old one. */
  replaceDisk(): void {
    this.process.world.note(`${this.name} gets an empty disk`);
    this.disk = this.#newDisk();
    this.#options.network.diskLost(this.name);
  }

  #newDisk(): MemoryDisk {
    const { process } = this;
    const { world } = process;
    return new MemoryDisk({
      capacityBytes: diskBytes,
      later: (work) =>
        process.schedule(world.between(0.05, this.diskMs), 'disk', () => {
          if (!this.#tears()) work();
        }),
    });
  }

  /** Whether the next thing that the disk does is not done any more. */
  #tears(): boolean {
    const onTorn = this.onTornWrite;
    if (onTorn === undefined || !this.#isWritingBlock()) return false;
    this.onTornWrite = undefined;
    this.losePower();
    onTorn();
    return true;
  }

  #isWritingBlock(): boolean {
    for (const path of this.disk.names()) {
      if (/^wal\/[0-9a-f]+\.wal$/.test(path) && (this.disk.file(path)?.dirty.size ?? 0) > 1)
        return true;
    }
    return false;
  }

  /** It has ended by itself. */
  #ended(error: Error): void {
    const { world } = this.process;
    // A start needs room for what it writes anew.
    const hasNoRoom = this.#server === undefined && error.message.startsWith('ENOSPC');
    const isExpected = this.mayEnd || this.diskLies || hasNoRoom || this.#options.isRefused();
    if (!isExpected) world.violate(`${this.name} ended: ${error.message}`);
    world.note(`${this.name} cannot go on: ${error.message}`);
    this.disk.kill();
    this.#gone('ends', false);
    const isUnreadable =
      this.disk.paths().length > 0 && /cannot be read|damaged/i.test(error.message);
    if (this.diskLies && isUnreadable) this.replaceDisk();
  }

  #gone(how: string, silently: boolean): void {
    this.#server = undefined;
    this.process.die(how);
    this.#options.network.died(this.name, silently);
    this.#options.onGone(this);
  }

  /**
   * Some bit of the log turns, where something is written, often where the last frames of these replicas are.
   * Not in its last block: nobody can tell that from a write that was torn (docs/journal.md, amendment 8).
   */
  rotLog(replicas: ReadonlySet<string>): void {
    const { random } = this.process.world;
    const blocks = logBlocks(this.disk);
    const older = blocks.filter((block) => isOlder(block, blocks));
    const exposed = lastFrames(blocks, replicas).filter((block) => isOlder(block, blocks));
    const among = random.next() < 0.8 && exposed.length > 0 ? exposed : older;
    const block = among[randomInteger(random, Math.max(1, among.length))];
    if (block === undefined) return;
    this.process.world.note(`a bit of ${this.name}:${block.path} turns`);
    this.disk.flipBit(block.path, block.position * 8 + randomInteger(random, 256 * 8));
  }

  /** Whether the last frames of one of these replicas do not stand in the last block of the log. */
  exposes(replicas: ReadonlySet<string>): boolean {
    const blocks = logBlocks(this.disk);
    return lastFrames(blocks, replicas).some((block) => isOlder(block, blocks));
  }

  /** Some bit of the log or of a segment file turns. */
  rot(): void {
    const { random } = this.process.world;
    const paths = this.disk.paths().filter((path) => /^(?:wal|seg)\//.test(path));
    // Most of the log is zeros, and most of the files are its own.
    const segments = paths.filter((path) => path.startsWith('seg/'));
    const among = segments.length > 0 && random.next() < 0.7 ? segments : paths;
    const path = among[randomInteger(random, among.length)];
    if (path === undefined) return;
    const bytes = this.disk.content(path).length;
    if (bytes === 0) return;
    const bit = randomInteger(random, bytes * 8);
    if (this.#isInLastBlock(path, Math.floor(bit / 8 / sectorBytes))) return;
    this.process.world.note(`a bit of ${this.name}:${path} turns`);
    this.disk.flipBit(path, bit);
  }

  /** A sector is written where another one belongs. */
  misdirect(): void {
    const { random } = this.process.world;
    const paths = this.disk.paths().filter((path) => /^(?:wal|seg)\//.test(path));
    const path = paths[randomInteger(random, paths.length)];
    if (path === undefined) return;
    const content = this.disk.content(path);
    const sectors = Math.floor(content.length / sectorBytes);
    if (sectors < 2) return;
    const from = randomInteger(random, sectors);
    const to = randomInteger(random, sectors);
    if (this.#isInLastBlock(path, to)) return;
    content.copy(content, to * sectorBytes, from * sectorBytes, (from + 1) * sectorBytes);
    this.process.world.note(`sector ${from} of ${this.name}:${path} is written over ${to}`);
    this.disk.replace(path, content);
  }

  /** Whether that sector belongs to the last block of the log, whose end nobody can tell from a torn write. */
  #isInLastBlock(path: string, sector: number): boolean {
    const [last] = logBlocks(this.disk);
    if (last?.path !== path) return false;
    const first = last.position / sectorBytes;
    return sector >= first && sector < first + last.sectors;
  }
}

function isOlder({ lsn }: LogBlock, [newest]: readonly LogBlock[]): boolean {
  return newest !== undefined && lsn < newest.lsn;
}
