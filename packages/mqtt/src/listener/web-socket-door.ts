import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { Duplex } from 'node:stream';

import { WebSocketServer } from 'ws';

import type { Arrival } from './arrival.ts';
import type { ClientSocket } from './client-socket.ts';
import { type CarryingSocket, WebSocketClient } from './web-socket-client.ts';

export interface WebSocketDoorOptions {
  readonly path: string;
  readonly origins: readonly string[] | undefined;
  readonly packetBytesMax: number;
  readonly packetBytesBeforeAuthMax: number;
}

/** What becomes of those who come to the WebSocket door. */
export interface WebSocketDoorEvents {
  upgraded(arrival: Arrival, socket: ClientSocket): void;
  /** It has its answer, and its socket is being closed. */
  refused(arrival: Arrival | undefined, detail: Readonly<Record<string, unknown>>): void;
}

const subprotocol = 'mqtt';
const requestHeaderBytesMax = 8 * 1024;
/** A client may put several packets into a message: so much besides the largest one. */
const messageRoomBytes = 64 * 1024;
/** What a socket reads at once, and the heads of frames. */
const oneReadBytes = 64 * 1024 + 1024;

/** Upgrades sockets to WebSockets with the subprotocol `mqtt`. [MQTT5-6.0.0-3, -6.0.0-4] */
export class WebSocketDoor {
  readonly #options: WebSocketDoorOptions;
  readonly #events: WebSocketDoorEvents;
  readonly #http: Server;
  readonly #webSockets: WebSocketServer;
  readonly #arrivals = new WeakMap<Duplex, Arrival>();

  constructor(options: WebSocketDoorOptions, events: WebSocketDoorEvents) {
    this.#options = options;
    this.#events = events;
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: options.packetBytesMax + messageRoomBytes,
      handleProtocols: () => subprotocol,
    });
    this.#webSockets.on('wsClientError', (error, socket) => {
      this.#refuse(socket, 400, { error: error.message });
    });
    this.#http = createServer({ maxHeaderSize: requestHeaderBytesMax });
    this.#http.on('request', (request, response) => this.#notUpgraded(request, response));
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#http.on('clientError', (error, socket) => {
      this.#refuse(socket, 400, { error: error.message });
    });
  }

  /** `socket`: that of the arrival, or TLS over it. */
  take(arrival: Arrival, socket: Duplex): void {
    this.#arrivals.set(socket, arrival);
    this.#http.emit('connection', socket);
  }

  #notUpgraded({ socket }: IncomingMessage, response: ServerResponse): void {
    this.#events.refused(this.#arrivals.get(socket), { error: 'no upgrade to WebSocket' });
    response.writeHead(426, { connection: 'close, upgrade', upgrade: 'websocket' });
    response.end('this is MQTT over WebSocket\n');
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const refusal = this.#refusalOf(request);
    if (refusal !== undefined) {
      this.#refuse(socket, refusal.status, { error: refusal.reason });
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const arrival = this.#arrivals.get(socket);
      if (arrival === undefined) return;
      // `take` was given a socket of TCP or TLS: both count their bytes.
      const client = new WebSocketClient(webSocket, socket as CarryingSocket, {
        bytesBeforeAnswerMax: this.#options.packetBytesBeforeAuthMax + oneReadBytes,
        refused: (error) => this.#events.refused(arrival, { error }),
      });
      this.#events.upgraded(arrival, client);
    });
  }

  #refusalOf({ url, headers }: IncomingMessage): { status: number; reason: string } | undefined {
    const { path, origins } = this.#options;
    const [asked = ''] = (url ?? '').split('?', 1);
    if (asked !== path) return { status: 404, reason: `another path than ${path}` };
    const { origin } = headers;
    if (origin !== undefined && origins?.includes(origin) === false) {
      return { status: 403, reason: `the origin ${origin} is not allowed` };
    }
    const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim());
    if (offered.includes(subprotocol)) return undefined;
    return { status: 400, reason: 'the subprotocol mqtt is not offered' };
  }

  #refuse(socket: Duplex, status: number, detail: Readonly<Record<string, unknown>>): void {
    this.#events.refused(this.#arrivals.get(socket), detail);
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    const head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`;
    socket.end(`${head}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  }
}
