import { OperatingError } from '@robustmq/core';
import { journalControlMethods, SegmentState } from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';
import { batchOf, entry, NodeFixture, producerBatch, until, valuesIn } from './node.fixture.ts';
import { codeOf } from './stream-clients.fixture.ts';

const smallSegments = { segmentBytes: 400, segmentMs: 60_000 };

async function startSmall(): Promise<NodeFixture> {
  const journal = await NodeFixture.start();
  journal.chains.policy = smallSegments;
  await journal.open(1);
  return journal;
}

describe('rolls (docs/journal.md 2.6)', () => {
  it('by size: every batch is there once, in order, over many segments', async () => {
    await using journal = await startSmall();
    const client = journal.appends();
    const entries = Array.from({ length: 60 }, (_, sequence) => entry(1, producerBatch(sequence)));
    for (let at = 0; at < 60; at += 5) await client.codes(...entries.slice(at, at + 5));
    const offsets = entries.map(({ appendId }) => client.results.get(appendId)?.baseOffset);
    expect(offsets).toEqual(Array.from({ length: 60 }, (_, index) => index));
    const { segments } = journal.chains.shard(1);
    expect(segments.length).toBeGreaterThan(5);
    const values: string[] = [];
    for (const { baseOffset } of segments) {
      const { frames } = await journal.reads().read(1, baseOffset);
      values.push(...valuesIn(frames));
    }
    expect(values).toEqual(Array.from({ length: 60 }, (_, index) => `${index}:7/${index}`));
  });

  it('recognise a retry of a batch of the segment before', async () => {
    await using journal = await startSmall();
    const client = journal.appends();
    for (let sequence = 0; journal.chains.rolls.length === 0; sequence++) {
      await client.codes(entry(1, producerBatch(sequence)));
    }
    await until(() => journal.chains.shard(1).segments.length === 2);
    const last = journal.chains.shard(1).endOffset - 1;
    const again = entry(1, producerBatch(last));
    client.send(again);
    expect(await client.answer(again)).toMatchObject({ duplicate: true, baseOffset: last });
  });

  it('by age', async () => {
    await using journal = await startSmall();
    await journal.appends().codes(entry(1, batchOf(['a'])));
    await journal.clock.advance(50_000);
    expect(journal.chains.rolls).toHaveLength(0);
    await journal.clock.advance(20_000);
    expect(journal.chains.shard(1).segments.map(({ state }) => state)).toEqual([
      SegmentState.SEALED,
      SegmentState.OPEN,
    ]);
  });

  it('freeze nothing while placement is away', async () => {
    await using journal = await startSmall();
    journal.chains.connected = false;
    const client = journal.appends();
    for (let sequence = 0; sequence < 20; sequence++) {
      expect(await client.codes(entry(1, producerBatch(sequence)))).toEqual(['OK']);
    }
    expect(journal.chains.rolls).toHaveLength(0);
  });

  it('freeze nothing while placement does not answer, although its watch is open', async () => {
    await using journal = await startSmall();
    const { chains } = journal;
    const prepare = chains.prepareRolls.bind(chains);
    const hung = Promise.withResolvers<(OperatingError | undefined)[]>();
    let asked = 0;
    chains.prepareRolls = () => {
      asked++;
      return hung.promise;
    };
    const client = journal.appends();
    for (let sequence = 0; sequence < 20; sequence++) {
      expect(await client.codes(entry(1, producerBatch(sequence)))).toEqual(['OK']);
    }
    expect([asked, chains.rolls.length]).toEqual([1, 0]);
    chains.prepareRolls = prepare;
    hung.reject(new OperatingError('INDETERMINATE', 'no answer in time'));
    expect(await client.codes(entry(1, producerBatch(20)))).toEqual(['OK']);
    expect(chains.rolls).toHaveLength(0);
    await journal.clock.advance(6_000);
    await client.codes(entry(1, producerBatch(21)));
    await until(() => chains.shard(1).segments.length === 2);
  });

  it('wait as long as the next segment cannot be prepared, and no longer than they are told', async () => {
    await using journal = await startSmall();
    const { chains } = journal;
    const retry = { retryAfterMs: 250 };
    chains.prepareErrors.push(new OperatingError('UNAVAILABLE', 'a journal hangs', retry));
    const client = journal.appends();
    for (let sequence = 0; sequence < 20; sequence++) {
      expect(await client.codes(entry(1, producerBatch(sequence)))).toEqual(['OK']);
    }
    expect([chains.preparations.length, chains.rolls.length]).toEqual([1, 0]);
    await journal.clock.advance(300);
    await client.codes(entry(1, producerBatch(20)));
    await until(() => chains.shard(1).segments.length === 2);
    expect(chains.preparations[1]).toMatchObject({
      incarnation: journal.node.storage.incarnation,
      segments: [{ shardId: 1, fullNodeIds: [journal.node.storage.nodeId] }],
    });
  });

  it('of many segments: one that cannot be prepared does not delay the others', async () => {
    await using journal = await startSmall();
    await journal.open(2);
    const { chains } = journal;
    chains.prepareRolls = ({ segments }) =>
      Promise.resolve(
        segments.map(({ shardId }) =>
          shardId === 1 ? new OperatingError('UNAVAILABLE', 'a journal hangs') : undefined,
        ),
      );
    const client = journal.appends();
    for (let sequence = 0; sequence < 20; sequence++) {
      const entries = [1, 2].map((shardId) => entry(shardId, producerBatch(sequence)));
      expect(await client.codes(...entries)).toEqual(['OK', 'OK']);
    }
    expect(chains.shard(1).segments).toHaveLength(1);
    expect(chains.shard(2).segments.length).toBeGreaterThan(2);
  });

  it('are done at a placement that prepares nothing beforehand', async () => {
    await using journal = await startSmall();
    const { chains } = journal;
    chains.prepareRolls = () => Promise.reject(new OperatingError('UNSUPPORTED', 'no such method'));
    const client = journal.appends();
    for (let sequence = 0; sequence < 20; sequence++) {
      expect(await client.codes(entry(1, producerBatch(sequence)))).toEqual(['OK']);
    }
    expect(chains.shard(1).segments.length).toBeGreaterThan(2);
  });

  it('that placement refuses for now leave the segment open', async () => {
    await using journal = await startSmall();
    journal.chains.rollErrors.push(new OperatingError('UNAVAILABLE', 'no journal'));
    const client = journal.appends();
    for (let sequence = 0; sequence < 20; sequence++) {
      expect(await client.codes(entry(1, producerBatch(sequence)))).toEqual(['OK']);
    }
    expect(journal.chains.rolls).toHaveLength(1);
    expect(journal.chains.shard(1).segments).toHaveLength(1);
    await journal.clock.advance(6_000);
    await client.codes(entry(1, producerBatch(20)));
    await until(() => journal.chains.shard(1).segments.length === 2);
  });

  it('without an answer keep the segment frozen, and what waits goes on in the next one', async () => {
    await using journal = await startSmall();
    journal.chains.rollErrors.push(new OperatingError('INDETERMINATE', 'no answer'));
    const client = journal.appends();
    let sequence = 0;
    while (journal.chains.rolls.length === 0) {
      await client.codes(entry(1, producerBatch(sequence++)));
    }
    const after = entry(1, producerBatch(sequence));
    client.send(after);
    await journal.clock.advance(200);
    expect(client.results.has(after.appendId)).toBe(false);
    await journal.clock.advance(200);
    expect((await client.answer(after)).baseOffset).toBe(sequence);
    expect(journal.chains.shard(1).segments).toHaveLength(2);
  });

  it('that may have been carried out unfreeze nothing while placement is away', async () => {
    await using journal = await startSmall();
    for (const code of ['INDETERMINATE', 'UNAVAILABLE', 'DISK_FULL'] as const) {
      journal.chains.rollErrors.push(new OperatingError(code, 'placement was killed'));
    }
    const client = journal.appends();
    let sequence = 0;
    while (journal.chains.rolls.length === 0) {
      await client.codes(entry(1, producerBatch(sequence++)));
    }
    const after = entry(1, producerBatch(sequence));
    client.send(after);
    await journal.clock.advance(700);
    expect(journal.chains.rolls).toHaveLength(3);
    expect(client.results.has(after.appendId)).toBe(false);
    // Told once, however often it is asked again, and when it is over.
    expect(journal.chains.warnings).toEqual([expect.stringContaining('without an answer')]);
    await journal.clock.advance(300);
    expect(journal.chains.warnings.slice(1)).toEqual([expect.stringContaining('answer again')]);
    expect((await client.answer(after)).baseOffset).toBe(sequence);
    expect(journal.chains.shard(1).segments).toHaveLength(2);
  });

  it('end where a notice says, whatever another placement answers meanwhile', async () => {
    await using journal = await startSmall();
    const roll = journal.chains.rollSegments.bind(journal.chains);
    journal.chains.rollSegments = async ({ segments }) => {
      const [item] = segments;
      if (item === undefined) throw new Error('a roll is asked for');
      journal.chains.rollSegments = roll;
      const { segmentId, epoch, endOffset } = item;
      const { authority } = journal.chains;
      const sealed = { segmentId, epoch, baseOffset: 0, length: endOffset };
      await journal.client.call(journalControlMethods.sealNotify, {
        authority,
        segments: [sealed],
      });
      return [new OperatingError('UNAVAILABLE', 'no journal')];
    };
    const client = journal.appends();
    const codes: string[] = [];
    for (let sequence = 0; sequence < 20 && !codes.includes('NOT_LEADER'); sequence++) {
      codes.push(...(await client.codes(entry(1, producerBatch(sequence)))));
    }
    expect(codes.at(-1)).toBe('NOT_LEADER');
    expect(journal.node.ledSegments).toBe(0);
  });

  it('of a segment that is deleted before the answer comes end without a fault', async () => {
    await using journal = await startSmall();
    const roll = journal.chains.rollSegments.bind(journal.chains);
    const ended = Promise.withResolvers<void>();
    journal.chains.rollSegments = async (order) => {
      const [item] = order.segments;
      if (item === undefined) throw new Error('a roll is asked for');
      const shard = journal.chains.shard(1);
      const [first] = shard.segments;
      if (first === undefined) throw new Error('the shard has a segment');
      first.state = SegmentState.SEALED;
      first.endOffset = item.endOffset;
      shard.endOffset = item.endOffset;
      const { authority } = journal.chains;
      const request = { authority, segmentIds: [item.segmentId], leftover: undefined };
      await journal.client.call(journalControlMethods.delete, request);
      journal.chains.rollSegments = roll;
      setImmediate(ended.resolve);
      return [shard];
    };
    const client = journal.appends();
    for (let sequence = 0; journal.node.replicaCount > 0; sequence++) {
      await client.codes(entry(1, producerBatch(sequence), { resume: true }));
    }
    await ended.promise;
    await journal.open(2);
    expect(await client.codes(entry(2, batchOf(['next'])))).toEqual(['OK']);
  });

  it('whose answer is lost need none: the next segment is led here already', async () => {
    await using journal = await startSmall();
    journal.chains.losesAnswers = true;
    const client = journal.appends();
    let sequence = 0;
    while (journal.chains.rolls.length === 0) {
      await client.codes(entry(1, producerBatch(sequence++)));
    }
    const { segments } = journal.chains.shard(1);
    await until(() => segments.length === 2);
    expect(await client.offset(entry(1, producerBatch(sequence)))).toBe(sequence);
    await journal.clock.advance(1_000);
    expect(journal.chains.rolls).toHaveLength(1);
    const [before] = segments;
    expect(before && journal.replica(before).stored.sealedLength).toBe(sequence);
  });

  it('that lose the segment to somebody else close its leader', async () => {
    await using journal = await startSmall();
    journal.chains.rollErrors.push(new OperatingError('FENCED', 'somebody seals it'));
    const client = journal.appends();
    const entries = Array.from({ length: 10 }, (_, sequence) => entry(1, producerBatch(sequence)));
    const codes = new Set(await client.codes(...entries));
    const more = entry(1, producerBatch(10), { resume: true });
    expect(codes.has('OK')).toBe(true);
    expect(await client.codes(more)).toEqual(['NOT_LEADER']);
    expect(journal.node.ledSegments).toBe(0);
  });
});

