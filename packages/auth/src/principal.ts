import type { AccessRule } from './rules/access-rule.ts';

/** What a TLS client has shown of itself; the listener has verified it. */
export interface PeerCertificate {
  /** Undefined when it has none, or more than one. */
  readonly commonName: string | undefined;
  /** As `node:tls` writes it: `DNS:device-1, URI:urn:x`. */
  readonly subjectAltName: string | undefined;
}

/** The other end of a connection. */
export interface Peer {
  /** IP address of the client itself, also behind a proxy that tells it. */
  readonly address: string;
  readonly port: number;
  readonly certificate?: PeerCertificate | undefined;
  /** Name of the listener that it came through. */
  readonly listener: string;
}

/** What a client gives to be let in. */
export interface Login {
  readonly peer: Peer;
  readonly clientId: string;
  readonly userName: string | undefined;
  readonly password: Buffer | undefined;
}

/** Whom a member of the chain vouches for. */
export interface Identity {
  readonly userName: string;
  readonly groups: readonly string[];
  readonly superuser: boolean;
  /** Rules that came with the credentials, for this principal alone. */
  readonly rules: readonly AccessRule[];
  /** What {@link rules} and the others do not decide is denied, whatever the default is. */
  readonly whitelist: boolean;
  /** Milliseconds since 1970; undefined: does not expire. */
  readonly expiresAtMs: number | undefined;
  /** Which credentials of the user store these were; undefined: they are not from there. */
  readonly credentialsId: string | undefined;
}

/** Who is connected. Without {@link Identity}: anonymous. */
export interface Principal {
  readonly identity: Identity | undefined;
  readonly clientId: string;
  readonly address: string;
  readonly commonName: string | undefined;
}

const mappedPrefix = '::ffff:';

/** An address as rules, bans and logs write it: an IPv4 address in IPv6 form is an IPv4 address. */
export function plainAddress(address: string): string {
  const isMapped = address.toLowerCase().startsWith(mappedPrefix) && address.includes('.');
  return isMapped ? address.slice(mappedPrefix.length) : address;
}

export function principalOf(
  { peer, clientId }: Pick<Login, 'peer' | 'clientId'>,
  identity: Identity | undefined,
): Principal {
  return {
    identity,
    clientId,
    address: plainAddress(peer.address),
    commonName: peer.certificate?.commonName,
  };
}

/** An identity that is a name and nothing more. */
export function identityOf(userName: string, more: Partial<Identity> = {}): Identity {
  return {
    userName,
    groups: [],
    superuser: false,
    rules: [],
    whitelist: false,
    expiresAtMs: undefined,
    credentialsId: undefined,
    ...more,
  };
}
