import { type Clock, type OperatingError, toOperatingError } from '@robustmq/core';
import {
  journalBrokerMethods,
  type ListOffsetsResponse,
  type OffsetQuery,
  type RpcClient,
  type Transport,
} from '@robustmq/rpc';
import { AppendStream } from './append-stream.ts';
import type { JournalPlacement } from './client-context.ts';
import type { ClientLimits } from './client-limits.ts';
import type { ClientTurn } from './client-turn.ts';
import type { JournalPlace } from './leader-route.ts';
import { ReadStream } from './read-stream.ts';
import { TailStream } from './tail-stream.ts';

export interface ConnectionOptions {
  readonly transport: Transport;
  readonly placement: Pick<JournalPlacement, 'reportUnreachable'>;
  readonly clock: Clock;
  readonly turn: ClientTurn;
  readonly limits: ClientLimits;
}

/** The streams to one journal. */
export interface JournalConnection {
  readonly appends: AppendStream;
  readonly reads: ReadStream;
  readonly tails: TailStream;
  /** At most 1,000 queries. Rejects with UNAVAILABLE, or INDETERMINATE after the limit's time. */
  listOffsets(queries: OffsetQuery[]): Promise<ListOffsetsResponse>;
  /** Appends get no answer: if the journal gives none at all, placement is told. */
  check(): void;
}

interface Connected extends JournalConnection {
  readonly client: RpcClient;
  place: JournalPlace;
  reportedAtMs: number;
  isChecking: boolean;
}

/** A lost journal is told to placement at most so often. */
const reportEveryMs = 200;

/** One connection to each journal that is used, by its address; it connects and comes back by itself. */
export class JournalConnections implements AsyncDisposable {
  readonly #options: ConnectionOptions;
  readonly #byAddress = new Map<string, Connected>();
  #disposed = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  get(place: JournalPlace): JournalConnection {
    const known = this.#byAddress.get(place.address);
    if (known !== undefined) {
      // A journal that was started anew gets a new connection: the old one may still wait before it tries.
      if (known.place.incarnation >= place.incarnation) {
        return known;
      }
      void this.drop(place.address);
    }
    const connected = this.#connect(place);
    this.#byAddress.set(place.address, connected);
    return connected;
  }

  /** Closes the connection to an address that no journal has any more; its users are told. */
  async drop(address: string): Promise<void> {
    const connected = this.#byAddress.get(address);
    if (connected === undefined) return;
    this.#byAddress.delete(address);
    closeStreams(connected);
    await connected.client[Symbol.asyncDispose]();
  }

  /** Closes all streams; their users are told. */
  close(): void {
    for (const connected of this.#byAddress.values()) closeStreams(connected);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    this.close();
    const clients = [...this.#byAddress.values()].map(({ client }) => client);
    this.#byAddress.clear();
    await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
  }

  #connect(place: JournalPlace): Connected {
    const { transport, turn, limits } = this.#options;
    const client = transport.connect(place.address, 'bulk');
    // Who asks still is told CANCELLED; a connection that nobody closes would keep the process alive.
    if (this.#disposed) void client[Symbol.asyncDispose]();
    const onLost = (error: OperatingError): void => this.#onLost(connected, error);
    const connected: Connected = {
      client,
      place,
      reportedAtMs: Number.NEGATIVE_INFINITY,
      isChecking: false,
      check: () => void this.#check(connected),
      appends: new AppendStream(client, turn, limits.requestBytesMax, onLost),
      reads: new ReadStream(client, onLost),
      tails: new TailStream(client, turn, limits.tailCreditBytes, onLost),
      listOffsets: (queries) =>
        client.call(
          journalBrokerMethods.listOffsets,
          { queries },
          { timeoutMs: limits.askPlacementAfterMs },
        ),
    };
    return connected;
  }

  /** A leader that waits for its followers answers this; one that is cut off from here does not. */
  async #check(connected: Connected): Promise<void> {
    if (connected.isChecking) return;
    connected.isChecking = true;
    try {
      await connected.listOffsets([]);
    } catch (thrown) {
      const { code } = toOperatingError(thrown);
      const { nodeId, incarnation } = connected.place;
      if (code === 'INDETERMINATE' || code === 'UNAVAILABLE') {
        void this.#options.placement.reportUnreachable(nodeId, incarnation, true);
      }
    } finally {
      connected.isChecking = false;
    }
  }

  #onLost(connected: Connected, error: OperatingError): void {
    const nowMs = this.#options.clock.monotonicMs();
    if (error.code !== 'UNAVAILABLE' || nowMs - connected.reportedAtMs < reportEveryMs) return;
    connected.reportedAtMs = nowMs;
    const { nodeId, incarnation } = connected.place;
    void this.#options.placement.reportUnreachable(nodeId, incarnation);
  }
}

function closeStreams({ appends, reads, tails }: JournalConnection): void {
  appends.close();
  reads.close();
  tails.close();
}
