import type { Logger } from '@robustmq/core';
import { crc32c } from '@robustmq/record-batch';
import { ByteReader, ByteWriter } from './bytes.ts';
import { type Orderer, OrderMemory, oldCopy } from './order-memory.ts';
import { changeOrEnd, type Disk, readWhole, replaceWhole } from './disk.ts';

const FILE = 'catalog';
const MAGIC = 0x4c514d52; // "RMQL"
const INSTANCE_BYTES = 16;
/** magic u32, crc of what follows u32, placement epoch u64, revision u64, instance 16; then the copy. */
const HEADER_BYTES = 24 + INSTANCE_BYTES;

/** What placement gave this journal to keep for it. The journal does not read `bytes`. */
export interface StoredCatalog {
  readonly placementEpoch: number;
  /** Revision of placement's store that it shows. */
  readonly revision: number;
  /** Which placement gave it: 16 bytes of its own. */
  readonly instance: Buffer;
  readonly bytes: Buffer;
}

/**
 * The copy of placement's catalog in the data folder. It is replaced whole; a damaged one counts as none,
 * since placement gives the next one within seconds.
 */
export class CatalogFile {
  readonly #disk: Disk;
  readonly #onFatal: (error: Error) => void;
  #current: StoredCatalog | undefined;
  readonly #shown = new OrderMemory();
  /** Writes, one after the other. */
  #work: Promise<void> = Promise.resolve();

  private constructor(disk: Disk, onFatal: (error: Error) => void) {
    this.#disk = disk;
    this.#onFatal = onFatal;
  }

  static async open(
    disk: Disk,
    logger: Logger,
    onFatal: (error: Error) => void,
  ): Promise<CatalogFile> {
    const file = new CatalogFile(disk, onFatal);
    const content = await readWhole(disk, FILE);
    file.#current = content && decode(content);
    if (content !== undefined && file.#current === undefined) {
      logger.warn({ file: FILE }, "the copy of placement's catalog is damaged: it gets a new one");
    }
    return file;
  }

  /** The newest copy that is durable. */
  get current(): StoredCatalog | undefined {
    return this.#current;
  }

  /**
   * Notes what an order shows of placement's store. Throws OLD_STORE when another placement has shown more
   * than the one who orders can know.
   */
  noteOrder(by: Orderer): void {
    this.#shown.note(by, this.#current);
  }

  /**
   * Durable when it resolves. Rejects with OLD_STORE when the copy that is kept shows more than the one who
   * gives this can know, with DISK_FULL, and with UNAVAILABLE when the disk fails.
   *
   * @param startRevision Revision of the giver's store when it began.
   */
  async store(catalog: StoredCatalog, startRevision: number): Promise<void> {
    const before = this.#work;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#work = promise;
    try {
      await before;
      await this.#replace(catalog, startRevision);
    } finally {
      resolve();
    }
  }

  async #replace(catalog: StoredCatalog, startRevision: number): Promise<void> {
    const kept = this.#current;
    const isOwn = kept?.instance.equals(catalog.instance) === true;
    const known = isOwn ? catalog.revision : startRevision;
    if (kept !== undefined && known < kept.revision) throw oldCopy(startRevision, kept.revision);
    const replace = (): Promise<void> => replaceWhole(this.#disk, FILE, encode(catalog));
    await changeOrEnd(FILE, replace, this.#onFatal);
    this.#current = catalog;
  }
}

function encode({ placementEpoch, revision, instance, bytes }: StoredCatalog): Buffer {
  const writer = new ByteWriter(HEADER_BYTES + bytes.length);
  writer.u32(MAGIC).u32(0).u64(placementEpoch).u64(revision).bytes(instance).bytes(bytes);
  const content = writer.view();
  content.writeUInt32LE(crc32c(content, 8, content.length), 4);
  return content;
}

function decode(content: Buffer): StoredCatalog | undefined {
  if (content.length < HEADER_BYTES) return undefined;
  const reader = new ByteReader(content);
  if (reader.u32() !== MAGIC || reader.u32() !== crc32c(content, 8, content.length)) {
    return undefined;
  }
  const placementEpoch = reader.u64();
  const revision = reader.u64();
  const instance = reader.bytes(INSTANCE_BYTES);
  return { placementEpoch, revision, instance, bytes: content.subarray(HEADER_BYTES) };
}
