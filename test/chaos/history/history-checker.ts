import { type ViolationKind, Violations } from '../../history/violations.ts';
import { SequenceSet } from './sequence-set.ts';

/** One message: publishers number theirs from 0 in each topic, in the order in which they send them. */
export interface MessageName {
  readonly publisher: string;
  readonly topic: string;
  readonly sequence: number;
}

/** What clients saw, in the order in which each of them saw it. */
export type HistoryEvent =
  /** Told before the first byte leaves. */
  | ({ readonly kind: 'sent'; readonly qos: 1 | 2 } & MessageName)
  /** The publisher has its PUBACK or PUBCOMP. */
  | ({ readonly kind: 'acknowledged' } & MessageName)
  /**
   * A new message for the subscriber. A PUBLISH at QoS 2 whose packet id awaits its PUBREL is none.
   */
  | ({ readonly kind: 'received'; readonly subscriber: string } & MessageName)
  /** The publisher was told that the broker does not take it, which no fault of the cluster allows. */
  | ({ readonly kind: 'refused'; readonly reason: string } & MessageName)
  /** A durable session was not there when its client came back. */
  | { readonly kind: 'session-lost'; readonly client: string };

/** The messages of one publisher in one topic. */
interface Sent {
  readonly name: string;
  readonly qos: 1 | 2;
  count: number;
  readonly acknowledged: SequenceSet;
  /** By subscriber. */
  readonly received: Map<string, SequenceSet>;
}

/**
 * Decides whether a history is one that the broker promises to persistent subscribers of everything:
 * every acknowledged message arrives, QoS 2 once, the first deliveries of a publisher's messages in a
 * topic in the order of sending, and nothing that was never sent. Takes the events as they happen.
 */
export class HistoryChecker {
  readonly #sent = new Map<string, Sent>();
  readonly #subscribers: readonly string[];
  readonly #violations: Violations;
  #duplicates = 0;
  #acknowledged = 0;
  /** Acknowledged messages that a subscriber has not received, summed over the subscribers. */
  #missing = 0;

  constructor(subscribers: readonly string[], violations = new Violations()) {
    this.#subscribers = subscribers;
    this.#violations = violations;
  }

  /** QoS 1 messages that arrived again, which is allowed. */
  get duplicates(): number {
    return this.#duplicates;
  }

  get acknowledged(): number {
    return this.#acknowledged;
  }

  get missing(): number {
    return this.#missing;
  }

  take(event: HistoryEvent): void {
    switch (event.kind) {
      case 'sent':
        this.#takeSent(event, event.qos);
        return;
      case 'acknowledged':
        this.#takeAcknowledged(event);
        return;
      case 'received':
        this.#takeReceived(event, event.subscriber);
        return;
      case 'refused': {
        const { publisher, topic, sequence, reason } = event;
        this.#violated(
          'failed',
          `${publisher} in ${topic}: ${sequence} was refused with ${reason}`,
        );
        return;
      }
      case 'session-lost':
        this.#violated('lost', `the session of ${event.client} was lost`);
        return;
      default:
    }
  }

  /** Every violation, at most some of each run's first; empty when the history is right. */
  verdict(): readonly string[] {
    for (const sent of this.#sent.values()) {
      for (const subscriber of this.#subscribers) this.#checkComplete(sent, subscriber);
    }
    return this.#violations.list();
  }

  #takeSent({ publisher, topic, sequence }: MessageName, qos: 1 | 2): void {
    const name = `${publisher} in ${topic}`;
    let sent = this.#sent.get(name);
    if (sent === undefined) {
      const received = new Map(this.#subscribers.map((each) => [each, new SequenceSet()] as const));
      sent = { name, qos, count: 0, acknowledged: new SequenceSet(), received };
      this.#sent.set(name, sent);
    }
    if (sequence !== sent.count)
      throw new Error(`${name}: ${sequence} sent after ${sent.count - 1}`);
    sent.count++;
  }

  #takeAcknowledged({ publisher, topic, sequence }: MessageName): void {
    const sent = this.#sent.get(`${publisher} in ${topic}`);
    if (sent === undefined || sequence >= sent.count) {
      this.#violated(
        'uncommitted',
        `${publisher} in ${topic}: ${sequence} was acknowledged but never sent`,
      );
      return;
    }
    if (!sent.acknowledged.add(sequence)) return;
    this.#acknowledged++;
    for (const received of sent.received.values()) if (!received.has(sequence)) this.#missing++;
  }

  #takeReceived({ publisher, topic, sequence }: MessageName, subscriber: string): void {
    const sent = this.#sent.get(`${publisher} in ${topic}`);
    const received = sent?.received.get(subscriber);
    if (sent === undefined || received === undefined || sequence >= sent.count) {
      this.#violated(
        'uncommitted',
        `${subscriber} received ${sequence} of ${publisher} in ${topic}: never sent`,
      );
      return;
    }
    const { highest } = received;
    if (!received.add(sequence)) {
      this.#duplicates += sent.qos === 1 ? 1 : 0;
      if (sent.qos === 2)
        this.#violated(
          'duplicated',
          `${subscriber} received ${sequence} of ${sent.name} twice at QoS 2`,
        );
      return;
    }
    if (sent.acknowledged.has(sequence)) this.#missing--;
    if (sequence < highest) {
      this.#violated(
        'reordered',
        `${subscriber} received ${sequence} of ${sent.name} after ${highest}`,
      );
    }
  }

  #checkComplete(sent: Sent, subscriber: string): void {
    const received = sent.received.get(subscriber);
    const lost = [...sent.acknowledged].filter((sequence) => !received?.has(sequence));
    if (lost.length === 0) return;
    const some = lost.slice(0, 10).join(', ');
    const last = `${received?.highest ?? -1} was its last of ${sent.count}`;
    this.#violated(
      'lost',
      `${subscriber} never received ${lost.length} of ${sent.name}: ${some}; ${last}`,
    );
  }

  #violated(kind: ViolationKind, violation: string): void {
    this.#violations.add(kind, violation);
  }
}
