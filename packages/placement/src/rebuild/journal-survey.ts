import { OperatingError, toOperatingError } from '@robustmq/core';
import {
  type Authority,
  CatalogCopy,
  type FenceResult,
  type FenceSegment,
  journalControlMethods,
  type ReplicaSummary,
  refusalOf,
  type RpcClient,
  type Transport,
} from '@robustmq/rpc';
import type { KeptCopy } from '../core/rebuild/rebuild-plan.ts';

/** A journal that answered. */
export interface SurveyedJournal {
  readonly nodeId: string;
  readonly address: string;
  readonly client: RpcClient;
  /** Highest placement epoch that it has seen. */
  readonly placementEpoch: number;
  readonly clusterId: string;
  /** The disk that it is started from now. */
  readonly diskUuid: string;
  /** Its copy of the catalog; undefined when it keeps none. */
  readonly kept: KeptCopy | undefined;
}

const askTimeoutMs = 5_000;
/** Segments of one order, as the contract says. */
const segmentsMax = 1_000;

/** The journals of a cluster without a placement, found from a few of them by the copies that they keep. */
export class JournalSurvey implements AsyncDisposable {
  readonly #transport: Transport;
  readonly #journals = new Map<string, SurveyedJournal>();
  readonly #asked = new Set<string>();
  /** Why journals that a copy names could not be asked, by node. */
  readonly #away = new Map<string, string>();

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** By node. */
  get journals(): ReadonlyMap<string, SurveyedJournal> {
    return this.#journals;
  }

  /** Journals that the newest copy names and that could not be asked, with why not. */
  get away(): ReadonlyMap<string, string> {
    return this.#away;
  }

  /**
   * Asks these addresses and all that the copies name. Throws when one of the given does not answer, and
   * ALREADY_EXISTS when two have the same name.
   */
  async ask(addresses: readonly string[]): Promise<void> {
    for (const address of addresses) await this.#askGiven(address);
    for (;;) {
      const unasked = this.#named().filter(({ address }) => !this.#asked.has(address));
      if (unasked.length === 0) break;
      for (const { nodeId, address } of unasked) await this.#askNamed(nodeId, address);
    }
    for (const { nodeId, address } of this.#named()) {
      if (this.#journals.has(nodeId) || this.#away.has(nodeId)) continue;
      this.#away.set(nodeId, `${address} answers as another`);
    }
  }

  /** The newest copy that any journal keeps. */
  get newest(): KeptCopy | undefined {
    const kept = [...this.#journals.values()].flatMap((journal) => journal.kept ?? []);
    return kept.toSorted((a, b) => b.revision - a.revision)[0];
  }

  /**
   * Whether all that a journal ever had is asked for: it answers, from the disk that the newest copy names, or
   * was removed, which it is only once others have all of it.
   */
  isWhole(nodeId: string): boolean {
    const removed = this.newest?.copy.removedNodes ?? [];
    if (removed.some(({ node }) => node?.nodeId === nodeId)) return true;
    const named = this.newest?.copy.journals.find((journal) => journal.nodeId === nodeId);
    return this.#journals.get(nodeId)?.diskUuid === named?.diskUuid && named !== undefined;
  }

  #named(): readonly { nodeId: string; address: string }[] {
    return this.newest?.copy.journals ?? [];
  }

  async #askGiven(address: string): Promise<void> {
    try {
      await this.#askOne(address);
    } catch (thrown) {
      const error = toOperatingError(thrown);
      if (error.code !== 'UNAVAILABLE') throw error;
      const message = `no journal answers at ${address}; is it running?`;
      throw new OperatingError('UNAVAILABLE', message);
    }
  }

  async #askNamed(nodeId: string, address: string): Promise<void> {
    try {
      await this.#askOne(address);
    } catch (thrown) {
      const error = toOperatingError(thrown);
      if (error.code === 'ALREADY_EXISTS') throw error;
      const isAway = error.code === 'UNAVAILABLE';
      this.#away.set(nodeId, isAway ? `no answer at ${address}` : error.message);
    }
  }

  async #askOne(address: string): Promise<void> {
    if (this.#asked.has(address)) return;
    this.#asked.add(address);
    const client = this.#transport.connect(address, 'control');
    try {
      const timeout = { timeoutMs: askTimeoutMs };
      const answer = await client.call(journalControlMethods.readCatalog, {}, timeout);
      const { nodeId, clusterId, placementEpoch, diskUuid, copyEpoch, revision, copy } = answer;
      const same = this.#journals.get(nodeId);
      if (same !== undefined) {
        const message = `${address} and ${same.address} are both ${nodeId}: name each journal once`;
        throw new OperatingError('ALREADY_EXISTS', message);
      }
      const kept = copyEpoch === 0 ? undefined : { revision, copy: CatalogCopy.decode(copy) };
      const told = { nodeId, clusterId, placementEpoch, diskUuid };
      this.#journals.set(nodeId, { ...told, address, client, kept });
    } catch (thrown) {
      await client[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const clients = [...this.#journals.values()].map(({ client }) => client);
    await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
  }
}

/** All replicas of a journal. From then on it refuses placements of a lower epoch. */
export function inventoryOf(
  { client }: SurveyedJournal,
  authority: Authority,
): Promise<ReplicaSummary[]> {
  const replicas: ReplicaSummary[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<ReplicaSummary[]>();
  const stream = client.open(journalControlMethods.inventory, {
    message: (step) => {
      replicas.push(...step.replicas);
    },
    closed: (error) => (error === undefined ? resolve(replicas) : reject(error)),
  });
  stream.send({ authority });
  stream.end();
  return promise;
}

/** Fences replicas at a journal, and tells what each has, in order. */
export async function fenceAt(
  { client }: SurveyedJournal,
  authority: Authority,
  segments: readonly FenceSegment[],
): Promise<FenceResult[]> {
  const results: FenceResult[] = [];
  for (let at = 0; at < segments.length; at += segmentsMax) {
    const batch = segments.slice(at, at + segmentsMax);
    const request = { authority, segments: batch, order: 0 };
    const answer = await client.call(journalControlMethods.fence, request);
    const refusal = refusalOf(answer.status);
    if (refusal !== undefined) throw refusal;
    results.push(...answer.results);
  }
  return results;
}
