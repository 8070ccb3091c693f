import { describe, expect, it } from 'vitest';

import { AccessReview } from './access-review.ts';
import { until } from './until.fixture.ts';

/** A connection that counts how often it is looked at. */
class Looked {
  times = 0;

  reviewAccess(): Promise<void> {
    this.times++;
    return Promise.resolve();
  }
}

describe('a review of all connections', () => {
  it('looks at some per turn, and at each once', async () => {
    const connections = Array.from({ length: 1_001 }, () => new Looked());
    const review = new AccessReview(() => connections);
    review.begin();
    const looked = (): number => connections.filter(({ times }) => times === 1).length;
    expect(looked()).toBe(0);
    await until(() => looked() > 0);
    expect(looked()).toBeLessThan(1_001);
    await until(() => looked() === 1_001);
  });

  it('a change meanwhile begins anew, once for however many', async () => {
    const connections = Array.from({ length: 1_000 }, () => new Looked());
    const review = new AccessReview(() => connections);
    review.begin();
    await until(() => connections[0]?.times === 1);
    for (let at = 0; at < 5; at++) review.begin();
    await until(() => connections.every(({ times }) => times === 2));
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(connections.every(({ times }) => times === 2)).toBe(true);
  });

  it('of none ends, and another can begin', async () => {
    const connections = new Set<Looked>();
    const review = new AccessReview(() => connections);
    review.begin();
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    const later = new Looked();
    connections.add(later);
    review.begin();
    await until(() => later.times === 1);
  });
});
