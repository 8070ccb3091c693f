import { createServer, type Server, type Socket } from 'node:net';

import type { Peer } from '@robustmq/auth';
import {
  type Clock,
  hostOf,
  type Logger,
  OperatingError,
  portOf,
  type TimerWheel,
  type WheelTimer,
} from '@robustmq/core';

import { ReasonCode } from '../codec/reason-code.ts';
import type { MqttLimits } from '../server/mqtt-limits.ts';
import type { Arrival } from './arrival.ts';
import { identityOf } from './client-peer.ts';
import type { ClientSocket } from './client-socket.ts';
import { Gate, Place } from './gate.ts';
import { IpNetworks, plainAddress } from './ip-address.ts';
import type { ListenerKind, MqttListenerOptions } from './listener-options.ts';
import { readProxyHeader } from './proxy-reader.ts';
import { RefusedClient, type RefusedClientContext } from './refused-client.ts';
import { connackReasonOf, type RefusalReason, Refusals } from './refusals.ts';
import { TlsDoor } from './tls-door.ts';
import { WebSocketDoor } from './web-socket-door.ts';

/** What a listener needs of its broker. */
export interface ListenerContext extends RefusedClientContext {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly wheel: TimerWheel;
  /** The broker's, with what the listener has of its own in their place. */
  readonly limits: MqttLimits;
  /** Places of the node. */
  readonly gate: Gate;
  /** A client has come through. */
  connected(socket: ClientSocket, admitted: Admitted): void;
}

/** A client that has come through the door. */
export interface Admitted {
  readonly peer: Peer;
  /** The user name that its certificate gives. */
  readonly user: string | undefined;
  /** To be left once the connection has ended. */
  readonly place: Place;
}

const backlog = 4096;
/** Clients at a time that are let as far as their CONNECT only to be told why they are refused. */
const toldMax = 64;
const defaultPath = '/mqtt';

/** One address that clients connect to (packages/mqtt/DESIGN.md, "Listeners"). */
export class MqttListener {
  readonly name: string;
  readonly kind: ListenerKind;
  readonly refusals: Refusals;
  /** Clients that came through since the start. */
  connectionsTotal = 0;
  readonly #options: MqttListenerOptions;
  readonly #context: ListenerContext;
  readonly #server: Server;
  readonly #gates: readonly Gate[];
  readonly #own: Gate;
  readonly #proxies: IpNetworks | undefined;
  readonly #tls: TlsDoor | undefined;
  readonly #webSocket: WebSocketDoor | undefined;
  /** Sockets that the broker does not have: on their way, or told why they are refused. */
  readonly #arriving = new Map<Socket, WheelTimer>();
  /** How many of them are told. */
  #told = 0;
  #address: string;

