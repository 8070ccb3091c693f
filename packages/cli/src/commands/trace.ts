import { closeSync, openSync, writeSync } from 'node:fs';

import { OperatingError } from '@robustmq/core';
import {
  brokerAdminMethods,
  type RpcClient,
  type TraceRequest,
  type TraceResponse,
} from '@robustmq/rpc';

import { askBrokers } from '../broker-answers.ts';
import { duration } from '../option-row.ts';
import type { Options } from '../options.ts';
import { shownText } from '../shown-text.ts';

interface Input {
  readonly arguments: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
}

/** The longest that a trace runs. */
const longestMs = 24 * 3_600_000;

/** `robustmq trace client`: the packets of a client, at whatever broker it is or comes to. */
export function traceClient(options: Options, { arguments: [clientId = ''], flags }: Input) {
  return trace(options, { clientId, topicFilter: '', payload: flags['payload'] === true }, flags);
}

/** `robustmq trace topic`: publishes to topics and subscriptions that match them, at all brokers. */
export function traceTopic(options: Options, { arguments: [topicFilter = ''], flags }: Input) {
  return trace(options, { clientId: '', topicFilter, payload: flags['payload'] === true }, flags);
}

async function trace(
  options: Options,
  request: TraceRequest,
  flags: Readonly<Record<string, unknown>>,
): Promise<void> {
  const lastsMs = traceMs(flags['for']);
  using out = new TraceOutput(flags['file']);
  const ending = new AbortController();
  const timer = setTimeout(() => ending.abort(), lastsMs);
  const stop = (): void => ending.abort();
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  try {
    const answers = await askBrokers(options, (client, nodeId) =>
      traceBroker(client, request, {
        signal: ending.signal,
        take: (response) => out.write(nodeId, response),
      }),
    );
    if (answers.length > 0) process.stderr.write(`${out.summary}\n`);
  } finally {
    clearTimeout(timer);
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
}

/** Resolves when the signal aborts; rejects when the broker ends it before. */
function traceBroker(
  client: RpcClient,
  request: TraceRequest,
  { signal, take }: { signal: AbortSignal; take: (response: TraceResponse) => void },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = client.open(brokerAdminMethods.trace, {
      message: take,
      closed: (error) => {
        if (signal.aborted) resolve();
        else reject(error ?? new OperatingError('UNAVAILABLE', 'the broker has ended the trace'));
      },
    });
    stream.send(request);
    if (signal.aborted) stream.cancel();
    else signal.addEventListener('abort', () => stream.cancel(), { once: true });
  });
}

/** The lines of all brokers, in the order in which they come. */
class TraceOutput implements Disposable {
  readonly #path: string | undefined;
  readonly #fd: number;
  #lines = 0;
  #dropped = 0;

  /** A file is appended to, and nobody else may read it if it is new. */
  constructor(path: unknown) {
    this.#path = typeof path === 'string' ? path : undefined;
    this.#fd = this.#path === undefined ? process.stdout.fd : openSync(this.#path, 'a', 0o600);
  }

  get summary(): string {
    const where = this.#path === undefined ? '' : ` in ${this.#path}`;
    const left = this.#dropped === 0 ? '' : `, ${this.#dropped} more were left out`;
    return `${this.#lines} lines${where}${left}`;
  }

  write(nodeId: string, { lines, dropped }: TraceResponse): void {
    this.#lines += lines.length;
    this.#dropped += dropped;
    const texts = lines.map(({ atMs, clientId, text }) => {
      const time = new Date(atMs).toISOString();
      return `${time} ${nodeId} ${shownText(clientId)} ${shownText(text)}\n`;
    });
    if (dropped > 0) texts.push(`${nodeId}: ${dropped} packets were left out here\n`);
    if (texts.length > 0) writeSync(this.#fd, texts.join(''));
  }

  [Symbol.dispose](): void {
    if (this.#path !== undefined) closeSync(this.#fd);
  }
}

function traceMs(given: unknown): number {
  const parsed = duration.safeParse(given);
  if (parsed.success && parsed.data > 0 && parsed.data <= longestMs) return parsed.data;
  const message = `--for ${String(given)}: must be a time of at most 24h, for example 60s`;
  throw new OperatingError('INVALID_ARGUMENT', message);
}
