import type { Random } from '@robustmq/core';

const firstMs = 20;
const lastMs = 1_000;

/** How long to wait before attempt `attempt` (from 1): doubles from 20 ms to 1 s, shortened by up to a half. */
export function retryDelayMs(attempt: number, random: Random): number {
  const fullMs = Math.min(lastMs, firstMs * 2 ** Math.min(attempt - 1, 10));
  return fullMs * (1 - random.next() / 2);
}
