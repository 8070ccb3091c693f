import { OperatingError } from '@robustmq/core';
import {
  AckLevel,
  journalControlMethods,
  journalReplicaMethods,
  type ReplicateResult,
  segmentIdToBytes,
} from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';
import { batchOf, entry, producerBatch, until } from './node.fixture.ts';
import { authority, type Member, ReplicaSetFixture, untilEqual } from './replication.fixture.ts';
import { codeOf } from './stream-clients.fixture.ts';

/** Lets time pass until `find` holds. */
async function later(set: ReplicaSetFixture, find: () => boolean): Promise<void> {
  for (let times = 0; times < 100 && !find(); times++) await set.clock.advance(50);
  expect(find()).toBe(true);
}

describe('replication', () => {
  it('makes the same log at each follower, producer snapshots included', async () => {
    await using set = await ReplicaSetFixture.start({ snapshotEachBytes: 500 });
    const appends = set.appends();
    for (let sequence = 0; sequence < 40; sequence++) {
      await appends.offset(entry(1, producerBatch(sequence)));
    }
    for (const follower of set.followers) {
      await untilEqual(set, follower);
      expect(set.replica(follower).stored.baseOffset).toBe(100);
      expect(set.replica(follower).stored.sizeBytes).toBe(set.replica(set.leader).stored.sizeBytes);
    }
  });

  it('commits with the ack quorum on disk: the leader and one follower, and not before', async () => {
    await using set = await ReplicaSetFixture.start();
    const [first, second] = set.followers;
    first.disk.faults.holdSyncs = true;
    second.disk.faults.holdSyncs = true;
    const appends = set.appends();
    const levels = [AckLevel.LEADER, AckLevel.QUORUM, AckLevel.ALL];
    const entries = levels.map((ackLevel) => entry(1, batchOf(['x']), { ackLevel }));
    const [ofLeader, ofQuorum, ofAll] = entries;
    if (ofLeader === undefined || ofQuorum === undefined || ofAll === undefined) throw new Error();
    appends.send(...entries);
    await appends.answer(ofLeader);
    await until(() => set.replica(second).stored.length === 3);
    expect(appends.results.has(ofQuorum.appendId)).toBe(false);
    expect(set.replica(set.leader).highWatermark).toBe(100);
    first.disk.releaseSyncs();
    await appends.answer(ofQuorum);
    expect(appends.results.has(ofAll.appendId)).toBe(false);
    second.disk.releaseSyncs();
    await appends.answer(ofAll);
  });

  it('goes on without a follower, which gets what it misses when it is back', async () => {
    await using set = await ReplicaSetFixture.start();
    const [, away] = set.followers;
    const appends = set.appends();
    await appends.offset(entry(1, batchOf(['before'])));
    await away.crash();
    for (let n = 0; n < 300; n++) {
      await appends.offset(entry(1, batchOf([`${n}`.padEnd(500, '.')])));
    }
    await set.clock.advance(1_000);
    await away.start();
    await later(set, () => {
      const { stored } = set.replica(away);
      return stored.durableLength === set.replica(set.leader).stored.length;
    });
    await untilEqual(set, away);
    const said = set.leader.warnings.filter((message) => message.includes('a follower is away'));
    expect(said).toHaveLength(1);
    expect(new Set(set.reported)).toEqual(new Set([away.name]));
  });

  it('calls a follower on a new connection when it says nothing on the one that there was', async () => {
    await using set = await ReplicaSetFixture.start();
    const [cut] = set.followers;
    await cut.crash();
    await set.appends().offset(entry(1, batchOf(['x'])));
    set.transport.deafen(cut.address);
    await cut.start();
    await later(set, () => set.replica(cut).stored.durableLength === 1);
    const lag = set.leader.node.followerLags.find(({ nodeId }) => nodeId === cut.name);
    expect(lag).toMatchObject({ records: 0, silentMs: 0 });
  });

  it('gives a follower up when what that misses is damaged here', async () => {
    await using set = await ReplicaSetFixture.start();
    const [, away] = set.followers;
    const appends = set.appends();
    await appends.offset(entry(1, batchOf(['before'])));
    await away.crash();
    await appends.offset(entry(1, batchOf(['missed'])));
    const missing = (): number =>
      set.leader.node.followerLags.find(({ nodeId }) => nodeId === away.name)?.records ?? 0;
    expect(missing()).toBeGreaterThan(0);
    Object.assign(set.replica(set.leader).stored, { damaged: true });
    await away.start();
    await later(set, () => missing() === 0);
  });

  it('has a leader that steps down, and says so, when its own log is damaged', async () => {
    await using set = await ReplicaSetFixture.start();
    const appends = set.appends();
    for (let n = 0; n < 40; n++) {
      await appends.offset(entry(1, batchOf([`${n}`.padEnd(9_000, '.')])));
    }
    const file = `seg/ab/${set.segmentId}.log`;
    const { disk, node } = set.leader;
    await until(() => (disk.paths().includes(file) ? true : undefined));
    disk.flipBit(file, 10_000 * 8);
    const answer = await set.reads(set.leader).read(1, 101);
    expect(codeOf(answer.status)).toBe('DAMAGED');
    expect(node.closedSegments).toEqual([set.segmentId]);
    expect(await appends.codes(entry(1, batchOf(['more'])))).toEqual(['NOT_LEADER']);
  });

  it('commits nothing when both followers are away', async () => {
    await using set = await ReplicaSetFixture.start();
    for (const follower of set.followers) await follower.crash();
    const appends = set.appends();
    const append = entry(1, batchOf(['x']));
    appends.send(append);
    await until(() => set.replica(set.leader).stored.durableLength === 1);
    expect(appends.results.has(append.appendId)).toBe(false);
    const [first] = set.followers;
    await first.start();
    await later(set, () => appends.results.has(append.appendId));
    expect(codeOf(appends.results.get(append.appendId)?.status)).toBe('OK');
  });

  it('tells which peers owe it an answer, and for how long, until they give one', async () => {
    await using set = await ReplicaSetFixture.start();
    const [silent, well] = set.followers;
    const appends = set.appends();
    await appends.offset(entry(1, batchOf(['x'])));
    await untilEqual(set, silent);
    await untilEqual(set, well);
    const told = (name: string): number | undefined =>
      set.leader.node.followerLags.find(({ nodeId }) => nodeId === name)?.silentMs;
    await set.clock.advance(1_000);
    expect([told(silent.name), told(well.name)]).toEqual([0, 0]);
    await silent.crash();
    await appends.offset(entry(1, batchOf(['y'])));
    await untilEqual(set, well);
    await set.clock.advance(2_000);
    expect(told(silent.name)).toBeGreaterThanOrEqual(2_000);
    expect(told(well.name)).toBe(0);
    // Also when nothing is led any more: or nobody would learn that it is there again.
    await set.fence(set.leader, 2);
    await set.clock.advance(1_000);
    expect(told(silent.name)).toBeGreaterThanOrEqual(3_000);
    await silent.start();
    await later(set, () => told(silent.name) === undefined);
  });

  it('counts no progress as silence: a follower whose disk hangs answers', async () => {
    await using set = await ReplicaSetFixture.start();
    const [slow] = set.followers;
    slow.disk.faults.holdSyncs = true;
    await set.appends().offset(entry(1, batchOf(['x'])));
    await until(() => set.replica(slow).stored.length === 1);
    await set.clock.advance(2_000);
    const lag = set.leader.node.followerLags.find(({ nodeId }) => nodeId === slow.name);
    expect(lag?.behindMs).toBeGreaterThanOrEqual(2_000);
    expect(lag?.silentMs).toBe(0);
    slow.disk.releaseSyncs();
  });

  it('ends with a fence at the followers: the leader steps down, what waits is INDETERMINATE (I5)', async () => {
    await using set = await ReplicaSetFixture.start();
    for (const follower of set.followers) await set.fence(follower, 2);
    const appends = set.appends();
    expect(await appends.codes(entry(1, batchOf(['x'])))).toEqual(['INDETERMINATE']);
    expect(set.replica(set.leader).state.role).toBe('closed');
  });

  it('waits for a follower that has no room, and goes on', async () => {
    await using set = await ReplicaSetFixture.start();
    const [full] = set.followers;
    const { storage } = full;
    const append = storage.append.bind(storage);
    let refusals = 0;
    storage.append = () => {
      refusals++;
      throw new OperatingError('DISK_FULL', 'no room');
    };
    const appends = set.appends();
    await appends.offset(entry(1, batchOf(['x'])));
    await until(() => refusals > 0);
    storage.append = append;
    await later(set, () => set.replica(full).stored.durableLength === 1);
  });

  describe('at a roll', () => {
    /** Three records, of which the last follower has not synced the last one; then the roll begins. */
    async function rolling(): Promise<{ set: ReplicaSetFixture; slow: Member }> {
      const set = await ReplicaSetFixture.start({ segmentBytesDefault: 1_000 });
      const [, slow] = set.followers;
      await set.appends().offset(entry(1, batchOf(['x'])));
      await untilEqual(set, slow);
      slow.disk.faults.holdSyncs = true;
      Object.assign(set.placement, { connected: true });
      await set.appends().offset(entry(1, batchOf(['y'.repeat(1_000)])));
      await until(() => set.replica(slow).stored.length === 2);
      return { set, slow };
    }

    it('waits for a follower that is about to have everything: it is full', async () => {
      const { set, slow } = await rolling();
      await using _ = set;
      expect(set.rolls).toHaveLength(0);
      slow.disk.faults.holdSyncs = false;
      slow.disk.releaseSyncs();
      await until(() => set.rolls.length === 1);
      expect(set.rolls[0]?.fullNodeIds).toEqual(['a', 'b', 'c']);
    });

    it('waits only shortly, and only once', async () => {
      const { set } = await rolling();
      await using _ = set;
      await set.clock.advance(set.limits.rollFollowersMs);
      await until(() => set.rolls.length === 1);
      expect(set.rolls[0]?.fullNodeIds).toEqual(['a', 'b']);
    });

    it('does not wait for a follower that is away', async () => {
      await using set = await ReplicaSetFixture.start({ segmentBytesDefault: 1_000 });
      const [, away] = set.followers;
      await set.appends().offset(entry(1, batchOf(['x'])));
      await away.crash();
      await until(() => set.leader.warnings.some((said) => said.includes('a follower is away')));
      Object.assign(set.placement, { connected: true });
      await set.appends().offset(entry(1, batchOf(['y'.repeat(1_000)])));
      await until(() => set.rolls.length === 1);
      expect(set.rolls[0]?.fullNodeIds).toEqual(['a', 'b']);
    });
  });

  it('serves readers of an open segment from its leader alone', async () => {
    await using set = await ReplicaSetFixture.start();
    const [follower] = set.followers;
    await set.appends().offset(entry(1, batchOf(['x'])));
    await untilEqual(set, follower);
    const reads = set.reads(follower);
    const id = reads.ask(1, 100);
    const answer = await until(() => reads.answers.get(id));
    expect(codeOf(answer.status)).toBe('NOT_LEADER');
  });
});

