import { OperatingError } from '@robustmq/core';
import {
  AckLevel,
  journalControlMethods,
  type PrepareReplica,
  segmentIdToBytes,
} from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';
import { batchOf, entry, producerBatch, until } from './node.fixture.ts';
import { authority, type Member, ReplicaSetFixture, untilEqual } from './replication.fixture.ts';
import { codeOf } from './stream-clients.fixture.ts';

describe('a copy for a seal', () => {
  /** Member b has ten batches, c has as many as are told, and the leader is gone. */
  async function shortened(length = 2): Promise<ReplicaSetFixture> {
    const set = await ReplicaSetFixture.start({ snapshotEachBytes: 300 });
    const appends = set.appends();
    const [, short] = set.followers;
    for (let sequence = 0; sequence < length; sequence++) {
      await appends.offset(entry(1, producerBatch(sequence), { ackLevel: AckLevel.ALL }));
    }
    await short.crash();
    for (let sequence = length; sequence < 10; sequence++) {
      await appends.offset(entry(1, producerBatch(sequence)));
    }
    await set.leader.crash();
    await short.start();
    return set;
  }

  it('brings a fenced replica to the end, durably, and again changes nothing', async () => {
    await using set = await shortened();
    const [full, short] = set.followers;
    for (const member of set.followers) await set.fence(member, 2);
    expect(set.replica(short).stored.length).toBe(2);
    const order = { epoch: 2, length: 10 };
    expect(await set.recover(short, full, order)).toEqual({ code: 'OK', length: 10 });
    expect(await set.recover(short, full, order)).toEqual({ code: 'OK', length: 10 });
    expect(set.replica(short).stored.chain).toBe(set.replica(full).stored.chain);
    await short.crash();
    await short.start();
    expect(set.replica(short).stored).toMatchObject({ length: 10, fencedEpoch: 2 });
  });

  it('brings one there that never had a record, and does not know where its segment begins', async () => {
    await using set = await shortened(0);
    const [full, short] = set.followers;
    for (const member of set.followers) await set.fence(member, 2);
    expect(set.replica(short).isBaseKnown).toBe(false);
    const order = { epoch: 2, length: 10 };
    expect(await set.recover(short, full, order)).toEqual({ code: 'OK', length: 10 });
    expect(set.replica(short).stored.chain).toBe(set.replica(full).stored.chain);
  });

  it('is refused without that fence, below a higher one, and by a source that is not fenced', async () => {
    await using set = await shortened();
    const [full, short] = set.followers;
    const order = { epoch: 2, length: 10 };
    expect((await set.recover(short, full, order)).code).toBe('FENCED');
    await set.fence(short, 2);
    expect((await set.recover(short, full, order)).code).toBe('UNAVAILABLE');
    await set.fence(full, 2);
    await set.fence(short, 3);
    expect((await set.recover(short, full, order)).code).toBe('FENCED');
    expect(set.replica(short).stored.length).toBe(2);
  });

  it('may go on while a fence with its epoch, or an order like it, is answered: all that is told is durable', async () => {
    await using set = await shortened();
    const [full, short] = set.followers;
    for (const member of set.followers) await set.fence(member, 2);
    const { stored } = set.replica(short);
    short.disk.faults.holdSyncs = true;
    const first = set.recover(short, full, { epoch: 2, length: 5 });
    await until(() => stored.length === 5);
    const fenced = set.fence(short, 2);
    const second = set.recover(short, full, { epoch: 2, length: 10 });
    await until(() => stored.length === 10);
    short.disk.releaseSyncs();
    await fenced;
    expect(stored.durableLength).toBe(10);
    expect(await first).toEqual({ code: 'OK', length: 10 });
    expect(await second).toEqual({ code: 'OK', length: 10 });
  });

  it('stops at the length that was ordered', async () => {
    await using set = await shortened();
    const [full, short] = set.followers;
    for (const member of set.followers) await set.fence(member, 2);
    const order = { epoch: 2, length: 7 };
    expect(await set.recover(short, full, order)).toEqual({ code: 'OK', length: 7 });
  });
});

