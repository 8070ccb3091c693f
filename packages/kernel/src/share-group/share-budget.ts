export interface ShareBudgetOptions {
  readonly bytesMax: number;
  /** So much may always be taken, whatever others have. */
  readonly bytesMin: number;
  /** What it is a part of. */
  readonly parent?: ShareBudget;
}

/** Bytes of the records that are kept in memory: those of one group, within those of its coordinator. */
export class ShareBudget {
  readonly #options: ShareBudgetOptions;
  #bytes = 0;

  constructor(options: ShareBudgetOptions) {
    this.#options = options;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether more may be taken. */
  get hasRoom(): boolean {
    const { bytesMin, bytesMax, parent } = this.#options;
    if (this.#bytes < bytesMin) return true;
    return this.#bytes < bytesMax && parent?.hasRoom !== false;
  }

  /** Whether there is room for so much that reading on pays. */
  get isRoomy(): boolean {
    const { bytesMin, bytesMax, parent } = this.#options;
    if (this.#bytes * 2 <= bytesMin) return true;
    return this.#bytes * 2 <= bytesMax && parent?.isRoomy !== false;
  }

  take(bytes: number): void {
    this.#bytes += bytes;
    this.#options.parent?.take(bytes);
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
    this.#options.parent?.giveBack(bytes);
  }
}
