/** How long and where a call is tried. */
export interface CallCoordinatorOptions {
  /** Rejects with UNAVAILABLE after so many ms without an answer. Default 10,000. */
  readonly timeoutMs?: number;
}

/** Who runs a coordinator now. */
export interface CoordinatorOwner {
  readonly nodeId: string;
  readonly incarnation: number;
  readonly epoch: number;
}

/**
 * A broker's way to the coordinators, wherever they run. A call is sent again when its owner is lost
 * or changes, so a command can be carried out twice: it must carry an id or epoch by which the state
 * machine recognises it. Calls reject with the machine's own error, or with UNAVAILABLE at the
 * deadline, or with RESOURCE_EXHAUSTED at once when too many wait.
 */
export interface CoordinatorCalls {
  /** Number of shards of a kind; undefined until the catalog knows it. */
  shards(kind: string): number | undefined;
  /**
   * Calls the coordinator of `key`: a string is hashed ({@link coordinatorIndex}), a number is the
   * index itself. The payload is given away. Independent calls may overtake each other when they are
   * sent again.
   */
  call(
    kind: string,
    key: string | number,
    payload: Buffer,
    options?: CallCoordinatorOptions,
  ): Promise<Buffer>;
  /**
   * Like {@link call}, and all ordered calls of this broker to one coordinator are carried out in the
   * order of the calls, also when they are sent again. What gathers while a group is under way makes
   * the next group.
   */
  callOrdered(
    kind: string,
    key: string | number,
    payload: Buffer,
    options?: CallCoordinatorOptions,
  ): Promise<Buffer>;
  /**
   * Listens to what coordinators of a kind tell on their own. Notices of an epoch lower than one seen
   * are left out. A notice may come before or after a reply of the same turn.
   */
  onNotice(kind: string, listener: (index: number, payload: Buffer, epoch: number) => void): void;
  /**
   * Listens to changes of ownership: called at once for all that are owned, then whenever one has got
   * a new epoch. Brokers announce there what coordinators keep in memory only.
   */
  onOwner(kind: string, listener: (index: number, owner: CoordinatorOwner) => void): void;
}
