import { delay, OperatingError, systemClock } from '@robustmq/core';
import { type NodeDrain, placementAdminMethods } from '@robustmq/rpc';

import { throwStatus, withPlacement } from '../administration.ts';
import { viewPlacement } from '../cluster-view.ts';
import { confirm } from '../confirm.ts';
import type { Options } from '../options.ts';

interface Input {
  readonly arguments: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
}

const lookEachMs = 1_000;

/** `robustmq journal drain`: takes a journal out of use, and shows what is left until nothing is. */
export async function drainJournal(options: Options, input: Input): Promise<void> {
  const nodeId = input.arguments[0] ?? '';
  const cancel = input.flags['cancel'] === true;
  await withPlacement(options, async (client) => {
    const answer = await client.call(placementAdminMethods.drainNode, { nodeId, cancel });
    throwStatus(answer.status);
  });
  if (cancel) {
    process.stdout.write(`${nodeId} is in use again\n`);
    return;
  }
  process.stdout.write(`${nodeId} gets nothing new; the order stands whether or not this waits\n`);
  if (input.flags['wait'] !== false) await showDrain(options, nodeId);
}

/** One line for each change, until the journal is drained. */
async function showDrain(options: Options, nodeId: string): Promise<void> {
  let shown = '';
  for (;;) {
    const cluster = await viewPlacement(options, {});
    const drain = cluster.drains.find((candidate) => candidate.nodeId === nodeId);
    if (drain === undefined) {
      throw new OperatingError('CANCELLED', `${nodeId}: the order to drain it was taken back`);
    }
    const text = drainText(drain);
    if (text !== shown) process.stdout.write(`${text}\n`);
    shown = text;
    if (drain.done) return;
    await delay(systemClock(), lookEachMs);
  }
}

/** How far a drain is, in words. */
export function drainText(drain: NodeDrain): string {
  const { nodeId, openSegments, uncopiedSegments, counted, done } = drain;
  if (done)
    return `${nodeId} is drained: stop it, and "robustmq journal remove ${nodeId}" forgets it`;
  if (openSegments > 0) return `${nodeId} drains: ${openSegments} open segments are left`;
  if (!counted) return `${nodeId} drains: counting what is only there`;
  return `${nodeId} drains: ${uncopiedSegments} sealed segments need copies elsewhere`;
}

/** `robustmq journal remove`: forgets a journal for good. */
export async function removeJournal(options: Options, input: Input): Promise<void> {
  const nodeId = input.arguments[0] ?? '';
  process.stderr.write(`${nodeId} is forgotten, and its name can never be used again.\n`);
  await confirm(nodeId, input.flags);
  await withPlacement(options, async (client) => {
    const answer = await client.call(placementAdminMethods.removeNode, { nodeId });
    throwStatus(answer.status);
  });
  process.stdout.write(`removed ${nodeId}\n`);
}
