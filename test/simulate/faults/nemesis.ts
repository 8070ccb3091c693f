import type { SimCluster } from '../cluster/sim-cluster.ts';
import type { SimJournal } from '../cluster/sim-journal.ts';
import { faultKinds, type FaultKind } from '../world/plan.ts';
import { brokenDisk, lyingDisk } from './disk-faults.ts';
import { failOver } from './failovers.ts';
import { cutNetwork } from './network-faults.ts';
import { operate } from './operations.ts';
import { endProcesses } from './process-faults.ts';

/** How long something lasts, in ms. */
const lastsMs = { from: 200, to: 5_000 };
const leaderAgainMs = 2_000;

/** Lets things go wrong, each kind as often as the plan of the seed says. */
export class Nemesis {
  readonly #cluster: SimCluster;
  readonly counts = new Map<FaultKind, number>();
  #isOver = false;

  constructor(cluster: SimCluster) {
    this.#cluster = cluster;
  }

  /** One leader dies early in each run, and more until one is replaced; all else is drawn. */
  start(): void {
    const { world, plan } = this.#cluster;
    this.#killLeader(world.between(0.1, 0.4) * plan.faultyMs);
    this.#drawOn();
  }

  #killLeader(inMs: number): void {
    const { world, network } = this.#cluster;
    world.schedule(inMs, 'fault', () => {
      if (this.#isOver || network.failovers > 0) return;
      const leader = this.#leader();
      if (leader !== undefined) this.#begin('kill', leader);
      this.#killLeader(leaderAgainMs);
    });
  }

  #drawOn(): void {
    const { world, plan } = this.#cluster;
    const inMs = -Math.log(1 - world.random.next()) * plan.faultEachMs;
    world.schedule(inMs, 'fault', () => {
      if (this.#isOver) return;
      this.#strike();
      this.#drawOn();
    });
  }

  stop(): void {
    this.#isOver = true;
  }

  #strike(): void {
    const kind = this.#draw();
    if (kind !== undefined) this.#begin(kind);
  }

  #begin(kind: FaultKind, chosen?: SimJournal): void {
    if (this.#isOver) return;
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    const { world } = this.#cluster;
    world.note(`-- ${kind}`);
    const forMs = world.between(lastsMs.from, lastsMs.to);
    this.#do(kind, forMs, chosen ?? this.#victim());
  }

  #do(kind: FaultKind, forMs: number, victim: SimJournal): void {
    const cluster = this.#cluster;
    switch (kind) {
      case 'kill':
      case 'power':
      case 'powerAll':
      case 'pause':
      case 'restart':
      case 'tornWrite':
      case 'placementKill':
      case 'placementPause':
      case 'clientKill':
      case 'clockJump':
        endProcesses(cluster, kind, victim, forMs);
        return;
      case 'partition':
      case 'oneWay':
      case 'clog':
        cutNetwork(cluster, kind, forMs);
        return;
      case 'failingSync':
      case 'failingWrite':
      case 'slowDisk':
      case 'fullDisk':
        brokenDisk(cluster, kind, victim, forMs);
        return;
      case 'sealLive':
      case 'zombie':
      case 'coldFailover':
      case 'rotFailover':
      case 'lostOrders':
      case 'forgottenFence':
        failOver(cluster, kind, this.#leader() ?? victim, forMs);
        return;
      case 'trim':
      case 'drain':
      case 'addJournal':
      case 'removeJournal':
      case 'oldStore':
        operate(cluster, kind, victim, forMs);
        return;
      case 'corrupt':
      case 'diskLost':
        lyingDisk(cluster, kind, forMs);
    }
  }

  /** More often a leader than anybody. */
  #victim(): SimJournal {
    const { journals, world } = this.#cluster;
    const victim = world.chance(0.6) ? this.#leader() : undefined;
    const anybody = victim ?? world.pick(journals);
    if (anybody === undefined) throw new Error('a cluster has journals');
    return anybody;
  }

  /** One that leads something, if there is any. */
  #leader(): SimJournal | undefined {
    const { journals, world } = this.#cluster;
    return world.pick(journals.filter(({ name }) => this.#cluster.leads(name)));
  }

  #draw(): FaultKind | undefined {
    const { plan, world } = this.#cluster;
    const total = faultKinds.reduce((sum, kind) => sum + plan.weights[kind], 0);
    let left = world.random.next() * total;
    return faultKinds.find((kind) => (left -= plan.weights[kind]) < 0);
  }
}
