import { type Clock, OperatingError } from '@robustmq/core';

/** Node's fetch, or a test's. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface FetchBounds {
  readonly timeoutMs: number;
  readonly bytesMax: number;
}

export interface Fetched {
  readonly status: number;
  readonly text: string;
}

/** One request within its bounds, redirects not followed. Rejects with UNAVAILABLE. */
export async function fetchBounded(
  url: string,
  init: RequestInit,
  bounds: FetchBounds,
  { clock, fetch }: { readonly clock: Clock; readonly fetch: Fetch },
): Promise<Fetched> {
  const abort = new AbortController();
  const cancel = clock.setTimer(bounds.timeoutMs, () =>
    abort.abort(new Error(`no answer within ${bounds.timeoutMs} ms`)),
  );
  try {
    const response = await fetch(url, { ...init, redirect: 'error', signal: abort.signal });
    return { status: response.status, text: await textOf(response, bounds.bytesMax) };
  } catch (thrown) {
    throw new OperatingError('UNAVAILABLE', `${hostOf(url)}: ${reasonOf(thrown, abort.signal)}`);
  } finally {
    cancel();
  }
}

async function textOf(response: Response, bytesMax: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) throw new Error(`an answer of more than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function reasonOf(thrown: unknown, signal: AbortSignal): string {
  if (signal.aborted && signal.reason instanceof Error) return signal.reason.message;
  if (!(thrown instanceof Error)) return String(thrown);
  // fetch says "fetch failed" and hides why.
  return thrown.cause instanceof Error ? thrown.cause.message : thrown.message;
}

/** A URL may have secrets behind its host. */
function hostOf(url: string): string {
  return URL.parse(url)?.host ?? 'the service';
}
