import type { Socket } from 'node:net';

import type { PeerCertificate } from '@robustmq/auth';
import type { Place } from './gate.ts';
import type { RefusalReason } from './refusals.ts';

/** A connection on its way through the door. */
export interface Arrival {
  /** As it was accepted. */
  readonly socket: Socket;
  /** Undefined when there was none: it is let in as far as its CONNECT, to be told so. */
  readonly place: Place | undefined;
  /** Why it will be refused once its CONNECT is there. */
  refusal: RefusalReason | undefined;
  /** Of the client; at first that of the socket. */
  address: string;
  port: number;
  certificate: PeerCertificate | undefined;
}
