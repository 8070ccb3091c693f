import {
  type Authority,
  journalAdminMethods,
  journalControlMethods,
  journalReplicaMethods,
  type ReplicaSummary,
  type Segment,
  segmentIdOfBytes,
} from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';
import { newProducers } from '../core/core.fixture.ts';
import { decodeProducerSnapshot } from '../core/producer-snapshot.ts';
import { batchOf, entry, NodeFixture, producerBatch, until, valuesIn } from './node.fixture.ts';
import { codeOf } from './stream-clients.fixture.ts';

const { prepare, activate, fence, sealNotify, probe, inventory } = journalControlMethods;
const { storeCatalog, readCatalog } = journalControlMethods;

function prepareOf(authority: Authority, epoch = 1, nodeId = 'journal-1'): object {
  return {
    authority,
    replicas: [
      {
        segmentId: Buffer.alloc(16, 7),
        shardId: 1,
        epoch,
        replicaNodeIds: [nodeId],
        ackQuorum: 1,
      },
    ],
  };
}

function activateOf(journal: NodeFixture, segment: Segment, change: object = {}): never {
  const { authority } = journal.chains;
  const { segmentId, epoch, baseOffset, leaderIncarnation: incarnation } = segment;
  const order = {
    segmentId,
    epoch,
    baseOffset,
    incarnation,
    previousSegmentId: Buffer.alloc(0),
    previousFullNodes: [],
    policy: undefined,
    ...change,
  };
  return { authority, segments: [order] } as never;
}