describe('the end of a journal', () => {
  it('seals what it leads with known ends and opens nothing', async () => {
    await using journal = await NodeFixture.start();
    for (const shardId of [1, 2, 3]) await journal.open(shardId);
    const client = journal.appends();
    await client.codes(...[1, 2, 3].map((shardId) => entry(shardId, batchOf(['x']))));
    await journal.node.drain();
    expect(journal.chains.rolls.flatMap(({ segments }) => segments)).toHaveLength(3);
    for (const shardId of [1, 2, 3]) {
      const { segments, endOffset } = journal.chains.shard(shardId);
      expect(segments.map(({ state }) => state)).toEqual([SegmentState.SEALED]);
      expect(endOffset).toBe(1);
    }
    expect(await client.codes(entry(1, batchOf(['y'])))).toEqual(['UNAVAILABLE']);
  });

  it('does not wait for a placement that is away, nor for ever for one that does not answer', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    journal.chains.connected = false;
    await journal.node.drain();
    expect(journal.node.ledSegments).toBe(0);
    await using other = await NodeFixture.start();
    await other.open(1);
    other.chains.rollErrors.push(new OperatingError('INDETERMINATE', 'no answer'));
    for (let times = 0; times < 100; times++) {
      other.chains.rollErrors.push(new OperatingError('INDETERMINATE', 'no answer'));
    }
    const drained = other.node.drain();
    await other.clock.advance(20_000);
    await drained;
    expect(other.node.ledSegments).toBe(0);
  });
});

describe('a change of the chain', () => {
  it('ends what waits at the old leader', async () => {
    await using journal = await NodeFixture.start();
    const segment = await journal.open(1);
    const client = journal.appends();
    journal.disk.faults.holdSyncs = true;
    const waiting = entry(1, batchOf(['x']));
    client.send(waiting);
    await until(() => journal.node.inFlightBytes > 0);
    segment.state = SegmentState.SEALING;
    journal.chains.tell(1);
    expect(codeOf((await client.answer(waiting)).status)).toBe('INDETERMINATE');
    expect(journal.node.ledSegments).toBe(0);
  });

  it('that is older than the led segment changes nothing', async () => {
    await using journal = await NodeFixture.start();
    await journal.open(1);
    const shard = journal.chains.shard(1);
    const { segments } = shard;
    shard.segments = [];
    shard.epoch--;
    journal.chains.tell(1);
    shard.segments = segments;
    expect(journal.node.ledSegments).toBe(1);
  });
});