describe('a follower', () => {
  /** Sends entries to a follower as a leader does, and gives its answers. */
  function leaderOf(set: ReplicaSetFixture, member: Member) {
    const results: ReplicateResult[] = [];
    const stream = set.client(member).open(journalReplicaMethods.replicate, {
      message: (response) => results.push(...response.results),
      closed: () => {},
    });
    const send = (previousLength: number, frames: Buffer, epoch = 1): void => {
      const segmentId = segmentIdToBytes(set.segmentId);
      const one = { segmentId, epoch, previousLength, frames, commitLength: 0, baseOffset: 100 };
      stream.send({ entries: [one] });
    };
    return { results, send };
  }

  async function framesOf(set: ReplicaSetFixture): Promise<Buffer[]> {
    const { stored } = set.replica(set.leader);
    const range = { fromIndex: 0, limitIndex: stored.length, bytesMax: 1_000_000 };
    const { frames } = await set.leader.storage.read(stored, range);
    return frames.map((frame) => Buffer.from(frame));
  }

  async function filled(): Promise<{ set: ReplicaSetFixture; frames: Buffer[] }> {
    const set = await ReplicaSetFixture.start();
    const appends = set.appends();
    for (const value of ['a', 'b', 'c']) await appends.offset(entry(1, batchOf([value, value])));
    await untilEqual(set, set.followers[0]);
    return { set, frames: await framesOf(set) };
  }

  it('confirms frames that it has already, and takes what is new behind them', async () => {
    const { set, frames } = await filled();
    await using _ = set;
    const [follower] = set.followers;
    const { results, send } = leaderOf(set, follower);
    send(2, Buffer.concat(frames.slice(1)));
    const [result] = await until(() => results.length > 0 && results);
    expect(result).toMatchObject({ length: 6, durableLength: 6, status: undefined });
  });

  it.each<[string, (frames: Buffer[]) => { previousLength: number; frames: Buffer }, string]>([
    ['a gap', ([, , c]) => ({ previousLength: 8, frames: c ?? Buffer.alloc(0) }), 'CONFLICT'],
    ['another history', ([a]) => ({ previousLength: 6, frames: a ?? Buffer.alloc(0) }), 'DAMAGED'],
    [
      'half a frame',
      ([a]) => ({ previousLength: 0, frames: a?.subarray(0, 40) ?? Buffer.alloc(0) }),
      'CORRUPT_BATCH',
    ],
  ])('refuses %s and keeps what it has', async (_name, make, code) => {
    const { set, frames } = await filled();
    await using _ = set;
    const [follower] = set.followers;
    const { results, send } = leaderOf(set, follower);
    const { previousLength, frames: sent } = make(frames);
    send(previousLength, sent);
    const [result] = await until(() => results.length > 0 && results);
    expect(codeOf(result?.status)).toBe(code);
    expect(result?.length).toBe(6);
    expect(set.replica(follower).stored.length).toBe(6);
  });

  it('takes nothing from a leader of another epoch', async () => {
    const { set, frames } = await filled();
    await using _ = set;
    const { results, send } = leaderOf(set, set.followers[0]);
    send(6, frames[0] ?? Buffer.alloc(0), 2);
    const [result] = await until(() => results.length > 0 && results);
    expect(codeOf(result?.status)).toBe('FENCED');
  });
});