describe('orders', () => {
  it('of another cluster, an older placement or nobody are refused', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const { authority } = journal.chains;
    const ask = async (change: Partial<Authority>): Promise<string> => {
      const request = { authority: { ...authority, ...change }, segments: [] };
      return codeOf((await journal.client.call(fence, { ...request, order: 0 })).status);
    };
    expect(await ask({})).toBe('OK');
    expect(await ask({ clusterId: 'other' })).toBe('WRONG_CLUSTER');
    expect(await ask({ clusterId: '' })).toBe('INVALID_ARGUMENT');
    expect(await ask({ placementEpoch: 5 })).toBe('OK');
    expect(await ask({ placementEpoch: 4 })).toBe('FENCED');
    expect(journal.storage.placementEpoch).toBe(5);
  });

  it('to prepare are checked, and may come twice', async () => {
    await using journal = await NodeFixture.start();
    const { authority } = journal.chains;
    const { nodeId } = journal.storage;
    const ask = async (request: object): Promise<string[]> => {
      const answer = await journal.client.call(prepare, request as never);
      return answer.results.map(codeOf);
    };
    expect(await ask(prepareOf(authority, 1, 'somebody-else'))).toEqual(['INVALID_ARGUMENT']);
    expect(await ask(prepareOf(authority, 1, nodeId))).toEqual(['OK']);
    expect(await ask(prepareOf(authority, 1, nodeId))).toEqual(['OK']);
    expect(await ask(prepareOf(authority, 2, nodeId))).toEqual(['CONFLICT']);
  });

  it('to lead are obeyed once for a segment and incarnation, and never after a fence', async () => {
    await using journal = await NodeFixture.start();
    const segment = await journal.open(1);
    const ask = async (change: object = {}): Promise<string[]> => {
      const answer = await journal.client.call(activate, activateOf(journal, segment, change));
      return answer.results.map(codeOf);
    };
    expect(await ask()).toEqual(['OK']);
    expect(await ask({ incarnation: segment.leaderIncarnation + 1 })).toEqual(['NOT_LEADER']);
    await journal.appends().codes(entry(1, batchOf(['a'])));
    await journal.fence([{ segment, epoch: segment.epoch + 1 }]);
    expect(await ask()).toEqual(['FENCED']);
    expect(await ask({ segmentId: Buffer.alloc(16, 9) })).toEqual(['SEGMENT_UNKNOWN']);
  });

  it('to lead what an incarnation before led are refused', async () => {
    const first = await NodeFixture.start();
    const segment = await first.open(1);
    await first.appends().codes(entry(1, batchOf(['a'])));
    await using journal = await first.restart();
    const incarnation = journal.storage.incarnation;
    const order = activateOf(journal, segment, { incarnation });
    const answer = await journal.client.call(activate, order);
    expect(answer.results.map(codeOf)).toEqual(['FENCED']);
  });

  it('to fence tell the length, wait for the disk, and end the leader at once (I5)', async () => {
    await using journal = await NodeFixture.start();
    const segment = await journal.open(1);
    const client = journal.appends();
    await client.codes(entry(1, batchOf(['a'])));
    journal.disk.faults.holdSyncs = true;
    const late = entry(1, batchOf(['b', 'c']));
    client.send(late);
    await until(() => journal.node.inFlightBytes > 0);
    let isAnswered = false;
    const request = {
      authority: journal.chains.authority,
      segments: [{ segmentId: segment.segmentId, epoch: segment.epoch + 1 }],
      order: 0,
    };
    const fenced = journal.client.call(fence, request).finally(() => (isAnswered = true));
    expect(codeOf((await client.answer(late)).status)).toBe('INDETERMINATE');
    expect(isAnswered).toBe(false);
    journal.disk.releaseSyncs();
    const { results } = await fenced;
    // What was accepted before the fence is in it, and was not committed by this leader.
    expect(results).toMatchObject([{ length: 3, commitLength: 1 }]);
    expect(await client.codes(entry(1, batchOf(['d']), { resume: true }))).toEqual(['NOT_LEADER']);
  });

  it('to fence with a lower epoch, or what is not there, say so', async () => {
    await using journal = await NodeFixture.start();
    const segment = await journal.open(1);
    const { epoch } = segment;
    const higher = await journal.fence([{ segment, epoch: epoch + 5 }]);
    expect(higher.map(codeOf)).toEqual(['OK']);
    const unknown = { ...segment, segmentId: Buffer.alloc(16, 9) };
    const answers = await journal.fence([
      { segment, epoch: epoch + 4 },
      { segment, epoch: epoch + 5 },
      { segment: unknown, epoch: 9 },
    ]);
    expect(answers.map(codeOf)).toEqual(['FENCED', 'OK', 'SEGMENT_UNKNOWN']);
    expect(answers[0]?.hintEpoch).toBe(epoch + 5);
  });

  it('to fence 1,000 shards are one sync', async () => {
    await using journal = await NodeFixture.start();
    const segments: Segment[] = [];
    for (let shardId = 1; shardId <= 1_000; shardId++) segments.push(await journal.open(shardId));
    const before = journal.storage.stats.syncs;
    const statuses = await journal.fence(
      segments.map((segment) => ({ segment, epoch: segment.epoch + 1 })),
    );
    expect(statuses.every(({ code }) => code === 0)).toBe(true);
    expect(journal.storage.stats.syncs - before).toBeLessThanOrEqual(2);
    expect(journal.node.ledSegments).toBe(0);
  });

  it('to seal cut what was not committed, and contradict nothing', async () => {
    await using journal = await NodeFixture.start();
    const segment = await journal.open(1);
    await journal.appends().codes(entry(1, batchOf(['a'])));
    const { segmentId, baseOffset, epoch } = segment;
    const ask = async (length: number): Promise<string[]> => {
      const sealed = { segmentId, baseOffset, epoch, length };
      const request = { authority: journal.chains.authority, segments: [sealed] };
      return (await journal.client.call(sealNotify, request)).results.map(codeOf);
    };
    expect(await ask(0)).toEqual(['CONFLICT']);
    expect(await ask(2)).toEqual(['CONFLICT']);
    expect(await ask(1)).toEqual(['OK']);
    expect(await ask(1)).toEqual(['OK']);
    expect(await ask(2)).toEqual(['CONFLICT']);
  });

  it('to seal what is led here let nothing be appended behind the end while it is stored', async () => {
    await using journal = await NodeFixture.start();
    const segment = await journal.open(1);
    const client = journal.appends();
    await client.codes(entry(1, batchOf(['a'])));
    const { segmentId, baseOffset, epoch } = segment;
    journal.disk.faults.holdSyncs = true;
    const sealed = { segmentId, baseOffset, epoch, length: 1 };
    const request = { authority: journal.chains.authority, segments: [sealed] };
    const answer = journal.client.call(sealNotify, request);
    await until(() => journal.storage.replica(segmentIdOfBytes(segmentId))?.sealedLength === 1);
    const late = entry(1, batchOf(['b']));
    client.send(late);
    await until(() => journal.node.inFlightBytes > 0);
    journal.disk.releaseSyncs();
    expect((await answer).results.map(codeOf)).toEqual(['OK']);
    expect(codeOf((await client.answer(late)).status)).toBe('NOT_LEADER');
  });

  it('to prepare or lead that come behind the order to delete, or a newer segment, do nothing', async () => {
    await using journal = await NodeFixture.start();
    const { authority } = journal.chains;
    const ask = async (epoch: number, segmentId: Buffer): Promise<string[]> => {
      const replica = { segmentId, shardId: 1, epoch, ackQuorum: 1 };
      const replicaNodeIds = [journal.storage.nodeId];
      const request = { authority, replicas: [{ ...replica, replicaNodeIds }] };
      return (await journal.client.call(prepare, request)).results.map(codeOf);
    };
    const deleted = Buffer.alloc(16, 3);
    await journal.client.call(journalControlMethods.delete, {
      authority,
      segmentIds: [deleted],
      leftover: undefined,
    });
    expect(await ask(1, deleted)).toEqual(['SEGMENT_UNKNOWN']);
    const overtaken = Buffer.alloc(16, 4);
    expect(await ask(1, overtaken)).toEqual(['OK']);
    const newer = Buffer.alloc(16, 5);
    expect(await ask(3, newer)).toEqual(['OK']);
    const segment = { leaderIncarnation: journal.storage.incarnation, baseOffset: 0 };
    const lead = async (segmentId: Buffer, epoch: number): Promise<string[]> => {
      const order = activateOf(journal, { ...segment, segmentId, epoch } as never);
      return (await journal.client.call(activate, order)).results.map(codeOf);
    };
    expect(await lead(newer, 3)).toEqual(['OK']);
    expect(await lead(overtaken, 1)).toEqual(['FENCED']);
    expect(journal.node.ledSegments).toBe(1);
  });

  it('to delete remove a replica and end who reads it', async () => {
    await using journal = await NodeFixture.start();
    const segment = await journal.open(1);
    await journal.appends().codes(entry(1, batchOf(['a'])));
    const tails = journal.tails();
    tails.open(1, 1, 0);
    await tails.reached(1, 1);
    const { authority } = journal.chains;
    const segmentIds = [segment.segmentId, Buffer.alloc(16, 9)];
    const request = { authority, segmentIds, leftover: undefined };
    const answer = await journal.client.call(journalControlMethods.delete, request);
    expect(answer.results.map(codeOf)).toEqual(['OK', 'OK']);
    const ended = await until(() => tails.of(1).find(({ status }) => status !== undefined));
    expect(codeOf(ended.status)).toBe('NOT_LEADER');
    expect(codeOf((await journal.reads().read(1, 0)).status)).toBe('SEGMENT_UNKNOWN');
    expect(journal.node.replicaCount).toBe(0);
  });

  it('to delete what is being prepared or fenced leave nothing and end nothing', async () => {
    await using journal = await NodeFixture.start();
    const segment = await journal.open(1);
    await journal.appends().codes(entry(1, batchOf(['a'])));
    const { authority } = journal.chains;
    const segmentId = Buffer.alloc(16, 5);
    journal.disk.faults.holdSyncs = true;
    const accepted = entry(1, batchOf(['b']));
    journal.appends().send(accepted);
    await until(() => journal.node.inFlightBytes > 0);
    const prepared = journal.client.call(journalControlMethods.prepare, {
      authority,
      replicas: [
        { segmentId, shardId: 2, epoch: 1, replicaNodeIds: [journal.storage.nodeId], ackQuorum: 1 },
      ],
    });
    const fenced = journal.fence([{ segment, epoch: segment.epoch + 1 }]);
    await until(() => journal.storage.replica(segmentIdOfBytes(segmentId)));
    await until(() => journal.node.ledSegments === 0);
    const deleted = journal.client.call(journalControlMethods.delete, {
      authority,
      segmentIds: [segmentId, segment.segmentId],
      leftover: undefined,
    });
    await until(() => journal.storage.replica(segmentIdOfBytes(segmentId)) === undefined);
    journal.disk.releaseSyncs();
    expect((await deleted).results.map(codeOf)).toEqual(['OK', 'OK']);
    expect((await prepared).results.map(codeOf)).toEqual(['SEGMENT_UNKNOWN']);
    expect((await fenced).map(codeOf)).toEqual(['SEGMENT_UNKNOWN']);
    expect(journal.node.replicaCount).toBe(0);
  });

  it('to prepare below the newest segment come from an old copy of the chains', async () => {
    await using journal = await NodeFixture.start();
    const { authority } = journal.chains;
    await journal.open(1);
    await journal.chains.sealLast(1);
    const { epoch } = await journal.open(1);
    const codes: string[] = [];
    for (const wanted of [epoch, epoch + 1]) {
      const request = prepareOf(authority, wanted, journal.storage.nodeId) as never;
      const { results } = await journal.client.call(prepare, request);
      codes.push(...results.map(codeOf));
    }
    expect(codes).toEqual(['OLD_STORE', 'OK']);
  });

  it('to describe tell of one replica, and of one that is not here', async () => {
    await using journal = await NodeFixture.start();
    const { segmentId } = await journal.open(1);
    await journal.appends().codes(entry(1, batchOf(['a', 'b'])));
    const request = { segmentIds: [segmentId, Buffer.alloc(16, 9)] };
    const { results } = await journal.client.call(journalAdminMethods.describeReplicas, request);
    expect(results[0]?.replica).toMatchObject({
      shardId: 1,
      length: 2,
      commitLength: 2,
      leads: true,
      damaged: false,
      sealed: false,
    });
    expect(results.map(({ status }) => codeOf(status))).toEqual(['OK', 'SEGMENT_UNKNOWN']);
  });

  it('to keep a copy of the catalog are durable, and never go back to an older one', async () => {
    const journal = await NodeFixture.start();
    const { authority } = journal.chains;
    const store = async (instance: number, revision: number, start: number): Promise<string> => {
      const order = {
        authority: { ...authority, placementEpoch: instance },
        revision,
        copy: Buffer.from(`${instance}/${revision}`),
        placementInstance: Buffer.alloc(16, instance),
        startRevision: start,
      };
      return codeOf((await journal.client.call(storeCatalog, order)).status);
    };
    expect(await store(1, 7, 5)).toBe('OK');
    // Overtaken by the one before.
    expect(await store(1, 6, 5)).toBe('OLD_STORE');
    expect(await store(1, 9, 5)).toBe('OK');
    // It has done more than it began with, and does not know what the first one did.
    expect(await store(2, 20, 8)).toBe('OLD_STORE');
    expect(await store(3, 20, 9)).toBe('OK');
    await using again = await journal.restart();
    const kept = await again.client.call(readCatalog, {});
    expect({ ...kept, copy: kept.copy.toString() }).toEqual({
      nodeId: journal.storage.nodeId,
      diskUuid: journal.storage.diskUuid,
      clusterId: authority.clusterId,
      placementEpoch: 3,
      copyEpoch: 3,
      revision: 20,
      copy: '3/20',
    });
  });

  it('of a placement whose store does not have what others have ordered are refused', async () => {
    await using journal = await NodeFixture.start();
    const { authority } = journal.chains;
    const ask = async (
      instance: number,
      startRevision: number,
      lineage: readonly number[],
      revision = startRevision,
    ): Promise<string> => {
      const by = {
        ...authority,
        placementInstance: Buffer.alloc(16, instance),
        startRevision,
        revision,
        lineage: lineage.map((one) => Buffer.alloc(8, one)),
      };
      const request = { authority: by, segments: [], order: 0 };
      return codeOf((await journal.client.call(fence, request)).status);
    };
    expect(await ask(1, 5, [1], 10)).toBe('OK');
    expect(await ask(1, 5, [1], 8)).toBe('OK');
    // The copy is from before what the first one did last; and of another history that is as long.
    expect(await ask(2, 9, [1, 2])).toBe('OLD_STORE');
    expect(await ask(3, 10, [7, 3])).toBe('OLD_STORE');
    expect(await ask(4, 10, [1, 4], 12)).toBe('OK');
    expect(await ask(5, 11, [1, 4, 5])).toBe('OLD_STORE');
    // A rebuilt store begins far above, and remembers nobody.
    expect(await ask(6, 1_000_000_012, [])).toBe('OK');
  });

  it('to list tell all replicas, and to probe the incarnation', async () => {
    await using journal = await NodeFixture.start({ limits: { controlItemsMax: 2 } });
    for (const shardId of [1, 2, 3]) await journal.open(shardId);
    await journal.appends().codes(entry(2, batchOf(['a', 'b'])));
    const replicas: ReplicaSummary[] = [];
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const stream = journal.client.open(inventory, {
      message: (step) => replicas.push(...step.replicas),
      closed: resolve,
    });
    stream.send({ authority: journal.chains.authority });
    stream.end();
    expect(await promise).toBeUndefined();
    const lengths = replicas.map(({ shardId, length }) => [shardId, length]);
    expect(lengths.toSorted(([left = 0], [right = 0]) => left - right)).toEqual([
      [1, 0],
      [2, 2],
      [3, 0],
    ]);
    const { nodeId, incarnation } = journal.storage;
    expect(await journal.client.call(probe, {})).toEqual({ nodeId, incarnation });
  });
});

