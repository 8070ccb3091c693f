import { incarnation, type Incarnation, nodeId, type NodeId, OperatingError } from '@robustmq/core';
import type { Random } from '@robustmq/core';
import { crc32c } from '@robustmq/record-batch';
import { ByteReader, ByteWriter } from './bytes.ts';
import { type Disk, readWhole, replaceWhole } from './disk.ts';

/** Of the whole data folder; another one is refused. */
const FORMAT_VERSION = 1;
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

/** What the last start left; zeros in a new folder. Throws DAMAGED. */
export async function readBoot(disk: Disk): Promise<BootRecord> {
  const content = await readWhole(disk, BOOT);
  if (content === undefined) return { incarnation: incarnation(0), placementEpoch: 0 };
  const bytes = 4 + 8 + 8;
  if (content.length !== bytes + 4 || content.readUInt32LE(bytes) !== crc32c(content, 0, bytes)) {
    throw damaged(BOOT);
  }
  const reader = new ByteReader(content);
  if (reader.u32() !== BOOT_MAGIC) throw damaged(BOOT);
  return { incarnation: incarnation(reader.u64()), placementEpoch: reader.u64() };
}

/** Durable when it resolves. */
export async function writeBoot(disk: Disk, boot: BootRecord): Promise<void> {
  const writer = new ByteWriter(24).u32(BOOT_MAGIC).u64(boot.incarnation).u64(boot.placementEpoch);
  await replaceWhole(disk, BOOT, writer.u32(crc32c(writer.view())).view());
}