describe('a copy of a sealed segment', () => {
  /** Sealed with three records everywhere, and lost by the last member, which comes back without its disk. */
  async function lost(): Promise<{ set: ReplicaSetFixture; empty: Member; copy: PrepareReplica }> {
    const set = await ReplicaSetFixture.start();
    const [, empty] = set.followers;
    const appends = set.appends();
    for (const value of ['a', 'b', 'c']) await appends.offset(entry(1, batchOf([value])));
    for (const member of set.followers) await untilEqual(set, member);
    const { storage } = set.leader;
    for (const member of set.members) await set.fence(member, 2);
    await storage.seal([{ replica: set.replica(set.leader).stored, length: 3 }]);
    const segmentId = segmentIdToBytes(set.segmentId);
    await set.client(empty).call(journalControlMethods.delete, {
      authority,
      segmentIds: [segmentId],
      leftover: undefined,
    });
    const replicaNodeIds = ['a', 'b', 'c'];
    const copy = { segmentId, shardId: 1, epoch: 1, replicaNodeIds, ackQuorum: 2 };
    return { set, empty, copy };
  }

  it('is made where there is none, sealed, and serves readers', async () => {
    const { set, empty, copy } = await lost();
    await using _ = set;
    const order = { epoch: 2, length: 3 };
    expect(await set.recover(empty, set.leader, order)).toMatchObject({ code: 'SEGMENT_UNKNOWN' });
    const answer = await set.recover(empty, set.leader, { ...order, copy });
    expect(answer).toEqual({ code: 'OK', length: 3 });
    expect(set.replica(empty)).toMatchObject({ isSealed: true, baseOffset: 100 });
    expect(set.replica(empty).stored.chain).toBe(set.replica(set.leader).stored.chain);
    const reads = set.reads(empty);
    const id = reads.ask(1, 100);
    expect(codeOf((await until(() => reads.answers.get(id))).status)).toBe('OK');
  });

  it('that is half-made is unknown to everybody, over a restart, too, and is gone on with', async () => {
    const { set, empty, copy } = await lost();
    await using _ = set;
    const order = { epoch: 2, length: 3, copy };
    const { storage } = empty;
    const append = storage.append.bind(storage);
    let taken = 0;
    storage.append = (...frame) => {
      if (taken++ === 2) throw new OperatingError('DISK_FULL', 'no room');
      append(...frame);
    };
    expect(await set.recover(empty, set.leader, order)).toMatchObject({ code: 'DISK_FULL' });
    storage.append = append;
    await storage.sync();
    await set.clock.advance(0);
    await empty.crash();
    await empty.start();
    expect(empty.node.replica(set.segmentId)).toBeUndefined();
    const segments = [{ segmentId: segmentIdToBytes(set.segmentId), epoch: 3 }];
    const fenced = await set
      .client(empty)
      .call(journalControlMethods.fence, { authority, segments, order: 0 });
    expect(codeOf(fenced.results[0]?.status)).toBe('SEGMENT_UNKNOWN');
    expect(empty.storage.replica(set.segmentId)).toMatchObject({ isCopying: true, length: 2 });
    expect(await set.recover(empty, set.leader, order)).toEqual({ code: 'OK', length: 3 });
  });

  it('takes the place of a damaged one, which is there until then and kept in quarantine after', async () => {
    await using set = await ReplicaSetFixture.start();
    const [, member] = set.followers;
    const appends = set.appends();
    for (const value of ['a', 'b', 'c']) {
      await appends.offset(entry(1, batchOf([value.repeat(9_000)])));
    }
    for (const follower of set.followers) await untilEqual(set, follower);
    for (const one of set.members) {
      await set.fence(one, 2);
      await one.storage.seal([{ replica: set.replica(one).stored, length: 3 }]);
    }
    const file = `seg/ab/${set.segmentId}.log`;
    await until(() => (member.disk.paths().includes(file) ? true : undefined));
    await set.clock.advance(100);
    member.disk.flipBit(file, 10_000 * 8);
    member.storage.beginScrub();
    await set.clock.advance(10_000);
    expect(member.node.damagedReplicas).toBe(1);

    const segmentId = segmentIdToBytes(set.segmentId);
    const replicaNodeIds = ['a', 'b', 'c'];
    const copy = { segmentId, shardId: 1, epoch: 1, replicaNodeIds, ackQuorum: 2 };
    const order = { epoch: 2, length: 3 };
    expect(await set.recover(member, set.leader, order)).toMatchObject({ code: 'DAMAGED' });
    const old = { ...order, epoch: 1, copy };
    expect(await set.recover(member, set.leader, old)).toMatchObject({ code: 'DAMAGED' });
    const tooLong = { ...order, length: 4, copy };
    expect(await set.recover(member, set.leader, tooLong)).toMatchObject({ code: 'UNAVAILABLE' });
    // The attempt has left a copy to go on with, and the damaged one where it was.
    expect(member.node.damagedReplicas).toBe(1);
    expect(member.storage.copyOf(set.segmentId)).toMatchObject({ length: 0 });
    expect(await set.recover(member, set.leader, { ...order, copy })).toEqual({
      code: 'OK',
      length: 3,
    });
    expect(member.node.damagedReplicas).toBe(0);
    expect(set.replica(member)).toMatchObject({ isSealed: true, baseOffset: 100 });
    expect(set.replica(member).stored.chain).toBe(set.replica(set.leader).stored.chain);
    const reads = set.reads(member);
    const id = reads.ask(1, 100);
    expect(codeOf((await until(() => reads.answers.get(id))).status)).toBe('OK');
    await until(() => (member.storage.quarantined.files === 1 ? true : undefined));
    expect(member.disk.paths()).not.toContain(file);
    await member.crash();
    await member.start();
    expect(set.replica(member).stored).toMatchObject({ damaged: false, sealedLength: 3 });
  });

  it('is not made without a source that has everything', async () => {
    const { set, empty, copy } = await lost();
    await using _ = set;
    const answer = await set.recover(empty, set.leader, { epoch: 2, length: 4, copy });
    expect(answer).toMatchObject({ code: 'UNAVAILABLE' });
    expect(empty.node.replica(set.segmentId)).toBeUndefined();
  });
});