describe('producers for another journal', () => {
  it('are exported at the end of a sealed segment', async () => {
    await using journal = await NodeFixture.start();
    const segment = await journal.open(1);
    await journal.appends().codes(entry(1, producerBatch(0)), entry(1, producerBatch(1)));
    const ask = async (): Promise<{ code: string; snapshot: Buffer }> => {
      const { segmentId } = segment;
      const answer = await journal.client.call(journalReplicaMethods.exportProducers, {
        segmentId,
      });
      return { code: codeOf(answer.status), snapshot: answer.snapshot };
    };
    expect((await ask()).code).toBe('SEGMENT_UNKNOWN');
    await journal.chains.sealLast(1);
    const { code, snapshot } = await ask();
    expect(code).toBe('OK');
    const state = newProducers();
    decodeProducerSnapshot(state, snapshot, { start: 0, end: snapshot.length }, 0);
    expect(state.entry(7)?.window.map(({ baseOffset }) => baseOffset)).toEqual([0, 1]);
  });

  it('are kept over segments without appends, and their snapshot is no record', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    await journal.appends().codes(entry(1, producerBatch(0)));
    await journal.chains.sealLast(1);
    await journal.open(1);
    expect(await journal.appends().codes(entry(1, batchOf(['x'])))).toEqual(['OK']);
    const { frames } = await journal.reads().read(1, 1);
    expect(valuesIn(frames)).toEqual(['1:x']);
    expect(await journal.appends().offset(entry(1, producerBatch(1)))).toBe(2);
  });
});
