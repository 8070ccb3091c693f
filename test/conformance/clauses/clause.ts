/** Whom a statement binds: the server has to have a test for `server` and `both`. */
export type Bound = 'server' | 'client' | 'both';

/** A normative statement of a specification, in our words. */
export interface Clause {
  /** As tests cite it: `MQTT5-3.1.4-3`, and `MQTT-3.1.4-2` for 3.1.1, whose numbers mean other things. */
  readonly id: string;
  readonly binds: Bound;
  readonly words: string;
}

/** A statement without the prefix of its specification. */
export type ClauseRow = readonly [number: string, binds: Bound, words: string];

/** The statements of a specification that is cited with `prefix`. */
export function clausesOf(prefix: string, rows: readonly ClauseRow[]): Clause[] {
  return rows.map(([number, binds, words]) => ({ id: `${prefix}-${number}`, binds, words }));
}
