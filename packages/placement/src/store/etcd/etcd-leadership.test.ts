import { OperatingError } from '@robustmq/core';
import { describe, expect, it } from 'vitest';
import { EtcdLeadership, type HeldLease } from './etcd-leadership.ts';
import type { GuardedResult } from './etcd-transaction.ts';

class TestLease implements HeldLease {
  readonly #lost = new AbortController();
  revoked = false;

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  lose(reason: string): void {
    this.#lost.abort(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.revoked = true;
  }
}

describe('a leadership in etcd', () => {
  /** A leadership whose transactions get these results, one after the other. */
  function leadershipOf(results: (GuardedResult | OperatingError)[]) {
    const lease = new TestLease();
    let asked = 0;
    const leadership = new EtcdLeadership({
      lease,
      async transact() {
        const result = results[asked++];
        if (result === undefined || result instanceof OperatingError) throw result ?? new Error();
        return result;
      },
    });
    return { lease, leadership, asked: () => asked };
  }

  it('ends when nobody knows what became of a transaction, and what waits is not tried', async () => {
    const unknown = new OperatingError('INDETERMINATE', 'no answer');
    const { lease, leadership, asked } = leadershipOf([
      { kind: 'committed', revision: 1 },
      unknown,
    ]);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 4 }, () => leadership.transact([], [])),
    );
    expect(outcomes).toMatchObject([
      { value: { kind: 'committed', revision: 1 } },
      { reason: { code: 'INDETERMINATE' } },
      { reason: { code: 'UNAVAILABLE' } },
      { reason: { code: 'UNAVAILABLE' } },
    ]);
    expect(asked()).toBe(2);
    expect(leadership.lost.aborted).toBe(true);
    await leadership[Symbol.asyncDispose]();
    expect(lease.revoked).toBe(true);
  });

  it('ends when somebody else leads', async () => {
    const { leadership } = leadershipOf([{ kind: 'lost' }]);
    await expect(leadership.transact([], [])).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(leadership.lost.aborted).toBe(true);
  });

  it.each(['UNAVAILABLE', 'DISK_FULL'] as const)(
    'goes on after %s: nothing was done',
    async (code) => {
      const { leadership } = leadershipOf([new OperatingError(code, 'no'), { kind: 'conflict' }]);
      await expect(leadership.transact([], [])).rejects.toMatchObject({ code });
      expect(await leadership.transact([], [])).toEqual({ kind: 'conflict' });
      expect(leadership.lost.aborted).toBe(false);
    },
  );
});
