import { type Logger, systemClock } from '@robustmq/core';
import type { Registry } from 'prom-client';

import { type Health, startHttpServer } from './http-server.ts';
import { type Options } from './options.ts';
import { required } from './required.ts';
import { untilSignal } from './service.ts';

/** What a role says of itself. */
export interface Server {
  /** Undefined: can serve; else why not. */
  notReady(): string | undefined;
}

/** A role, or three, that serve. */
export interface Started {
  readonly servers: readonly Server[];
  /** Prints the `ready` line. `http` is where metrics and health are, if anywhere. */
  readonly announce: (http: string | undefined) => void;
}

interface Process {
  readonly options: Options;
  readonly logger: Logger;
  readonly registry: Registry;
}

/**
 * Starts servers, serves until SIGTERM or SIGINT, and drains them. The health pages stand before the
 * first server and after the last one, so that they tell of starting and draining, too. `start` gives
 * what is to be disposed to the stack that it gets.
 */
export async function serveUntilSignal(
  { options, logger, registry }: Process,
  start: (running: AsyncDisposableStack) => Promise<Started>,
): Promise<void> {
  const phase = new ServingPhase();
  // Disposed last.
  using bound = new DrainBound(required(options, 'shutdown-timeout-ms'), logger);
  const listen = options['http-listen'];
  const isServed = listen !== undefined && listen !== 'off';
  await using http = isServed ? await startHttpServer(listen, registry, phase) : undefined;
  // Disposed before the pages.
  await using running = new AsyncDisposableStack();
  const stopped = untilSignal(logger);
  const started = await Promise.race([start(running), stopped]);
  if (started === undefined) {
    // What still starts has promised nothing, and may wait for placement for ever.
    phase.draining();
    bound.begin();
    await running.disposeAsync();
    process.exit(0);
  }
  const { servers, announce } = started;
  phase.serving(servers);
  announce(http?.address);
  await stopped;
  phase.draining();
  bound.begin();
}

/** Ends the process when draining takes too long: whoever supervises it waits for so long at most. */
class DrainBound implements Disposable {
  readonly #timeoutMs: number;
  readonly #logger: Logger;
  #cancel: () => void = () => {};

  constructor(timeoutMs: number, logger: Logger) {
    this.#timeoutMs = timeoutMs;
    this.#logger = logger;
  }

  begin(): void {
    const timeoutMs = this.#timeoutMs;
    this.#cancel = systemClock().setTimer(timeoutMs, () => {
      const message =
        'not drained in time, ending: what was acknowledged is safe, clients connect elsewhere';
      this.#logger.error({ timeoutMs }, message);
      // The logger writes later.
      setImmediate(() => process.exit(1));
    });
  }

  [Symbol.dispose](): void {
    this.#cancel();
  }
}

class ServingPhase implements Health {
  #phase: 'starting' | 'serving' | 'draining' = 'starting';
  #servers: readonly Server[] = [];

  serving(servers: readonly Server[]): void {
    this.#phase = 'serving';
    this.#servers = servers;
  }

  draining(): void {
    this.#phase = 'draining';
  }

  /** A process that can answer is alive. */
  live(): undefined {
    return undefined;
  }

  ready(): string | undefined {
    if (this.#phase !== 'serving') return `it is ${this.#phase}`;
    return this.#servers.map((server) => server.notReady()).find((reason) => reason !== undefined);
  }
}
