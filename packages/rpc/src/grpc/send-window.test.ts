import { describe, expect, it } from 'vitest';
import { SendWindow } from './send-window.ts';

describe('send window', () => {
  it('stops at the bound of messages and goes on at half of it, once', () => {
    let drains = 0;
    const window = new SendWindow({ messages: 4, bytes: 1_000 }, () => drains++);
    expect([1, 2, 3, 4, 5].map(() => window.add(1))).toEqual([true, true, true, false, false]);
    window.written();
    window.written();
    expect(drains).toBe(0);
    window.written();
    expect(drains).toBe(1);
    window.written();
    window.written();
    expect(drains).toBe(1);
    expect(window.add(1)).toBe(true);
  });

  it('stops at the bound of bytes and goes on at half of it', () => {
    let drains = 0;
    const window = new SendWindow({ messages: 100, bytes: 1_000 }, () => drains++);
    expect(window.add(300)).toBe(true);
    expect(window.add(800)).toBe(false);
    window.written();
    expect(drains).toBe(0);
    window.written();
    expect(drains).toBe(1);
  });

  it('takes a message above the bound, and stops', () => {
    let drains = 0;
    const window = new SendWindow({ messages: 4, bytes: 10 }, () => drains++);
    expect(window.add(5_000)).toBe(false);
    window.written();
    expect(drains).toBe(1);
  });

  it('may be filled from within drained', () => {
    const answers: boolean[] = [];
    const window = new SendWindow({ messages: 2, bytes: 1_000 }, () => {
      answers.push(window.add(1), window.add(1));
    });
    window.add(1);
    window.add(1);
    window.written();
    expect(answers).toEqual([false, false]);
    window.written();
    expect(answers.length).toBe(2);
    window.written();
    expect(answers.length).toBe(4);
  });
});
