import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';

import { OperatingError, hostOf, portOf } from '@robustmq/core';
import type { Registry } from 'prom-client';

/** What the health pages say. A reason is a line for a person. */
export interface Health {
  /** Undefined: alive. */
  live(): string | undefined;
  /** Undefined: can serve. */
  ready(): string | undefined;
}

export interface HttpServer extends AsyncDisposable {
  readonly address: string;
}

/** Serves /metrics (Prometheus text), /health/live and /health/ready (200, or 503 with the reason). */
export async function startHttpServer(
  listen: string,
  registry: Registry,
  health: Health,
): Promise<HttpServer> {
  const server = createServer((request, response) => {
    void answer(request, response, registry, health);
  });
  server.requestTimeout = 10_000;
  await listening(server, listen);
  const bound = server.address();
  const port = typeof bound === 'object' && bound ? bound.port : portOf(listen);
  return {
    address: `${hostOf(listen)}:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  registry: Registry,
  health: Health,
): Promise<void> {
  const path = (request.url ?? '').split('?')[0];
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return send(response, 405, 'only GET\n');
  if (path === '/metrics') {
    response.setHeader('content-type', registry.contentType);
    return send(response, 200, await registry.metrics());
  }
  if (path === '/health/live') return sendHealth(response, health.live());
  if (path === '/health/ready') return sendHealth(response, health.ready());
  return send(response, 404, 'here are /metrics, /health/live and /health/ready\n');
}

function sendHealth(response: ServerResponse, reason: string | undefined): void {
  send(response, reason === undefined ? 200 : 503, `${reason ?? 'ok'}\n`);
}

function send(response: ServerResponse, status: number, body: string): void {
  response.statusCode = status;
  response.end(body);
}

function listening(server: Server, listen: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      reject(
        error.code === 'EADDRINUSE'
          ? new OperatingError(
              'ALREADY_EXISTS',
              `${listen} is taken by another program; stop it or choose another with --http-listen HOST:PORT`,
            )
          : error,
      );
    });
    server.listen(portOf(listen), hostOf(listen), () => resolve());
  });
}
