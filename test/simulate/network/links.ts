import type { World } from '../world/world.ts';

/** One direction between two machines. */
class Link {
  isBlocked = false;
  /** Added to each latency while the link is clogged. */
  extraMs = 0;
  /** What arrived while it was blocked: sent again once it is not. */
  readonly held: (() => void)[] = [];
}

export interface Latency {
  readonly fromMs: number;
  readonly toMs: number;
  /** How often a message takes far longer. */
  readonly slow: number;
}

/** Directions between machines, by name: what they delay, hold and let through. */
export class Links {
  readonly #world: World;
  readonly #latency: Latency;
  readonly #links = new Map<string, Link>();

  constructor(world: World, latency: Latency) {
    this.#world = world;
    this.#latency = latency;
  }

  isBlocked(from: string, to: string): boolean {
    return this.#links.get(`${from}>${to}`)?.isBlocked === true;
  }

  /** How long a message takes. */
  latencyMs(from: string, to: string): number {
    const { fromMs, toMs, slow } = this.#latency;
    const usual = this.#world.between(fromMs, toMs);
    const extra = this.#links.get(`${from}>${to}`)?.extraMs ?? 0;
    return usual + extra + (this.#world.chance(slow) ? this.#world.between(5, 200) : 0);
  }

  /** Lets something that has arrived happen, now or when the link is open again, in its order. */
  arrive(from: string, to: string, happen: () => void): void {
    const link = this.#links.get(`${from}>${to}`);
    if (link === undefined || (!link.isBlocked && link.held.length === 0)) happen();
    else link.held.push(happen);
  }

  block(from: string, to: string): void {
    this.#link(from, to).isBlocked = true;
  }

  unblock(from: string, to: string): void {
    this.#open(this.#link(from, to));
  }

  clog(from: string, to: string, extraMs: number): void {
    this.#link(from, to).extraMs = extraMs;
  }

  /** Opens everything, or what begins or ends at one machine. */
  heal(name?: string): void {
    for (const [key, link] of this.#links) {
      const ends = key.split('>');
      if (name !== undefined && !ends.includes(name)) continue;
      this.#open(link);
    }
  }

  #open(link: Link): void {
    link.isBlocked = false;
    link.extraMs = 0;
    if (link.held.length > 0) this.#release(link, this.#world.between(0, 20));
  }

  #release(link: Link, inMs: number): void {
    this.#world.schedule(inMs, 'released', () => {
      if (link.isBlocked) return;
      link.held.shift()?.();
      if (link.held.length > 0) this.#release(link, 0);
    });
  }

  #link(from: string, to: string): Link {
    const key = `${from}>${to}`;
    let link = this.#links.get(key);
    if (link === undefined) {
      link = new Link();
      this.#links.set(key, link);
    }
    return link;
  }
}
