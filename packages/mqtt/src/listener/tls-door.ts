import type { Socket } from 'node:net';
import { createSecureContext, createServer, type Server, type TLSSocket } from 'node:tls';

import type { Arrival } from './arrival.ts';
import type { PeerCertificate } from '@robustmq/auth';
import type { ListenerTls, ServerCertificate, ServerCertificates } from './listener-options.ts';
import type { RefusalReason } from './refusals.ts';

/** What becomes of those who come to the TLS door. */
export interface TlsDoorEvents {
  secured(arrival: Arrival, socket: TLSSocket): void;
  /** Nothing more comes of this one; its socket is closed. */
  refused(reason: RefusalReason, detail: Readonly<Record<string, unknown>>): void;
}

const minVersion = 'TLSv1.2';
const noCertificate = 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE';

/** Makes TLS of accepted sockets, in place: the socket's handle is wrapped, and nothing copied. */
export class TlsDoor {
  readonly #server: Server;
  readonly #events: TlsDoorEvents;
  /** By the addresses of both ends: what the server hands out knows no more of the socket it began with. */
  readonly #arrivals = new Map<string, Arrival>();
  #contexts: readonly SniContext[];

  constructor(tls: ListenerTls, events: TlsDoorEvents) {
    this.#events = events;
    this.#contexts = contextsOf(tls.current);
    this.#server = createServer({
      ...optionsOf(tls.current[0]),
      requestCert: tls.clientCertificate !== 'none',
      rejectUnauthorized: tls.clientCertificate === 'required',
      SNICallback: (name, answer) => answer(null, this.#contextFor(name)),
    });
    this.#server.on('secureConnection', (socket) => this.#secured(socket));
    this.#server.on('tlsClientError', (error, socket) => this.#failed(error, socket));
    tls.onReplaced((next) => {
      this.#contexts = contextsOf(next);
      this.#server.setSecureContext(optionsOf(next[0]));
    });
  }

  take(arrival: Arrival): void {
    const { socket } = arrival;
    const key = endsOf(socket);
    this.#arrivals.set(key, arrival);
    socket.once('close', () => {
      if (this.#arrivals.get(key) === arrival) this.#arrivals.delete(key);
    });
    this.#server.emit('connection', socket);
  }

  /** Undefined: the first certificate. */
  #contextFor(name: string): SniContext['context'] | undefined {
    return this.#contexts.find(({ certificate }) => certificate.checkHost(name) !== undefined)
      ?.context;
  }

  #secured(socket: TLSSocket): void {
    const key = endsOf(socket);
    const arrival = this.#arrivals.get(key);
    this.#arrivals.delete(key);
    const certificate = certificateOf(socket);
    if (certificate !== undefined && !socket.authorized) {
      const error = String(socket.authorizationError);
      this.#events.refused('client_certificate', { address: socket.remoteAddress, error });
      socket.destroy();
    } else if (arrival === undefined) {
      // It has gone already.
      socket.destroy();
    } else {
      if (certificate !== undefined) arrival.certificate = certificate;
      this.#events.secured(arrival, socket);
    }
  }

  #failed(error: NodeJS.ErrnoException, socket: TLSSocket): void {
    // Written when the certificate was refused, and typed as if it always were.
    const unauthorized = socket.authorizationError as Error | string | null | undefined;
    const isCertificate = error.code === noCertificate || Boolean(unauthorized);
    // Whoever has only looked whether the port is open.
    if (error.code === 'ECONNRESET' && !isCertificate) return;
    const detail = { error: isCertificate && unauthorized ? String(unauthorized) : error.message };
    this.#events.refused(isCertificate ? 'client_certificate' : 'tls', detail);
  }
}

interface SniContext {
  readonly certificate: ServerCertificate['certificate'];
  readonly context: ReturnType<typeof createSecureContext>;
}

function contextsOf(certificates: ServerCertificates): SniContext[] {
  return certificates.map((each) => ({
    certificate: each.certificate,
    context: createSecureContext(optionsOf(each)),
  }));
}

function optionsOf({ contextOptions }: ServerCertificate): ServerCertificate['contextOptions'] {
  return { ...contextOptions, minVersion };
}

function endsOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}

function certificateOf(socket: TLSSocket): PeerCertificate | undefined {
  if (socket.getPeerX509Certificate() === undefined) return undefined;
  const { subject, subjectaltname } = socket.getPeerCertificate();
  const commonName = subject?.CN;
  return {
    commonName: typeof commonName === 'string' ? commonName : undefined,
    subjectAltName: subjectaltname,
  };
}