  private constructor(options: MqttListenerOptions, context: ListenerContext) {
    const { name, kind, limits, proxyNetworks } = options;
    this.name = name;
    this.kind = kind;
    this.#options = options;
    this.#context = context;
    this.#address = options.listen;
    this.refusals = new Refusals(name, context);
    this.#own = new Gate(
      {
        connectionsMax: limits?.connectionsMax ?? Number.POSITIVE_INFINITY,
        connectsPerSecondMax: limits?.connectsPerSecondMax ?? 0,
        connectionsPerAddressMax: limits?.connectionsPerAddressMax ?? 0,
      },
      context.clock.monotonicMs(),
    );
    this.#gates = [context.gate, this.#own];
    this.#proxies = proxyNetworks && new IpNetworks(proxyNetworks);
    this.#tls = this.#makeTlsDoor();
    this.#webSocket = this.#makeWebSocketDoor();
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
  }

  /** Listens. Rejects with ALREADY_EXISTS when the port is taken. */
  static async open(options: MqttListenerOptions, context: ListenerContext): Promise<MqttListener> {
    const listener = new MqttListener(options, context);
    await listener.#listen();
    return listener;
  }

  /** HOST:PORT with the port that was really taken. */
  get address(): string {
    return this.#address;
  }

  /** HOST:PORT that clients are told; undefined: the address, under the broker's own name. */
  get advertised(): string | undefined {
    const { advertise } = this.#options;
    if (advertise === undefined || /:\d+$/.test(advertise)) return advertise;
    return `${advertise}:${portOf(this.#address)}`;
  }

  /** Clients that have a place: connected, or on their way. */
  get connections(): number {
    return this.#own.taken;
  }

  /** Stops accepting and closes who is on the way. Resolves once all its sockets are closed. */
  close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const socket of this.#arriving.keys()) socket.destroy();
    return closed;
  }

  #listen(): Promise<void> {
    const { listen } = this.#options;
    const host = hostOf(listen);
    return new Promise((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void => reject(listenError(listen, error));
      this.#server.once('error', failed);
      this.#server.listen({ host, port: portOf(listen), backlog }, () => {
        this.#server.off('error', failed);
        // Without a listener of its own an error would end the process.
        this.#server.on('error', (error) => this.refusals.add('accept', { error: error.message }));
        const bound = this.#server.address();
        if (typeof bound === 'object' && bound) {
          this.#address = `${listen.slice(0, listen.lastIndexOf(':'))}:${bound.port}`;
        }
        resolve();
      });
    });
  }

  // ---- on the way

  #accept(socket: Socket): void {
    const { remoteAddress, remotePort } = socket;
    if (remoteAddress === undefined || remotePort === undefined) {
      // It has gone already.
      socket.destroy();
      return;
    }
    const taken = Place.take(this.#gates, this.#context.clock.monotonicMs());
    const place = typeof taken === 'string' ? undefined : taken;
    const arrival: Arrival = {
      socket,
      place,
      refusal: typeof taken === 'string' ? taken : undefined,
      address: plainAddress(remoteAddress),
      port: remotePort,
      certificate: undefined,
    };
    if (this.#hasStages) this.#begin(arrival);
    if (arrival.refusal !== undefined && !this.#isTold(arrival)) return;
    if (this.#proxies === undefined) this.#known(arrival);
    else this.#readProxyHeader(arrival, this.#proxies);
  }

  get #hasStages(): boolean {
    return this.#proxies !== undefined || this.#tls !== undefined || this.#webSocket !== undefined;
  }

  /** From here on it has a time limit, and gives its place back when it closes. */
  #begin({ socket, place }: Arrival): void {
    const timer = this.#context.wheel.timer(() => {
      this.refusals.add('timeout', { address: socket.remoteAddress });
      socket.destroy();
    });
    timer.set(this.#context.limits.connectTimeoutMs);
    this.#arriving.set(socket, timer);
    socket.on('error', () => {}); // 'close' follows.
    socket.once('close', () => {
      this.#handedOver(socket);
      place?.leave();
    });
  }

  #handedOver(socket: Socket): void {
    this.#arriving.get(socket)?.cancel();
    this.#arriving.delete(socket);
  }

  /**
   * Whether one that is refused may go on to be told so; otherwise it is closed. Over TLS nobody is: a
   * handshake is what costs.
   */
  #isTold(arrival: Arrival): boolean {
    const { refusal, socket } = arrival;
    if (refusal !== undefined) this.refusals.add(refusal, { address: arrival.address });
    if (this.#tls !== undefined || this.#told >= toldMax) {
      socket.destroy();
      return false;
    }
    this.#told++;
    socket.once('close', () => this.#told--);
    if (!this.#arriving.has(socket)) this.#begin(arrival);
    return true;
  }

  #turnAway({ socket, address }: Arrival, reason: RefusalReason, detail = {}): void {
    this.refusals.add(reason, { address, ...detail });
    socket.destroy();
  }

  #readProxyHeader(arrival: Arrival, proxies: IpNetworks): void {
    if (!proxies.has(arrival.address)) {
      this.#turnAway(arrival, 'proxy_network');
      return;
    }
    readProxyHeader(arrival.socket, (header) => {
      if (header.kind === 'fault') {
        this.#turnAway(arrival, 'proxy_header', { error: header.reason });
        return;
      }
      const { source } = header;
      if (source !== undefined) {
        const { address, port, commonName } = source;
        arrival.address = address;
        arrival.port = port;
        if (commonName !== undefined) {
          arrival.certificate = { commonName, subjectAltName: undefined };
        }
      }
      this.#known(arrival);
    });
  }

  /** Its address is known. */
  #known(arrival: Arrival): void {
    const refusal = arrival.refusal === undefined && arrival.place?.enterFrom(arrival.address);
    if (refusal) {
      arrival.refusal = refusal;
      if (!this.#isTold(arrival)) return;
    }
    if (this.#tls !== undefined) {
      this.#tls.take(arrival);
    } else if (this.#webSocket !== undefined) {
      this.#webSocket.take(arrival, arrival.socket);
    } else {
      this.#through(arrival, arrival.socket);
    }
  }

  #makeTlsDoor(): TlsDoor | undefined {
    const { tls } = this.#options;
    if (tls === undefined) return undefined;
    return new TlsDoor(tls, {
      secured: (arrival, socket) => {
        if (this.#webSocket === undefined) this.#through(arrival, socket);
        else this.#webSocket.take(arrival, socket);
      },
      refused: (reason, detail) => this.refusals.add(reason, detail),
    });
  }

  #makeWebSocketDoor(): WebSocketDoor | undefined {
    const { kind, path, origins } = this.#options;
    if (kind !== 'ws' && kind !== 'wss') return undefined;
    const { packetBytesMax, packetBytesBeforeAuthMax } = this.#context.limits;
    return new WebSocketDoor(
      { path: path ?? defaultPath, origins, packetBytesMax, packetBytesBeforeAuthMax },
      {
        upgraded: (arrival, socket) => this.#through(arrival, socket),
        refused: (arrival, detail) =>
          this.refusals.add('web_socket', { address: arrival?.address, ...detail }),
      },
    );
  }

  // ---- through

  #through(arrival: Arrival, socket: ClientSocket): void {
    const { identity = 'cn', authentication } = this.#options;
    const { address, port, certificate, place } = arrival;
    const user = identityOf(certificate, identity);
    if (arrival.refusal === undefined && authentication === 'certificate' && user === undefined) {
      arrival.refusal = 'client_certificate';
      this.refusals.add(arrival.refusal, { address });
    }
    if (arrival.refusal !== undefined || place === undefined) {
      this.#tell(arrival, socket);
      return;
    }
    this.#handedOver(arrival.socket);
    this.connectionsTotal++;
    const peer = { address, port, certificate, listener: this.name };
    this.#context.connected(socket, { peer, user, place });
  }

  /** It has a time limit of its own now. */
  #tell({ refusal, socket: accepted }: Arrival, socket: ClientSocket): void {
    this.#arriving.get(accepted)?.cancel();
    const reasonCode = (refusal && connackReasonOf[refusal]) ?? ReasonCode.serverUnavailable;
    RefusedClient.tell(socket, reasonCode, this.#context);
  }
}

function listenError(listen: string, error: NodeJS.ErrnoException): Error {
  if (error.code !== 'EADDRINUSE') return error;
  return new OperatingError(
    'ALREADY_EXISTS',
    `${listen} is taken by another program; stop it or choose another with --mqtt-listen HOST:PORT`,
  );
}
