/** Many connections that do next to nothing, as a process of its own. */
import { setTimeout as delay } from 'node:timers/promises';

import { encodeSubscribe, packetHeader } from './control-packets.ts';
import {
  type ConnectionHandler,
  type ConnectionTarget,
  LoadConnection,
} from './load-connection.ts';
import { range } from './load-plan.ts';

/** Plain data: it travels to the process. */
export interface IdlePlan {
  readonly host: string;
  readonly port: number;
  readonly topicPrefix: string;
  readonly connections: number;
  readonly keepAliveSeconds: number;
  /** How many of them ping, each once in `pingEachMs`; the others send nothing at all. */
  readonly pinging: number;
  readonly pingEachMs: number;
  /** How long to stay once all are connected and subscribed. */
  readonly holdSeconds: number;
}

/** What the process tells its parent: first that all are there, then how it went. */
export type IdleReport =
  | { readonly kind: 'connected'; readonly connectsPerSecond: number }
  | {
      readonly kind: 'held';
      readonly alive: number;
      readonly pings: number;
      readonly pongs: number;
    };

/** Connections that are being made at a time. */
const connectingMax = 100;

class IdleConnection implements ConnectionHandler {
  alive = true;
  pongs = 0;
  readonly #connection: LoadConnection;
  readonly #topic: string;
  readonly #subscribed = Promise.withResolvers<void>();

  constructor(plan: IdlePlan, index: number, target: ConnectionTarget) {
    this.#topic = `${plan.topicPrefix}/${index}`;
    const { keepAliveSeconds } = plan;
    const clientId = `bench-idle-${index}`;
    this.#connection = new LoadConnection(target, { version: 5, clientId, keepAliveSeconds }, this);
  }

  async ready(): Promise<void> {
    await this.#connection.accepted;
    this.#connection.write(encodeSubscribe(this.#topic, 0, 5));
    await this.#subscribed.promise;
  }

  ping(): void {
    this.#connection.write(pingreq);
  }

  packet(header: number, bytes: Buffer, _start: number, end: number): void {
    if (header === packetHeader.pingresp) this.pongs++;
    else if (header === packetHeader.suback && bytes[end - 1] === 0) this.#subscribed.resolve();
    else this.lost(`unexpected packet 0x${header.toString(16)}`);
  }

  lost(reason: string): void {
    this.alive = false;
    this.#subscribed.reject(new Error(reason));
  }
}

const pingreq = Buffer.from([packetHeader.pingreq, 0]);

process.once('message', (plan: IdlePlan) => {
  void run(plan);
});

async function run(plan: IdlePlan): Promise<void> {
  const begin = performance.now();
  const connections = await connectAll(plan);
  const seconds = (performance.now() - begin) / 1000;
  report({ kind: 'connected', connectsPerSecond: plan.connections / seconds });
  const pings = await hold(plan, connections);
  report({
    kind: 'held',
    alive: connections.filter((connection) => connection.alive).length,
    pings,
    pongs: connections.reduce((sum, connection) => sum + connection.pongs, 0),
  });
}

async function connectAll(plan: IdlePlan): Promise<IdleConnection[]> {
  const { host, port } = plan;
  const target = { host, port, packetBytesMax: 1024, readBuffer: Buffer.alloc(64 * 1024) };
  const connections: IdleConnection[] = [];
  const next = async (): Promise<void> => {
    while (connections.length < plan.connections) {
      const connection = new IdleConnection(plan, connections.length, target);
      connections.push(connection);
      await connection.ready();
    }
  };
  await Promise.all(range(connectingMax).map(next));
  return connections;
}

/** Keeps some of them pinging in turn until the time is over; how many pings went out. */
async function hold(plan: IdlePlan, connections: readonly IdleConnection[]): Promise<number> {
  const pinging = connections.slice(0, plan.pinging);
  let pings = 0;
  const timer = setInterval(
    () => pinging[pings++ % pinging.length]?.ping(),
    plan.pingEachMs / plan.pinging,
  );
  await delay(plan.holdSeconds * 1000);
  clearInterval(timer);
  return pings;
}

function report(message: IdleReport): void {
  process.send?.(message);
}
