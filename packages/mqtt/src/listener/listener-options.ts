import type { X509Certificate } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';

import type { MqttLimits } from '../server/mqtt-limits.ts';
import type { CertificateIdentity } from './client-peer.ts';

/** How MQTT is carried: over TCP or WebSocket, each with TLS or without. */
export type ListenerKind = 'mqtt' | 'mqtts' | 'ws' | 'wss';

/** Limits that a listener may have of its own; the broker's are for the others. */
export type ListenerLimits = Pick<
  MqttLimits,
  | 'connectionsMax'
  | 'connectsPerSecondMax'
  | 'connectionsPerAddressMax'
  | 'connectTimeoutMs'
  | 'packetBytesMax'
  | 'receiveMaximum'
  | 'keepAliveSecondsMax'
  | 'topicAliasMaximum'
  | 'sessionExpirySecondsMax'
>;

/** A certificate with its key. */
export interface ServerCertificate {
  readonly certificate: X509Certificate;
  readonly contextOptions: SecureContextOptions;
}

/** What a TLS listener shows its clients, the first where the client names no host or an unknown one. */
export type ServerCertificates = readonly [ServerCertificate, ...ServerCertificate[]];

export interface ListenerTls {
  readonly current: ServerCertificates;
  /** New connections use what is told. */
  onReplaced(tell: (next: ServerCertificates) => void): void;
  /** What is asked of clients: nothing, a certificate if they have one, or one in any case. */
  readonly clientCertificate: 'none' | 'optional' | 'required';
}

export interface MqttListenerOptions {
  /** Unique in the broker. */
  readonly name: string;
  readonly kind: ListenerKind;
  /** HOST:PORT; port 0 takes a free one. */
  readonly listen: string;
  /** HOST or HOST:PORT that the catalog shows instead. */
  readonly advertise?: string | undefined;
  readonly limits?: Partial<ListenerLimits>;
  /** Of `mqtts` and `wss`. */
  readonly tls?: ListenerTls | undefined;
  /** Of `ws` and `wss`: where the upgrade is served; `/mqtt` when absent. */
  readonly path?: string | undefined;
  /** Of `ws` and `wss`: origins of pages that may connect; undefined: all. Clients that send none may. */
  readonly origins?: readonly string[] | undefined;
  /** Networks whose connections begin with a PROXY header, and nobody else's are taken. */
  readonly proxyNetworks?: readonly string[] | undefined;
  /** The user name that a client's certificate gives. */
  readonly identity?: CertificateIdentity | undefined;
  /** `certificate`: only clients whose certificate gives a user name. */
  readonly authentication?: 'anonymous' | 'certificate' | undefined;
}
