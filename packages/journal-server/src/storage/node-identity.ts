import { incarnation, type Incarnation, nodeId, type NodeId, OperatingError } from '@robustmq/core';
import type { Random } from '@robustmq/core';
import { crc32c } from '@robustmq/record-batch';
import { ByteReader, ByteWriter } from './bytes.ts';
import { changeOrEnd, type Disk, readWhole, replaceWhole, syncFile, writeAll } from './disk.ts';

/** Of the whole data folder; another one is refused. */
const FORMAT_VERSION = 2;
const COOKIE = 'node.json';
const BOOT = 'boot';
const BOOT_MAGIC = 0x4f514d52; // "RMQO"

/** Who this data folder belongs to, `node.json`. */
export interface NodeCookie {
  readonly formatVersion: number;
  /** Empty until a cluster was joined. */
  readonly clusterId: string;
  readonly nodeId: NodeId;
  readonly diskUuid: string;
}

/** What has to outlive every start, file `boot`. */
export interface BootRecord {
  readonly incarnation: Incarnation;
  readonly placementEpoch: number;
}

/** The folder's cookie; undefined in a new folder. Throws UNSUPPORTED and ALREADY_EXISTS. */
export async function readCookie(
  disk: Disk,
  wanted: NodeId | undefined,
): Promise<NodeCookie | undefined> {
  const content = await readWhole(disk, COOKIE);
  if (content === undefined) return undefined;
  const cookie = parseCookie(content.toString('utf8'));
  if (wanted !== undefined && cookie.nodeId !== wanted) {
    throw new OperatingError(
      'ALREADY_EXISTS',
      `The data folder belongs to node ${cookie.nodeId}, not to ${wanted}: use that name or another folder.`,
    );
  }
  return cookie;
}

function parseCookie(text: string): NodeCookie {
  const fields = parseObject(text);
  const { formatVersion, clusterId, nodeId: name, diskUuid } = fields;
  if (typeof formatVersion === 'number' && formatVersion !== FORMAT_VERSION) {
    throw new OperatingError(
      'UNSUPPORTED',
      `The data folder has format version ${formatVersion}, this program reads ${FORMAT_VERSION}: start the version that wrote it.`,
    );
  }
  if (
    formatVersion !== FORMAT_VERSION ||
    typeof clusterId !== 'string' ||
    typeof name !== 'string' ||
    typeof diskUuid !== 'string'
  ) {
    throw damaged(COOKIE);
  }
  const cookie = { formatVersion, clusterId, nodeId: nodeId(name), diskUuid };
  if (fields['crc'] !== cookieCrc(cookie)) throw damaged(COOKIE);
  return cookie;
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null) return { ...value };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw damaged(COOKIE);
}

function cookieCrc({ formatVersion, clusterId, nodeId: name, diskUuid }: NodeCookie): number {
  return crc32c(Buffer.from(JSON.stringify([formatVersion, clusterId, name, diskUuid]), 'utf8'));
}

function damaged(file: string): OperatingError {
  return new OperatingError(
    'DAMAGED',
    `The file ${file} of the data folder is damaged: restore it, or start with an empty folder and let the other replicas fill it.`,
  );
}

export async function writeCookie(disk: Disk, cookie: NodeCookie): Promise<void> {
  const text = JSON.stringify({ ...cookie, crc: cookieCrc(cookie) }, undefined, 2);
  await replaceWhole(disk, COOKIE, Buffer.from(`${text}\n`, 'utf8'));
}

/** A cookie for a new folder. */
export function newCookie(random: Random, wanted: NodeId | undefined): NodeCookie {
  const diskUuid = random.bytes(16).toString('hex');
  const name = wanted ?? nodeId(`journal-${diskUuid.slice(0, 8)}`);
  return { formatVersion: FORMAT_VERSION, clusterId: '', nodeId: name, diskUuid };
}

/** Two places for the boot record, written in turn, so that a full disk has room for the next one. */
const SLOT_BYTES = 4096;
const RECORD_BYTES = 28;

interface BootSlot extends BootRecord {
  /** Counts writes; the newest is the larger one. */
  readonly number: number;
}

/**
 * The boot record of the data folder. It is written in place: the slot before stays intact whatever a
 * crash does to the new one.
 */
export class BootFile {
  readonly #disk: Disk;
  #newest: BootSlot = { number: 0, incarnation: incarnation(0), placementEpoch: 0 };

  private constructor(disk: Disk) {
    this.#disk = disk;
  }

