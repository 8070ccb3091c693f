import { OperatingError } from '@robustmq/core';

/** As the contract says. */
const rowsMax = 1_000;
/** Far below what a message may have: a client id or a topic filter has up to 64 KiB. */
const bytesMax = 4 * 1024 * 1024;

/** Throws INVALID_ARGUMENT when a page may not have so many rows. */
export function checkRows(rows: number): void {
  if (rows >= 1 && rows <= rowsMax) return;
  throw new OperatingError('INVALID_ARGUMENT', `a page has 1 to ${rowsMax} rows, not ${rows}`);
}

/** How much still goes into a page. */
export class PageRoom {
  #rows: number;
  #bytes = bytesMax;

  /** Throws INVALID_ARGUMENT when the page may not have so many rows. */
  constructor(rows: number) {
    checkRows(rows);
    this.#rows = rows;
  }

  get full(): boolean {
    return this.#rows === 0 || this.#bytes <= 0;
  }

  /** A row with these texts goes in, which is not {@link full}. */
  take(...texts: readonly string[]): void {
    this.#rows--;
    for (const text of texts) this.#bytes -= Buffer.byteLength(text);
  }
}
