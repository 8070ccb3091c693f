/** Somebody who is not let in. */
export interface Ban {
  readonly kind: 'user' | 'client-id' | 'address';
  /** For an address also a CIDR. */
  readonly value: string;
  /** Milliseconds since 1970; undefined: for good. */
  readonly untilMs: number | undefined;
  readonly reason: string;
  /** Who has banned it. */
  readonly by: string;
}