  /** Reads the record, and makes its incarnation a new one, durably. Throws DAMAGED. */
  static async start(disk: Disk): Promise<BootFile> {
    const file = new BootFile(disk);
    const step = await file.#read();
    await file.write({
      incarnation: incarnation(file.#newest.incarnation + step),
      placementEpoch: file.#newest.placementEpoch,
    });
    return file;
  }

  get record(): BootRecord {
    return this.#newest;
  }

  /** Durable when it resolves. */
  async write(record: BootRecord): Promise<void> {
    const next: BootSlot = { ...record, number: this.#newest.number + 1 };
    const isNew = !(await this.#disk.exists(BOOT));
    const file = await this.#disk.open(BOOT, 'create');
    try {
      // A new file gets both places at once.
      if (isNew) await writeAll(file, [Buffer.alloc(2 * SLOT_BYTES)], 0);
      await writeAll(file, [encodeBoot(next)], (next.number % 2) * SLOT_BYTES);
      await syncFile(file);
    } finally {
      await file.close();
    }
    if (isNew) await this.#disk.syncFolder('');
    this.#newest = next;
  }

  /** Takes the newest slot that is intact and returns how far the next incarnation has to be. */
  async #read(): Promise<number> {
    const content = await readWhole(this.#disk, BOOT);
    if (content === undefined || content.every((byte) => byte === 0)) return 1;
    const slots = [decodeBoot(content, 0), decodeBoot(content, SLOT_BYTES)];
    for (const slot of slots) {
      if (slot !== undefined && slot.number > this.#newest.number) this.#newest = slot;
    }
    if (this.#newest.number === 0) throw damaged(BOOT);
    // The other slot should hold the write before. If it does not, it may have been a newer one.
    const isWhole = slots.every((slot) => slot !== undefined) || this.#newest.number === 1;
    return isWhole ? 1 : 2;
  }
}

function encodeBoot(slot: BootSlot): Buffer {
  const writer = new ByteWriter(RECORD_BYTES + 4).u32(BOOT_MAGIC).u64(slot.number);
  writer.u64(slot.incarnation).u64(slot.placementEpoch);
  return writer.u32(crc32c(writer.view())).view();
}

function decodeBoot(content: Buffer, position: number): BootSlot | undefined {
  const end = position + RECORD_BYTES;
  if (content.length < end + 4) return undefined;
  if (content.readUInt32LE(end) !== crc32c(content, position, end)) return undefined;
  const reader = new ByteReader(content, position);
  if (reader.u32() !== BOOT_MAGIC) return undefined;
  const number = reader.u64();
  return { number, incarnation: incarnation(reader.u64()), placementEpoch: reader.u64() };
}

/** Who this node is; what of it may change, changes durably. */
export class NodeIdentity {
  readonly #disk: Disk;
  readonly #boot: BootFile;
  readonly #onFatal: (error: Error) => void;
  #cookie: NodeCookie;
  /** Changes, one after the other. */
  #work: Promise<void> = Promise.resolve();

  constructor(disk: Disk, cookie: NodeCookie, boot: BootFile, onFatal: (error: Error) => void) {
    this.#disk = disk;
    this.#onFatal = onFatal;
    this.#cookie = cookie;
    this.#boot = boot;
  }

  get cookie(): NodeCookie {
    return this.#cookie;
  }

  get incarnation(): Incarnation {
    return this.#boot.record.incarnation;
  }

  get placementEpoch(): number {
    return this.#boot.record.placementEpoch;
  }

  /**
   * Throws WRONG_CLUSTER, FENCED for a placement epoch that was surpassed, DISK_FULL, and UNAVAILABLE when
   * the disk fails.
   */
  adopt(clusterId: string, placementEpoch: number): Promise<void> {
    const done = this.#work.then(() => this.#adopt(clusterId, placementEpoch));
    this.#work = done.catch(() => undefined);
    return done;
  }

  /** Makes the incarnation at least that, durably. */
  raiseIncarnation(wanted: Incarnation): Promise<void> {
    const done = this.#work.then(() => this.#raise(wanted));
    this.#work = done.catch(() => undefined);
    return done;
  }

  async #raise(wanted: Incarnation): Promise<void> {
    const { incarnation: own, placementEpoch } = this.#boot.record;
    if (own < wanted) await this.#writeBoot({ incarnation: wanted, placementEpoch });
  }

  async #adopt(clusterId: string, placementEpoch: number): Promise<void> {
    const cookie = this.#cookie;
    const seen = this.#boot.record;
    if (cookie.clusterId !== '' && cookie.clusterId !== clusterId) {
      throw new OperatingError(
        'WRONG_CLUSTER',
        `this node belongs to cluster ${cookie.clusterId}, not to ${clusterId}; give it another data folder`,
      );
    }
    if (placementEpoch < seen.placementEpoch) {
      throw new OperatingError(
        'FENCED',
        `placement epoch ${placementEpoch} is older than ${seen.placementEpoch}, which this node has seen`,
        { epoch: seen.placementEpoch },
      );
    }
    if (cookie.clusterId !== clusterId) {
      const changed = { ...cookie, clusterId };
      await changeOrEnd(COOKIE, () => writeCookie(this.#disk, changed), this.#onFatal);
      this.#cookie = changed;
    }
    if (placementEpoch > seen.placementEpoch) {
      await this.#writeBoot({ incarnation: seen.incarnation, placementEpoch });
    }
  }

  #writeBoot(record: BootRecord): Promise<void> {
    return changeOrEnd(BOOT, () => this.#boot.write(record), this.#onFatal);
  }
}
