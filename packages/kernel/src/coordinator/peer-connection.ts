import { OperatingError, TurnTask } from '@robustmq/core';
import {
  brokerPeerMethods,
  type CoordinateRequest,
  type CoordinateResponse,
  type CoordinatorCall,
  type CoordinatorNotice,
  type MessageStream,
  refusalOf,
  type RpcClient,
} from '@robustmq/rpc';
import type { Caller, Reply } from './state-machine.ts';

export interface PeerConnectionOptions {
  readonly client: RpcClient;
  readonly self: Caller;
  readonly notice: (notice: CoordinatorNotice) => void;
  /** The stream is over; every call was told UNAVAILABLE. */
  readonly closed: (error: OperatingError) => void;
}

/** Payloads of one message; a single larger call travels alone. */
const messageBytesMax = 4 * 1024 * 1024;

/** The stream of this broker's calls to another one: all calls of a turn in one message. */
export class PeerConnection {
  readonly #options: PeerConnectionOptions;
  readonly #stream: MessageStream<CoordinateRequest>;
  readonly #turn = new TurnTask(() => this.#flush());
  /** Calls that were sent and have no answer, by id. */
  readonly #calls = new Map<number, Reply>();
  #queue: CoordinatorCall[] = [];
  #nextCallId = 1;
  #isFirst = true;
  #isBlocked = false;
  #isClosed = false;

  constructor(options: PeerConnectionOptions) {
    this.#options = options;
    this.#stream = options.client.open(brokerPeerMethods.coordinate, {
      message: (message) => this.#received(message),
      drain: () => {
        this.#isBlocked = false;
        this.#flush();
      },
      closed: (error) => this.#closed(error),
    });
    this.#turn.schedule(); // Says who is here, so that notices find the way.
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * Sends a call at the end of the turn. Calls are carried out in the order of their sending. An error
   * says that it was not taken: `reply` is not called then.
   */
  call(
    to: { readonly kind: string; readonly index: number },
    payload: Buffer,
    reply: Reply,
  ): OperatingError | undefined {
    if (this.#isClosed) return new OperatingError('UNAVAILABLE', 'the broker was lost');
    const callId = this.#nextCallId++;
    this.#calls.set(callId, reply);
    this.#queue.push({ callId, kind: to.kind, index: to.index, payload });
    this.#turn.schedule();
    return undefined;
  }

  close(): void {
    this.#stream.cancel();
    this.#closed(undefined);
  }

  #flush(): void {
    if (this.#isClosed) return;
    let at = 0;
    while (!this.#isBlocked && (at < this.#queue.length || this.#isFirst)) {
      const end = messageEnd(this.#queue, at);
      const { nodeId, incarnation } = this.#options.self;
      const calls = this.#queue.slice(at, end);
      const request = this.#isFirst
        ? { nodeId, incarnation, calls }
        : { nodeId: '', incarnation: 0, calls };
      this.#isFirst = false;
      at = end;
      this.#isBlocked = !this.#stream.send(request);
    }
    this.#queue = this.#queue.slice(at);
  }

  #received({ replies, notices }: CoordinateResponse): void {
    for (const { callId, status, payload } of replies) {
      const reply = this.#calls.get(callId);
      this.#calls.delete(callId);
      const refusal = refusalOf(status);
      if (refusal === undefined) reply?.ok(payload);
      else reply?.fail(refusal);
    }
    for (const notice of notices) this.#options.notice(notice);
  }

  #closed(error: OperatingError | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const why =
      error ?? new OperatingError('UNAVAILABLE', 'the broker has ended the stream of calls');
    const calls = [...this.#calls.values()];
    this.#calls.clear();
    this.#queue = [];
    for (const reply of calls) reply.fail(unavailable(why));
    this.#options.closed(why);
  }
}

function messageEnd(queue: readonly CoordinatorCall[], start: number): number {
  let bytes = 0;
  for (let at = start; at < queue.length; at++) {
    bytes += queue[at]?.payload.length ?? 0;
    if (bytes > messageBytesMax && at > start) return at;
  }
  return queue.length;
}

/** Whatever ended the stream: the call has no answer, and is made again. */
function unavailable(error: OperatingError): OperatingError {
  return new OperatingError('UNAVAILABLE', `the broker was lost: ${error.message}`, error.hint);
}