describe('an order to delete leftovers', () => {
  it('is refused once a later fence has counted the replica, in another life, and not of a new placement', async () => {
    await using set = await ReplicaSetFixture.start();
    const [member] = set.followers;
    const client = set.client(member);
    const segmentIds = [segmentIdToBytes(set.segmentId)];
    const incarnation = member.storage.incarnation;
    const order = async (number: number, more: object = {}, epoch = 1): Promise<string> => {
      const leftover = { incarnation, order: number, ...more };
      const request = { authority: { ...authority, placementEpoch: epoch }, segmentIds, leftover };
      const { status, results } = await client.call(journalControlMethods.delete, request);
      return codeOf(status ?? results[0]);
    };
    await set.fence(member, 2, 7);
    expect(await order(6)).toBe('CONFLICT');
    expect(await order(7)).toBe('CONFLICT');
    expect(await order(8, { incarnation: incarnation + 1 })).toBe('CONFLICT');
    expect(member.storage.replica(set.segmentId)).toBeDefined();
    expect(await order(1, {}, 2)).toBe('OK');
    expect(member.storage.replica(set.segmentId)).toBeUndefined();
    // Said twice by the network.
    expect(await order(1, {}, 2)).toBe('CONFLICT');
    expect(await order(9)).toBe('FENCED');
  });
});
