import type { Identity, Principal } from './principal.ts';

/** It should decide and cannot now. */
export interface Unavailable {
  readonly kind: 'unavailable';
  /** Too many wait; else something is away. */
  readonly busy: boolean;
  readonly reason: string;
}

/** What a member of the chain says of a login (packages/auth/DESIGN.md, "A login"). */
export type Verdict =
  | { readonly kind: 'allow'; readonly identity: Identity }
  | { readonly kind: 'deny'; readonly reason: string }
  | { readonly kind: 'ignore' }
  | Unavailable;

/** How a login ends. */
export type LoginResult =
  | { readonly kind: 'admitted'; readonly principal: Principal }
  /** `credentials`: it gave some, and they are wrong; else it gave none and had to. */
  | { readonly kind: 'denied'; readonly credentials: boolean; readonly reason: string }
  | { readonly kind: 'banned'; readonly reason: string }
  | Unavailable;

export type Refusal = Exclude<LoginResult, { readonly kind: 'admitted' }>;

export const ignore: Verdict = { kind: 'ignore' };

export function allow(identity: Identity): Verdict {
  return { kind: 'allow', identity };
}

export function deny(reason: string): Verdict {
  return { kind: 'deny', reason };
}

export function unavailable(reason: string): Unavailable {
  return { kind: 'unavailable', busy: false, reason };
}

export function busy(reason: string): Unavailable {
  return { kind: 'unavailable', busy: true, reason };
}
