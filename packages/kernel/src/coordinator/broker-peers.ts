import type { Clock } from '@robustmq/core';
import type { CoordinatorNotice, RpcClient, Transport } from '@robustmq/rpc';
import type { CoordinatorCatalog } from './coordinator-host.ts';
import { PeerConnection } from './peer-connection.ts';
import type { Caller } from './state-machine.ts';

export interface BrokerPeersOptions {
  readonly catalog: Pick<CoordinatorCatalog, 'node'>;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly self: Caller;
  readonly notice: (notice: CoordinatorNotice) => void;
}

/** Pause before a broker is connected to again. */
const reconnectMs = 50;

interface Peer {
  readonly address: string;
  readonly incarnation: number;
  readonly client: RpcClient;
  connection: PeerConnection | undefined;
  notBeforeMs: number;
}

/** The connections to other brokers: one stream each, made when it is needed. */
export class BrokerPeers implements AsyncDisposable {
  readonly #options: BrokerPeersOptions;
  readonly #peers = new Map<string, Peer>();
  #disposed = false;

  constructor(options: BrokerPeersOptions) {
    this.#options = options;
  }

  /**
   * An open stream to the broker; undefined when it is not known, was lost a moment ago, or after the
   * end: a connection that nobody closes would keep the process alive.
   */
  connectionTo(nodeId: string): PeerConnection | undefined {
    if (this.#disposed) return undefined;
    const peer = this.#peer(nodeId);
    if (peer === undefined) return undefined;
    if (peer.connection?.isClosed === false) return peer.connection;
    if (peer.notBeforeMs > this.#options.clock.monotonicMs()) return undefined;
    const { self, notice, clock } = this.#options;
    peer.connection = new PeerConnection({
      client: peer.client,
      self,
      notice,
      closed: () => (peer.notBeforeMs = clock.monotonicMs() + reconnectMs),
    });
    return peer.connection;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    const peers = [...this.#peers.values()];
    this.#peers.clear();
    await Promise.all(peers.map(closePeer));
  }

  /** The peer as the catalog shows it now; one that has moved or was started anew is another one. */
  #peer(nodeId: string): Peer | undefined {
    const node = this.#options.catalog.node(nodeId);
    const known = this.#peers.get(nodeId);
    if (known !== undefined && known.address === node?.address) {
      if (known.incarnation === node.incarnation) return known;
    }
    if (known !== undefined) {
      this.#peers.delete(nodeId);
      void closePeer(known);
    }
    if (node === undefined || node.address === '') return undefined;
    const { address, incarnation } = node;
    const client = this.#options.transport.connect(address, 'bulk');
    const peer: Peer = { address, incarnation, client, connection: undefined, notBeforeMs: 0 };
    this.#peers.set(nodeId, peer);
    return peer;
  }
}

async function closePeer(peer: Peer): Promise<void> {
  peer.connection?.close();
  await peer.client[Symbol.asyncDispose]();
}
