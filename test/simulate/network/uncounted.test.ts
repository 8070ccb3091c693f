import { describe, expect, it } from 'vitest';
import { World } from '../world/world.ts';
import { SealedCopies } from './copies.ts';
import { Forks } from './forks.ts';

const first = Buffer.alloc(16, 1);
const second = Buffer.alloc(16, 2);
const prepare = (segmentId: Buffer, replicaNodeIds = ['j1', 'j2']): unknown => ({
  replicas: [{ segmentId, shardId: 1, replicaNodeIds, ackQuorum: 2 }],
});
const activate = (segmentId: Buffer, epoch: number, baseOffset: number): unknown => ({
  segments: [{ segmentId, epoch, baseOffset }],
});
const fence = { segments: [{ segmentId: first, epoch: 2 }] };
const notice = { segments: [{ segmentId: first, length: 43, baseOffset: 0 }] };

describe('a fork', () => {
  /** The first segment is prepared at two journals and led by j1. */
  function begun(): { world: World; forks: Forks } {
    const world = new World(1);
    const forks = new Forks(world);
    for (const journal of ['j1', 'j2']) forks.note('/Prepare', prepare(first), journal);
    forks.note('/Prepare', prepare(second), 'j2');
    forks.note('/Activate', activate(first, 1, 0), 'j1');
    return { world, forks };
  }

  it('is a shard that begins anew below an end that only a lost disk knew (seed 21000456)', () => {
    const { world, forks } = begun();
    forks.note('/Fence', fence, 'j1');
    forks.note('/SealNotify', notice, 'j1');
    forks.diskLost('j1');
    forks.note('/Activate', activate(second, 3, 0), 'j2');
    expect(world.isForked).toBe(true);
  });

  it('is none when another journal was told the end: a rebuild has to find it', () => {
    const { world, forks } = begun();
    forks.note('/Fence', fence, 'j1');
    for (const journal of ['j1', 'j2']) forks.note('/SealNotify', notice, journal);
    forks.diskLost('j1');
    forks.note('/Activate', activate(second, 3, 0), 'j2');
    expect(world.isForked).toBe(false);
  });

  it('is a segment at the base of one that nobody has ended (seed 12006053)', () => {
    const { world, forks } = begun();
    forks.note('/Activate', activate(second, 3, 0), 'j2');
    expect(world.isForked).toBe(true);
  });

  it('is none when the segment before was fenced', () => {
    const { world, forks } = begun();
    forks.note('/Fence', fence, 'j1');
    forks.note('/Activate', activate(second, 3, 0), 'j2');
    expect(world.isForked).toBe(false);
  });
});

describe('the last full copy', () => {
  /** Sealed at 43; the first journal has all of it, and loses its disk. */
  function afterLoss(lengthElsewhere: number | undefined): World {
    const world = new World(1);
    const copies = new SealedCopies(world);
    for (const journal of ['j1', 'j2']) copies.ordered('/Prepare', prepare(first), journal);
    copies.ordered('/SealNotify', notice, 'j1');
    copies.diskLost('j1');
    if (lengthElsewhere === undefined) return world;
    const answer = { results: [{ status: undefined, length: lengthElsewhere }] };
    copies.answered('/Fence', fence, answer, 'j2');
    return world;
  }

  it('is lost when the other member tells that it has less (seed 10134110)', () => {
    expect(afterLoss(14).losesLast).toBe(true);
  });

  it.each([
    [['j1', 'j2'], 14, true],
    [['j1', 'j2'], 43, false],
    // It was sealed with two that had all of it.
    [['j1', 'j2', 'j3'], 14, false],
  ])('of %s rots, the other tells that it has %i: lost is %s', (members, length, isLost) => {
    const world = new World(1);
    const copies = new SealedCopies(world);
    for (const journal of members) copies.ordered('/Prepare', prepare(first, members), journal);
    copies.ordered('/SealNotify', notice, 'j1');
    copies.answered('/Fence', fence, { results: [{ status: undefined, length }] }, 'j2');
    world.onDamage('j1', first.toString('hex'));
    expect(world.losesLast).toBe(isLost);
  });

  it.each([43, undefined])('is not when the other one has %s, or was not asked', (length) => {
    expect(afterLoss(length).losesLast).toBe(false);
  });
});
