import { OperatingError } from '@robustmq/core';
import type { RpcServer, ServiceRegistry, Transport } from '@robustmq/rpc';
import type { SimProcess } from '../world/sim-process.ts';
import type { World } from '../world/world.ts';
import { type Latency, Links } from './links.ts';
import { SealedCopies } from './copies.ts';
import { Forks } from './forks.ts';
import { SimClient } from './sim-client.ts';
import { SimServer } from './sim-server.ts';

/** How bad the network is. */
export interface NetworkPlan {
  readonly latency: Latency;
  /** How often a call is lost on its way there, or back. */
  readonly lost: number;
  /** How often a call comes a second time, later. */
  readonly twice: number;
}

/** An open stream or call: it breaks when one of its ends goes away. */
export interface Connected {
  readonly client: SimProcess;
  /** Machine at the other end. */
  readonly host: string;
  /** How long its ends wait for a sign of life from the other one. */
  readonly patienceMs: number;
  /** Somebody has noticed that the other end is gone. */
  breakAt(end: 'client' | 'server'): void;
}

/** The network between the machines of a world. */
export class SimNetwork {
  readonly world: World;
  readonly links: Links;
  plan: NetworkPlan;
  readonly open = new Set<Connected>();
  readonly #lostCalls = new Set<string>();
  readonly #forks: Forks;
  readonly #copies: SealedCopies;
  #fencedSince = false;
  /** How often a segment was opened after one was fenced. */
  failovers = 0;
  readonly #servers = new Map<string, SimServer>();
  readonly #hosts = new Map<string, SimProcess>();
  /** Machines that lost power: nothing refuses connections there. */
  readonly #dark = new Set<string>();

  constructor(world: World, plan: NetworkPlan) {
    this.world = world;
    this.plan = plan;
    this.links = new Links(world, plan.latency);
    this.#forks = new Forks(world);
    this.#copies = new SealedCopies(world);
  }

  /** From now on everything arrives, once. */
  heal(): void {
    this.plan = { ...this.plan, lost: 0, twice: 0 };
    this.#lostCalls.clear();
    this.links.heal();
  }

  /** No call of that name arrives at these machines any more, until `arriving`. */
  losing(call: string, machines: readonly string[]): void {
    for (const machine of machines) this.#lostCalls.add(`${call}>${machine}`);
  }

  arriving(call: string, machines: readonly string[]): void {
    for (const machine of machines) this.#lostCalls.delete(`${call}>${machine}`);
  }

  /** Whether a call is lost on its way there. */
  losesCall(path: string, machine: string): boolean {
    if (this.world.chance(this.plan.lost)) return true;
    if (this.#lostCalls.size === 0) return false;
    return this.#lostCalls.has(`${path.slice(path.lastIndexOf('/') + 1)}>${machine}`);
  }

  transportOf(process: SimProcess): Transport {
    const { name } = process;
    this.#hosts.set(name, process);
    this.#dark.delete(name);
    // What was open to an earlier life is refused as soon as it says something.
    for (const connected of this.open) {
      if (connected.host !== name) continue;
      const saysMs = this.world.nowMs + this.world.between(0, 2_000);
      this.carry(name, connected.client.name, () => connected.breakAt('client'), saysMs);
    }
    return {
      connect: (address, kind) => new SimClient(this, process, address, kind),
      // oxlint-disable-next-line typescript/require-await -- an interface for servers that have to wait
      listen: async (address, register) => this.#listen(process, address, register),
    };
  }

  host(name: string): SimProcess | undefined {
    return this.#hosts.get(name);
  }

  /** Who listens there now. */
  server(address: string): SimServer | undefined {
    const server = this.#servers.get(address);
    return server?.isListening === true ? server : undefined;
  }

  /**
   * Carries something to a process. `after` is when the one before it arrives, for what has an order; the
   * result is when this one does.
   */
  carry(from: string, to: string, happen: () => void, after = 0): number {
    const { world } = this;
    const atMs = Math.max(after, world.nowMs + this.links.latencyMs(from, to));
    const process = this.#hosts.get(to);
    const arrive = (): void => this.links.arrive(from, to, happen);
    world.scheduleAt(atMs, 'message', arrive, process);
    return atMs;
  }

  diskLost(name: string): void {
    this.#forks.diskLost(name);
    this.#copies.diskLost(name);
  }

  /** A call has reached its server. */
  called(path: string, request: unknown, server: string): void {
    this.#forks.note(path, request, server);
    this.#copies.ordered(path, request, server);
    if (path.endsWith('/Fence')) this.#fencedSince = true;
    else if (this.#fencedSince && path.endsWith('/Activate')) {
      this.#fencedSince = false;
      this.failovers++;
    }
  }

  /** A server has answered, whether or not the answer arrives. */
  answered(path: string, request: unknown, response: unknown, server: string): void {
    this.#copies.answered(path, request, response, server);
  }

  /** Whether nothing that is sent to a machine comes back as a refusal. */
  isSilent(from: string, to: string): boolean {
    const process = this.#hosts.get(to);
    const isDark = this.#dark.has(to) || process?.isPaused === true;
    return isDark || this.links.isBlocked(from, to) || this.links.isBlocked(to, from);
  }

  /** A process has died; `silently`: its machine with it. */
  died(name: string, silently: boolean): void {
    if (silently) this.#dark.add(name);
    for (const connected of this.open) {
      const isClient = connected.client.name === name;
      if (!isClient && connected.host !== name) continue;
      const end = isClient ? 'server' : 'client';
      const other = isClient ? connected.host : connected.client.name;
      if (silently) this.watch(connected);
      else this.carry(name, other, () => connected.breakAt(end));
    }
  }

  /** A process was stopped, or a link was blocked: who waits notices after a while. */
  silenced(): void {
    for (const connected of this.open) this.watch(connected);
  }

  /** Breaks what has heard nothing for as long as it has patience. */
  watch(connected: Connected): void {
    const { client, host, patienceMs } = connected;
    if (!this.isSilent(client.name, host) && !client.isPaused) return;
    const look = (end: 'client' | 'server', process: SimProcess): void => {
      this.world.schedule(
        patienceMs,
        'keepalive',
        () => {
          const silent = this.isSilent(client.name, host) || client.isPaused || !client.isAlive;
          if (silent && this.open.has(connected)) this.#give(connected, end);
        },
        process,
      );
    };
    const server = this.#hosts.get(host);
    look('client', client);
    if (server !== undefined) look('server', server);
  }

  /** One end gives a connection up; the other learns of it once something gets through. */
  #give(connected: Connected, end: 'client' | 'server'): void {
    const { client, host } = connected;
    connected.breakAt(end);
    if (end === 'client') this.carry(client.name, host, () => connected.breakAt('server'));
    else this.carry(host, client.name, () => connected.breakAt('client'));
  }

  #listen(
    process: SimProcess,
    asked: string,
    register: (registry: ServiceRegistry) => void,
  ): RpcServer {
    const known = this.server(asked);
    if (known !== undefined && known.isListening) {
      throw new OperatingError('UNAVAILABLE', `${asked} is taken`);
    }
    const server = new SimServer(this, process, asked);
    register(server);
    this.#servers.set(asked, server);
    return server;
  }
}

/** The machine of an address. */
export function hostOf(address: string): string {
  return address.slice(0, address.lastIndexOf(':'));
}
