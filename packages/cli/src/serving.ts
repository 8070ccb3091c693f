import type { Logger } from '@robustmq/core';
import type { Registry } from 'prom-client';

import { type Health, startHttpServer } from './http-server.ts';
import { type Options } from './options.ts';
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
    await running.disposeAsync();
    process.exit(0);
  }
  const { servers, announce } = started;
  phase.serving(servers);
  announce(http?.address);
  await stopped;
  phase.draining();
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
