import { OperatingError } from '@robustmq/core';
import {
  placementAdminMethods,
  type SealShardResponse,
  type Segment,
  SegmentState,
  type UnsafeSeal,
} from '@robustmq/rpc';

import { table, throwStatus, withPlacement } from '../administration.ts';
import { bytesText } from '../bytes-text.ts';
import { confirm } from '../confirm.ts';
import { operatorName } from '../operator.ts';
import type { Options } from '../options.ts';
import type { ReplicaReport } from '../replica-reports.ts';
import { parseOneShardName, parseShardName } from '../shard-name.ts';
import { type ShardView, viewShards } from '../shard-view.ts';
import { lossOf, lossText } from '../unsafe-seal.ts';
import { segmentStateWords, unknown } from '../words.ts';

interface Input {
  readonly arguments: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
}

/** `robustmq shard describe`: the chain as placement has it, and each replica as its journal has it. */
export async function describeShards(options: Options, input: Input): Promise<void> {
  const views = await viewShards(options, parseShardName(input.arguments[0] ?? ''));
  const text = input.flags['json']
    ? `${JSON.stringify(views.map(viewJson), null, 2)}\n`
    : views.map(viewText).join('\n');
  process.stdout.write(text);
}

/** `robustmq shard seal`: ends the open segment now; with `--unsafe` also when records may be lost. */
export async function sealShard(options: Options, input: Input): Promise<void> {
  const name = input.arguments[0] ?? '';
  const [view] = await viewShards(options, parseOneShardName(name));
  const segment = view?.chain.find(({ state }) => state !== SegmentState.SEALED);
  if (view === undefined || segment === undefined) {
    process.stdout.write(`${name} has no open segment: there is nothing to seal\n`);
    return;
  }
  const { shardId } = view.shard;
  const loss = lossOf(segment, view.reports);
  const isUnsafe = input.flags['unsafe'] === true && loss.intact < loss.needed;
  if (!isUnsafe) {
    const answer = await order(options, shardId, undefined);
    if (answer.status !== undefined) throw withHint(answer, name);
    process.stdout.write(sealedText(name, answer));
    return;
  }
  process.stderr.write(lossText(name, segment, loss));
  if (loss.intact === 0 && loss.away.length > 0) {
    const message = `${name}: no intact replica answers, so nothing could be kept: bring ${loss.away.join(' or ')} back; once all have said that they have none it can be sealed`;
    throw new OperatingError('UNAVAILABLE', message);
  }
  await confirm(name, input.flags);
  const unsafe = { endOffsetMin: loss.endOffset, orderedBy: operatorName() };
  const answer = await order(options, shardId, unsafe);
  throwStatus(answer.status);
  process.stdout.write(sealedText(name, answer));
}

function order(
  options: Options,
  shardId: number,
  unsafe: UnsafeSeal | undefined,
): Promise<SealShardResponse> {
  const timeoutMs = 60_000;
  return withPlacement(options, (client) =>
    client.call(placementAdminMethods.sealShard, { shardId, unsafe }, { timeoutMs }),
  );
}

function withHint({ status }: SealShardResponse, name: string): OperatingError {
  const message = `${status?.message ?? ''}; once they cannot come back, "robustmq shard seal ${name} --unsafe" tells what may be lost and seals with those that are there`;
  return new OperatingError('UNAVAILABLE', message);
}

function sealedText(name: string, { shard }: SealShardResponse): string {
  return `sealed ${name} at offset ${shard?.endOffset ?? unknown}; the next append opens a segment\n`;
}

function viewText({ shard, chain, reports }: ShardView): string {
  const { topic, partition, shardId, epoch, trimOffset } = shard;
  const title = `${topic}/${partition}: shard ${shardId}, epoch ${epoch}, records from ${trimOffset}\n`;
  if (chain.length === 0) return `${title}no segment: it ends at ${shard.endOffset}\n`;
  const segmentHead = 'SEGMENT BASE END STATE EPOCH LEADER REPLICAS FULL BYTES'.split(' ');
  const replicaHead = 'REPLICA JOURNAL LENGTH COMMITTED FENCE STATE'.split(' ');
  return [
    title,
    table([segmentHead, ...chain.map(segmentRow)]),
    table([replicaHead, ...reports.map(reportRow)]),
  ].join('\n');
}

function segmentRow(segment: Segment): (string | number)[] {
  const isSealed = segment.state === SegmentState.SEALED;
  return [
    shortId(segment.segmentId.toString('hex')),
    segment.baseOffset,
    isSealed ? segment.endOffset : '-',
    segmentStateWords[segment.state],
    segment.epoch,
    segment.leaderNodeId || '-',
    segment.replicaNodeIds.join(' '),
    isSealed ? segment.fullNodeIds.join(' ') : '-',
    isSealed ? bytesText(segment.sizeBytes) : '-',
  ];
}

function reportRow({ segmentId, nodeId, state, replica }: ReplicaReport): (string | number)[] {
  const numbers = replica && [replica.length, replica.commitLength, replica.fencedEpoch];
  return [shortId(segmentId), nodeId, ...(numbers ?? [unknown, unknown, unknown]), state];
}

function viewJson({ shard, chain, reports }: ShardView): object {
  return {
    topic: shard.topic,
    partition: shard.partition,
    shardId: shard.shardId,
    epoch: shard.epoch,
    trimOffset: shard.trimOffset,
    endOffset: shard.endOffset,
    segments: chain.map((segment) => segmentJson(segment, reports)),
  };
}

function segmentJson(segment: Segment, reports: readonly ReplicaReport[]): object {
  const id = segment.segmentId.toString('hex');
  const isSealed = segment.state === SegmentState.SEALED;
  return {
    id,
    baseOffset: segment.baseOffset,
    endOffset: isSealed ? segment.endOffset : null,
    state: segmentStateWords[segment.state],
    epoch: segment.epoch,
    sealEpoch: segment.sealEpoch,
    leader: segment.leaderNodeId,
    ackQuorum: segment.ackQuorum,
    full: segment.fullNodeIds,
    bytes: segment.sizeBytes,
    replicas: reports
      .filter(({ segmentId }) => segmentId === id)
      .map(({ nodeId, state, replica }) => ({
        nodeId,
        state,
        length: replica?.length ?? null,
        commitLength: replica?.commitLength ?? null,
        fencedEpoch: replica?.fencedEpoch ?? null,
        damaged: replica?.damaged ?? null,
      })),
  };
}

/** Enough of a random id to tell the segments of a table apart. */
function shortId(segmentId: string): string {
  return segmentId.slice(0, 8);
}
