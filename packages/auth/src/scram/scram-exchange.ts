import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

import { prepared } from './saslprep.ts';
import { digestNameOf, type ScramKeys, type ScramMechanism } from './scram-keys.ts';

/** Why an exchange failed. Only for the log: the client is told nothing but that it failed. */
export interface ScramFailure {
  readonly kind: 'failed';
  readonly reason: string;
}

type State =
  | { readonly kind: 'begun' }
  | { readonly kind: 'named'; readonly gs2: string; readonly bare: string; readonly nonce: string }
  | {
      readonly kind: 'challenged';
      readonly gs2: string;
      readonly nonce: string;
      /** What is signed, up to the client's last message. */
      readonly signed: string;
      readonly keys: ScramKeys;
    }
  | { readonly kind: 'over' };

const printable = /^[\x21-\x2b\x2d-\x7e]+$/;

/**
 * The server's side of one SCRAM exchange: begun → named → challenged → over. A call in another state
 * fails. [RFC 5802, RFC 7677]
 */
export class ScramExchange {
  readonly #mechanism: ScramMechanism;
  readonly #ownNonce: string;
  #state: State = { kind: 'begun' };

  /** `ownNonce`: the server's part, printable and fresh. */
  constructor(mechanism: ScramMechanism, ownNonce: string) {
    this.#mechanism = mechanism;
    this.#ownNonce = ownNonce;
  }

  /** Takes the client's first message and says who it claims to be. */
  begin(message: string): { readonly kind: 'named'; readonly userName: string } | ScramFailure {
    if (this.#state.kind !== 'begun') return this.#fail('a first message twice');
    const found = /^([ny]|p=[^,]*),(?:a=([^,]*))?,(.*)$/s.exec(message);
    if (found === null) return this.#fail('no client-first-message');
    const [, binding = '', authorization, bare = ''] = found;
    if (binding.startsWith('p')) return this.#fail('channel binding is not offered');
    const parts = /^n=([^,]*),r=([^,]*)(?:,.*)?$/s.exec(bare);
    // Also when it begins with m=, an extension that would have to be understood.
    if (parts === null) return this.#fail('no user name and nonce');
    const [, saslName = '', nonce = ''] = parts;
    if (!printable.test(nonce)) return this.#fail('a nonce that is not printable');
    const userName = nameOf(saslName);
    if (userName === undefined) return this.#fail('a user name that SCRAM cannot spell');
    if (authorization !== undefined && nameOf(authorization) !== userName) {
      return this.#fail('an authorization identity other than the user');
    }
    const gs2 = message.slice(0, message.length - bare.length);
    this.#state = { kind: 'named', gs2, bare, nonce: nonce + this.#ownNonce };
    return { kind: 'named', userName };
  }

  /** The server's first message. */
  challenge(keys: ScramKeys): string {
    const state = this.#state;
    if (state.kind !== 'named') return '';
    const { gs2, bare, nonce } = state;
    const message = `r=${nonce},s=${keys.salt.toString('base64')},i=${keys.iterations}`;
    this.#state = { kind: 'challenged', gs2, nonce, signed: `${bare},${message}`, keys };
    return message;
  }

  /** Takes the client's final message; gives the server's. */
  finish(message: string): { readonly kind: 'proven'; readonly message: string } | ScramFailure {
    const state = this.#state;
    if (state.kind !== 'challenged') return this.#fail('a final message before the challenge');
    this.#state = { kind: 'over' };
    const found = /^(c=([^,]*),r=([^,]*)(?:,.*)?),p=([A-Za-z0-9+/=]+)$/s.exec(message);
    if (found === null) return this.#fail('no client-final-message');
    const [, withoutProof = '', binding = '', nonce = '', proof = ''] = found;
    if (binding !== Buffer.from(state.gs2).toString('base64')) {
      return this.#fail('another channel binding than at first');
    }
    if (nonce !== state.nonce) return this.#fail('another nonce');
    const signed = `${state.signed},${withoutProof}`;
    if (!this.#isProof(state.keys, signed, Buffer.from(proof, 'base64'))) {
      return this.#fail('a wrong password');
    }
    const signature = createHmac(digestNameOf(this.#mechanism), state.keys.serverKey)
      .update(signed)
      .digest('base64');
    return { kind: 'proven', message: `v=${signature}` };
  }

  #isProof({ storedKey }: ScramKeys, signed: string, proof: Buffer): boolean {
    const digest = digestNameOf(this.#mechanism);
    const signature = createHmac(digest, storedKey).update(signed).digest();
    if (proof.length !== signature.length) return false;
    const clientKey = Buffer.from(signature.map((byte, at) => byte ^ (proof[at] ?? 0)));
    return timingSafeEqual(createHash(digest).update(clientKey).digest(), storedKey);
  }

  #fail(reason: string): ScramFailure {
    this.#state = { kind: 'over' };
    return { kind: 'failed', reason };
  }
}

/** A `saslname`: `=2C` is a comma, `=3D` an equals sign, and no other `=` stands in it. */
function nameOf(saslName: string): string | undefined {
  if (saslName.replaceAll(/=2C|=3D/g, '').includes('=')) return undefined;
  return prepared(saslName.replaceAll('=2C', ',').replaceAll('=3D', '='));
}
