import { describe, expect, it } from 'vitest';
import { ShareBudget } from './share-budget.ts';

describe('ShareBudget', () => {
  it('a group takes what it may, and a little whatever the others have', () => {
    const all = new ShareBudget({ bytesMax: 100, bytesMin: 0 });
    const [greedy, modest] = [1, 2].map(
      () => new ShareBudget({ bytesMax: 80, bytesMin: 10, parent: all }),
    );
    if (greedy === undefined || modest === undefined) throw new Error('there are two');
    greedy.take(79);
    expect([greedy.hasRoom, greedy.isRoomy]).toEqual([true, false]);
    greedy.take(30);
    expect([greedy.hasRoom, all.hasRoom]).toEqual([false, false]);
    expect([modest.hasRoom, modest.isRoomy]).toEqual([true, true]);
    modest.take(10);
    expect([modest.hasRoom, modest.isRoomy]).toEqual([false, false]);
    greedy.giveBack(70);
    expect([all.bytes, greedy.isRoomy, modest.hasRoom, modest.isRoomy]).toEqual([
      49,
      true,
      true,
      true,
    ]);
  });
});
