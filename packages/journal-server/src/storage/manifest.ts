import { epoch, nodeId, segmentId, shardId } from '@robustmq/core';
import type { SegmentId } from '@robustmq/core';
import type { ByteReader, ByteWriter } from './bytes.ts';
import type { ReplicaManifest } from './storage.ts';

/** Bytes of a segment id: 128 random bits. */
export const SEGMENT_ID_BYTES = 16;

export function segmentIdBytes(id: SegmentId): Buffer {
  return Buffer.from(id, 'hex');
}

/** The id whose bytes stand at `position`. */
export function segmentIdAt(source: Buffer, position: number): SegmentId {
  return segmentId(source.toString('hex', position, position + SEGMENT_ID_BYTES));
}

/** shard u64, epoch u32, quorum u8, count u8, node ids as texts. The segment id stands elsewhere. */
export function writeManifest(writer: ByteWriter, manifest: ReplicaManifest): void {
  writer.u64(manifest.shardId).u32(manifest.epoch).u8(manifest.ackQuorum);
  writer.u8(manifest.replicaNodeIds.length);
  for (const id of manifest.replicaNodeIds) writer.text(id);
}

export function readManifest(reader: ByteReader, id: SegmentId): ReplicaManifest {
  const shard = shardId(reader.u64());
  const segmentEpoch = epoch(reader.u32());
  const ackQuorum = reader.u8();
  const replicaNodeIds = Array.from({ length: reader.u8() }, () => nodeId(reader.text()));
  return { segmentId: id, shardId: shard, epoch: segmentEpoch, replicaNodeIds, ackQuorum };
}
