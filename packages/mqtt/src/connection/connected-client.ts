import type { ProtocolVersion } from '../codec/packet.ts';
import type { LiveSession } from '../delivery/live-session.ts';
import type { Peer } from '@robustmq/auth';

/** A client that has its session, as it is now. */
export interface ConnectedClient {
  /** Grows with each connection of the broker. */
  readonly number: number;
  readonly clientId: string;
  /** By its certificate, else the user name of its CONNECT; empty when there is none. */
  readonly user: string;
  readonly peer: Peer;
  readonly version: ProtocolVersion;
  /** What both go by; 0: none. */
  readonly keepAliveSeconds: number;
  /** 0xffffffff: for ever. */
  readonly sessionExpirySeconds: number;
  readonly connectedSinceMs: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly session: LiveSession;
}
