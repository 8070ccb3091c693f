import type { Caller, CoordinatorContext, MachineTimer } from '@robustmq/kernel';

export interface LostHoldersOptions {
  readonly context: Pick<CoordinatorContext, 'timer' | 'nodeAlive' | 'full'>;
  /** Client ids whose grants that broker holds. */
  readonly heldBy: (nodeId: string, incarnation: number) => ReadonlySet<string>;
  /** Ends the connection of a session, which takes it from its holder. */
  readonly end: (clientId: string) => void;
}

/** A broker that the catalog does not show may just have started: so long it is waited for. */
const graceMs = 2000;
/** Sessions that are ended in one call, so that their records fit in one batch. */
const sliceSessions = 500;
const fullPauseMs = 50;

/** Ends what brokers held that are gone, some at a time. */
export class LostHolders {
  readonly #options: LostHoldersOptions;
  readonly #gone: Caller[] = [];
  /** Brokers that hold grants although the catalog does not show them, by node and incarnation. */
  readonly #suspects = new Map<string, Caller>();
  #slice: MachineTimer | undefined;
  #grace: MachineTimer | undefined;

  constructor(options: LostHoldersOptions) {
    this.#options = options;
  }

  /** The broker is gone. May be repeated. */
  gone(broker: Caller): void {
    if (this.#options.heldBy(broker.nodeId, broker.incarnation).size === 0) return;
    this.#gone.push(broker);
    if (this.#gone.length === 1) this.#endSlice();
  }

  /** The broker holds grants: if the catalog does not show it in a while, it is gone. */
  suspect({ nodeId, incarnation }: Caller): void {
    const { context } = this.#options;
    if (context.nodeAlive(nodeId, incarnation)) return;
    const isFirst = this.#suspects.size === 0;
    this.#suspects.set(`${nodeId}/${incarnation}`, { nodeId, incarnation });
    if (!isFirst) return;
    this.#grace ??= context.timer(() => this.#judge());
    this.#grace.set(graceMs);
  }

  #judge(): void {
    const suspects = [...this.#suspects.values()];
    this.#suspects.clear();
    const { context } = this.#options;
    for (const broker of suspects) {
      if (!context.nodeAlive(broker.nodeId, broker.incarnation)) this.gone(broker);
    }
  }

  #endSlice(): void {
    const { context, heldBy, end } = this.#options;
    const [broker] = this.#gone;
    if (broker === undefined) return;
    if (!context.full) {
      const held = heldBy(broker.nodeId, broker.incarnation);
      for (const clientId of firstOf(held, sliceSessions)) end(clientId);
      if (held.size === 0) this.#gone.shift();
    }
    if (this.#gone.length === 0) return;
    this.#slice ??= context.timer(() => this.#endSlice());
    this.#slice.set(context.full ? fullPauseMs : 0);
  }
}

function firstOf<Value>(values: ReadonlySet<Value>, count: number): Value[] {
  const first: Value[] = [];
  for (const value of values) {
    if (first.length === count) break;
    first.push(value);
  }
  return first;
}
