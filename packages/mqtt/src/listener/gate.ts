import { addressKey } from './ip-address.ts';
import { TokenBucket } from './token-bucket.ts';

/** Bounds on the connections of a node or of a listener. */
export interface GateLimits {
  readonly connectionsMax: number;
  /** 0: no limit. */
  readonly connectsPerSecondMax: number;
  /** Of one address; IPv6 addresses count by their network of 64 bits. 0: no limit. */
  readonly connectionsPerAddressMax: number;
}

export type GateRefusal = 'connections' | 'connect_rate' | 'address_connections';

/** Counts places of a node or of a listener, and says when there is none. */
export class Gate {
  readonly #limits: GateLimits;
  readonly #rate: TokenBucket | undefined;
  readonly #byAddress = new Map<string, number>();
  #taken = 0;

  constructor(limits: GateLimits, nowMs: number) {
    const { connectsPerSecondMax } = limits;
    this.#limits = limits;
    this.#rate =
      connectsPerSecondMax > 0 ? new TokenBucket(connectsPerSecondMax, nowMs) : undefined;
  }

  /** Connections that have a place. */
  get taken(): number {
    return this.#taken;
  }

  /** Takes a place, or says why there is none. */
  enter(nowMs: number): GateRefusal | undefined {
    if (this.#taken >= this.#limits.connectionsMax) return 'connections';
    if (this.#rate?.take(nowMs) === false) return 'connect_rate';
    this.#taken++;
    return undefined;
  }

  /** Counts an address that has a place already, or says that there are enough of it. */
  enterFrom(address: string): GateRefusal | undefined {
    const { connectionsPerAddressMax } = this.#limits;
    if (connectionsPerAddressMax === 0) return undefined;
    const key = addressKey(address);
    const count = this.#byAddress.get(key) ?? 0;
    if (count >= connectionsPerAddressMax) return 'address_connections';
    this.#byAddress.set(key, count + 1);
    return undefined;
  }

  leave(): void {
    this.#taken--;
  }

  leaveFrom(address: string): void {
    if (this.#limits.connectionsPerAddressMax === 0) return;
    const key = addressKey(address);
    const count = (this.#byAddress.get(key) ?? 0) - 1;
    if (count > 0) this.#byAddress.set(key, count);
    else this.#byAddress.delete(key);
  }
}

/** What one connection takes of several gates, of all or of none. */
export class Place {
  readonly #gates: readonly Gate[];
  /** Empty until it is known. */
  #address = '';
  #isLeft = false;

  private constructor(gates: readonly Gate[]) {
    this.#gates = gates;
  }

  /** A place at all gates, or why the first that has none has none. */
  static take(gates: readonly Gate[], nowMs: number): Place | GateRefusal {
    for (const [index, gate] of gates.entries()) {
      const refusal = gate.enter(nowMs);
      if (refusal === undefined) continue;
      for (const entered of gates.slice(0, index)) entered.leave();
      return refusal;
    }
    return new Place(gates);
  }

  /** Counts its address at all gates, or gives the place back and says why. */
  enterFrom(address: string): GateRefusal | undefined {
    for (const [index, gate] of this.#gates.entries()) {
      const refusal = gate.enterFrom(address);
      if (refusal === undefined) continue;
      for (const entered of this.#gates.slice(0, index)) entered.leaveFrom(address);
      this.leave();
      return refusal;
    }
    this.#address = address;
    return undefined;
  }

  /** Gives everything back; later calls do nothing. */
  leave(): void {
    if (this.#isLeft) return;
    this.#isLeft = true;
    for (const gate of this.#gates) {
      gate.leave();
      if (this.#address !== '') gate.leaveFrom(this.#address);
    }
  }
}
