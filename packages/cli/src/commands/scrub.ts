import { delay, OperatingError, systemClock, toOperatingError } from '@robustmq/core';
import {
  journalAdminMethods,
  type Node,
  NodeRole,
  NodeState,
  type RpcClient,
  type ScrubResponse,
} from '@robustmq/rpc';

import { bytesText } from '../bytes-text.ts';
import { viewPlacement } from '../cluster-view.ts';
import { commandTransport } from '../command-transport.ts';
import type { Options } from '../options.ts';

interface Input {
  readonly flags: Readonly<Record<string, unknown>>;
}

const lookEachMs = 1_000;
const timeoutMs = 5_000;

/**
 * `robustmq journal scrub`: has journals read their sealed replicas again, shows how far they are, and ends
 * with an error when something is damaged.
 */
export async function scrubJournals(options: Options, input: Input): Promise<void> {
  const journals = await chosen(options, input.flags['node']);
  const begin = input.flags['begin'] !== false;
  const wait = input.flags['wait'] !== false && begin;
  const transport = commandTransport(options);
  const outcomes = await Promise.all(
    journals.map(async ({ nodeId, address }) => {
      await using client = transport.connect(address, 'control');
      try {
        return await scrubOne(client, nodeId, { begin, wait });
      } catch (thrown) {
        process.stdout.write(`${nodeId}: ${toOperatingError(thrown).message}\n`);
        return false;
      }
    }),
  );
  if (outcomes.includes(false)) process.exitCode = 1;
}

async function chosen(options: Options, nodeId: unknown): Promise<Node[]> {
  const { nodes } = await viewPlacement(options, {});
  const journals = nodes.filter(({ role }) => role === NodeRole.JOURNAL);
  if (nodeId === undefined) return journals.filter(({ state }) => state !== NodeState.DOWN);
  const found = journals.find((node) => node.nodeId === nodeId);
  if (found !== undefined) return [found];
  const known = journals
    .map((node) => node.nodeId)
    .toSorted()
    .join(', ');
  throw new OperatingError(
    'NOT_FOUND',
    `there is no journal ${JSON.stringify(nodeId)}; there are ${known}`,
  );
}

/** Whether nothing is damaged, as far as it was waited for. */
async function scrubOne(
  client: RpcClient,
  nodeId: string,
  { begin, wait }: { begin: boolean; wait: boolean },
): Promise<boolean> {
  const look = (first: boolean): Promise<ScrubResponse> =>
    client.call(journalAdminMethods.scrub, { begin: first }, { timeoutMs });
  let state = await look(begin);
  const { pass } = state;
  let shown = '';
  for (;;) {
    const text = scrubText(nodeId, state);
    if (text !== shown) process.stdout.write(`${text}\n`);
    shown = text;
    if (!state.running || !wait) break;
    await delay(systemClock(), lookEachMs);
    state = await look(false);
    if (state.pass < pass) {
      const message = `${nodeId} was started anew: it goes on at its usual pace, or order it once more`;
      throw new OperatingError('CANCELLED', message);
    }
  }
  for (const finding of state.findings) {
    const { segmentId, file, fromByte, toByte, reason } = finding;
    const where = `bytes ${fromByte} to ${toByte} of ${file}`;
    process.stdout.write(`${nodeId}: segment ${segmentId.toString('hex')}, ${where}: ${reason}\n`);
  }
  return state.damaged === 0 && state.unread === 0;
}

/** How far a scrub is, or what it found, in words. */
export function scrubText(nodeId: string, state: ScrubResponse): string {
  const { pass, running, replicas, replicasRead, bytes, bytesRead, damaged, unread } = state;
  if (pass === 0) {
    const last = new Date(state.completedMs).toISOString();
    const before = state.completedMs === 0 ? 'nothing was read again yet' : `last done ${last}`;
    return `${nodeId}: ${before}`;
  }
  const found = [
    damaged === 0 ? 'none damaged' : `${damaged} DAMAGED, to be made anew from other journals`,
    ...(unread === 0 ? [] : [`${unread} could not be read: see its log`]),
  ].join(', ');
  if (!running)
    return `${nodeId}: ${replicasRead} replicas read again (${bytesText(bytesRead)}), ${found}`;
  const part = `${bytesText(bytesRead)} of ${bytesText(bytes)}`;
  return `${nodeId}: ${part} in ${replicasRead} of ${replicas} replicas read again, ${found}`;
}