describe('a leader that was sealed without', () => {
  /** A segment behind the first, on the old leader alone, and led by it. */
  async function leadNext(set: ReplicaSetFixture, baseOffset: number): Promise<void> {
    const { leader, segmentId: previous } = set;
    const segmentId = Buffer.alloc(16, 0xcd);
    const replicaNodeIds = [leader.name];
    const replica = { segmentId, shardId: 1, epoch: 3, replicaNodeIds, ackQuorum: 1 };
    const client = set.client(leader);
    await client.call(journalControlMethods.prepare, { authority, replicas: [replica] });
    const segment = {
      segmentId,
      epoch: 3,
      baseOffset,
      incarnation: leader.storage.incarnation,
      previousSegmentId: segmentIdToBytes(previous),
      previousFullNodes: [],
      policy: undefined,
    };
    const order = { authority, segments: [segment] };
    const { results } = await client.call(journalControlMethods.activate, order);
    expect(results.map(({ code }) => code)).toEqual([0]);
  }

  it('knows nothing of batches that were cut: a retry is appended, not taken for a duplicate', async () => {
    await using set = await ReplicaSetFixture.start();
    const appends = set.appends();
    const kept = await appends.offset(entry(1, producerBatch(0)));
    for (const follower of set.followers) await follower.crash();
    const lost = entry(1, producerBatch(1));
    appends.send(lost);
    await until(() => set.replica(set.leader).stored.durableLength === 2);
    const sealed = {
      segmentId: segmentIdToBytes(set.segmentId),
      length: 1,
      baseOffset: 100,
      epoch: 2,
    };
    const notice = { authority, segments: [sealed] };
    await set.client(set.leader).call(journalControlMethods.sealNotify, notice);
    expect(codeOf((await appends.answer(lost)).status)).toBe('INDETERMINATE');
    await leadNext(set, kept + 1);
    await appends.offset(entry(1, batchOf(['another']), { resume: true }));
    const retry = entry(1, producerBatch(1));
    expect(await appends.offset(retry)).toBe(kept + 2);
    expect(appends.results.get(retry.appendId)?.duplicate).toBe(false);
  });
});
