import { errorCodeOf } from '@robustmq/core';
import {
  type AppendEntry,
  type AppendRequest,
  type AppendResult,
  Isolation,
  journalBrokerMethods,
  type MessageStream,
  type ReadRequest,
  type ReadResponse,
  type RpcClient,
  type Status,
  type TailChunk,
  type TailOpen,
  type TailRequest,
} from '@robustmq/rpc';
import { until } from './node.fixture.ts';

/** The code of a status; OK when there is none. */
export function codeOf(status: Status | undefined): string {
  return status === undefined || status.code === 0 ? 'OK' : errorCodeOf(status.code);
}

/** A broker's Append stream that keeps what it was told. */
export class AppendClient {
  readonly results = new Map<number, AppendResult>();
  /** Append ids in the order of their answers. */
  readonly order: number[] = [];
  readonly stream: MessageStream<AppendRequest>;
  creditBytes = 0;
  responses = 0;

  constructor(client: RpcClient) {
    this.stream = client.open(journalBrokerMethods.append, {
      message: ({ results, creditBytes }) => {
        this.responses++;
        this.creditBytes += creditBytes;
        for (const result of results) {
          this.results.set(result.appendId, result);
          this.order.push(result.appendId);
        }
      },
      closed: () => {},
    });
  }

  send(...entries: AppendEntry[]): void {
    this.stream.send({ entries });
  }

  answer({ appendId }: AppendEntry): Promise<AppendResult> {
    return until(() => this.results.get(appendId));
  }

  /** Sends entries at once and waits for all: the code of each. */
  async codes(...entries: AppendEntry[]): Promise<string[]> {
    this.send(...entries);
    const results = await Promise.all(entries.map((one) => this.answer(one)));
    return results.map(({ status }) => codeOf(status));
  }

  /** Sends one and gives its offset. Throws the code when it was refused. */
  async offset(one: AppendEntry): Promise<number> {
    this.send(one);
    const { status, baseOffset } = await this.answer(one);
    if (codeOf(status) !== 'OK') throw new Error(codeOf(status));
    return baseOffset;
  }
}

/** A broker's Read stream. */
export class ReadClient {
  readonly answers = new Map<number, ReadResponse>();
  readonly stream: MessageStream<ReadRequest>;
  #lastId = 0;

  constructor(client: RpcClient) {
    this.stream = client.open(journalBrokerMethods.read, {
      message: (response) => {
        this.answers.set(response.readId, response);
      },
      closed: () => {},
    });
  }

  /** Sends a read; its id. */
  ask(shardId: number, fromOffset: number, change: Partial<ReadRequest> = {}): number {
    const readId = ++this.#lastId;
    this.stream.send({
      readId,
      shardId,
      fromOffset,
      bytesMax: 65_536,
      waitMs: 0,
      isolation: Isolation.READ_UNCOMMITTED,
      filterTokens: [],
      scanBytesMax: 0,
      generation: 0,
      cancel: false,
      expectedEpoch: 0,
      ...change,
    });
    return readId;
  }

  answer(readId: number): Promise<ReadResponse> {
    return until(() => this.answers.get(readId));
  }

  read(
    shardId: number,
    fromOffset: number,
    change: Partial<ReadRequest> = {},
  ): Promise<ReadResponse> {
    return this.answer(this.ask(shardId, fromOffset, change));
  }
}

/** A broker's Tail stream. */
export class TailClient {
  readonly chunks: TailChunk[] = [];
  readonly stream: MessageStream<TailRequest>;
  messages = 0;

  constructor(client: RpcClient) {
    this.stream = client.open(journalBrokerMethods.tail, {
      message: ({ chunks }) => {
        this.messages++;
        this.chunks.push(...chunks);
      },
      closed: () => {},
    });
  }

  open(
    tailId: number,
    shardId: number,
    fromOffset: number,
    creditBytes = 1_000_000,
    change: Partial<TailOpen> = {},
  ): void {
    const isolation = Isolation.READ_UNCOMMITTED;
    const open = {
      tailId,
      shardId,
      fromOffset,
      isolation,
      filterTokens: [],
      expectedEpoch: 0,
      ...change,
    };
    this.stream.send({ opens: [open], closes: [], creditBytes });
  }

  credit(creditBytes: number): void {
    this.stream.send({ opens: [], closes: [], creditBytes });
  }

  close(tailId: number): void {
    this.stream.send({ opens: [], closes: [{ tailId }], creditBytes: 0 });
  }

  of(tailId: number): TailChunk[] {
    return this.chunks.filter((chunk) => chunk.tailId === tailId);
  }

  frames(tailId: number): Buffer {
    return Buffer.concat(this.of(tailId).map(({ frames }) => frames));
  }

  last(tailId: number): TailChunk | undefined {
    return this.of(tailId).at(-1);
  }

  /** Waits until a tail stands at an offset. */
  reached(tailId: number, offset: number): Promise<TailChunk> {
    return until(() => {
      const last = this.last(tailId);
      return last !== undefined && last.nextOffset >= offset && last;
    });
  }
}
