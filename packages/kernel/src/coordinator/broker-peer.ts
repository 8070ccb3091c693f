import { type OperatingError, TurnTask } from '@robustmq/core';
import {
  brokerPeerMethods,
  type CoordinateRequest,
  type CoordinateResponse,
  type CoordinatorCall,
  type CoordinatorNotice,
  type CoordinatorReply,
  type MessageStream,
  type ServiceRegistry,
  type StreamHandlers,
  toStatus,
} from '@robustmq/rpc';
import type { CoordinatorHost, OutgoingNotice } from './coordinator-host.ts';
import type { Caller, Reply } from './state-machine.ts';

/** Payloads of one message; a single larger answer travels alone. */
const messageBytesMax = 4 * 1024 * 1024;
/** Notices that wait for a stream are dropped above so many bytes. */
const noticeBytesMax = 8 * 1024 * 1024;
const nothing: Buffer = Buffer.alloc(0);

/** What a broker's peers may use of its host. */
export type PeerHost = Pick<CoordinatorHost, 'self' | 'command' | 'onNotice'>;

/** Serves the calls that other brokers make to this broker's coordinators, and carries notices to them. */
export class BrokerPeer {
  readonly #host: PeerHost;
  /** The newest stream of each broker. */
  readonly #streams = new Map<string, PeerStream>();
  #onLocalNotice: (notice: OutgoingNotice) => void = () => {};

  constructor(host: PeerHost) {
    this.#host = host;
    host.onNotice((nodeId, notice) => this.#notify(nodeId, notice));
  }

  /** How notices reach this broker itself. */
  onLocalNotice(listener: (notice: OutgoingNotice) => void): void {
    this.#onLocalNotice = listener;
  }

  /** Adds the service to a server. */
  register(registry: ServiceRegistry): void {
    registry.unary(brokerPeerMethods.probe, () => ({ ...this.#host.self }));
    registry.stream(brokerPeerMethods.coordinate, (stream) => this.#accept(stream));
  }

  #notify(nodeId: string, notice: OutgoingNotice): void {
    if (nodeId === this.#host.self.nodeId) this.#onLocalNotice(notice);
    else this.#streams.get(nodeId)?.notify(notice);
  }

  #accept(stream: MessageStream<CoordinateResponse>): StreamHandlers<CoordinateRequest> {
    const peer = new PeerStream(stream, this.#host);
    return {
      message: (request) => {
        if (request.nodeId !== '') {
          peer.caller = { nodeId: request.nodeId, incarnation: request.incarnation };
          this.#streams.set(request.nodeId, peer);
        }
        peer.received(request.calls);
      },
      drain: () => peer.drained(),
      closed: () => {
        peer.close();
        if (this.#streams.get(peer.caller.nodeId) === peer) {
          this.#streams.delete(peer.caller.nodeId);
        }
      },
    };
  }
}

/** One broker's stream: the answers and notices of a turn in one message. */
class PeerStream {
  caller: Caller = { nodeId: '', incarnation: 0 };
  readonly #stream: MessageStream<CoordinateResponse>;
  readonly #host: PeerHost;
  readonly #turn = new TurnTask(() => this.#flush());
  #replies: CoordinatorReply[] = [];
  #notices: CoordinatorNotice[] = [];
  #noticeBytes = 0;
  #isBlocked = false;
  #isClosed = false;

  constructor(stream: MessageStream<CoordinateResponse>, host: PeerHost) {
    this.#stream = stream;
    this.#host = host;
  }

  /** Carries calls out in order; after a refusal the rest for that coordinator is refused as well. */
  received(calls: readonly CoordinatorCall[]): void {
    let refused: Map<string, OperatingError> | undefined;
    for (const call of calls) {
      const name = `${call.kind}/${call.index}`;
      const before = refused?.get(name);
      const refusal =
        before ?? this.#host.command(call, call.payload, this.caller, this.#sinkOf(call));
      if (refusal === undefined) continue;
      refused ??= new Map();
      refused.set(name, refusal);
      this.#reply(call.callId, nothing, refusal);
    }
  }

  notify({ kind, index, epoch, payload }: OutgoingNotice): void {
    if (this.#isClosed || this.#noticeBytes + payload.length > noticeBytesMax) return;
    this.#notices.push({ kind, index, epoch, payload });
    this.#noticeBytes += payload.length;
    this.#turn.schedule();
  }

  drained(): void {
    this.#isBlocked = false;
    this.#flush();
  }

  close(): void {
    this.#isClosed = true;
    this.#replies = [];
    this.#notices = [];
  }

  #sinkOf({ callId }: CoordinatorCall): Reply {
    return {
      ok: (payload) => this.#reply(callId, payload, undefined),
      fail: (error) => this.#reply(callId, nothing, error),
    };
  }

  #reply(callId: number, payload: Buffer, error: OperatingError | undefined): void {
    if (this.#isClosed) return;
    this.#replies.push({ callId, status: error && toStatus(error), payload });
    this.#turn.schedule();
  }

  #flush(): void {
    let at = 0;
    while (!this.#isClosed && !this.#isBlocked) {
      if (at === this.#replies.length && this.#notices.length === 0) break;
      const end = messageEnd(this.#replies, at);
      const notices = this.#notices;
      this.#notices = [];
      this.#noticeBytes = 0;
      this.#isBlocked = !this.#stream.send({ replies: this.#replies.slice(at, end), notices });
      at = end;
    }
    this.#replies = this.#replies.slice(at);
  }
}

function messageEnd(replies: readonly CoordinatorReply[], start: number): number {
  let bytes = 0;
  for (let at = start; at < replies.length; at++) {
    bytes += replies[at]?.payload.length ?? 0;
    if (bytes > messageBytesMax && at > start) return at;
  }
  return replies.length;
}
