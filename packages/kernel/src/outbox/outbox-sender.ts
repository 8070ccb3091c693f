import {
  type ErrorCode,
  limits,
  type Logger,
  type Offset,
  type OperatingError,
  type TimerWheel,
  toOperatingError,
  type WheelTimer,
} from '@robustmq/core';
import type { JournalClient } from '@robustmq/journal-client';
import type { OutboxOutcome } from './outbox.ts';
import type { OutboxBatch } from './outbox-batch.ts';
import type { OutboxConfirmation } from './outbox-record.ts';
import { type OutboxTarget, outcomeOf } from './outbox-state.ts';

/** What the sender asks and tells the coordinator. */
export interface OutboxSenderOwner {
  /** Everything in the coordinator's log before it is committed. */
  readonly committedOffset: number;
  /** An entry is committed in its target, or refused for good. */
  delivered(tag: Buffer, outcome: OutboxOutcome): void;
  /** Write {@link OutboxSender.takeConfirmations} now, with nothing else under way in the machine. */
  confirmNow(): void;
}

export interface OutboxSenderOptions {
  readonly journal: Pick<JournalClient, 'appendBatch'>;
  readonly timers: TimerWheel;
  readonly logger: Logger;
  readonly owner: OutboxSenderOwner;
}

/** Confirmations wait at most so long for a batch that is written anyway. */
const confirmDelayMs = 1000;
/** Of one confirm record. */
const confirmationsMax = 1000;
const retryMinMs = 100;
const retryMaxMs = 2000;

/** What one target is being sent. */
class Delivery {
  readonly target: OutboxTarget;
  /** Batches of the target, from the first one on, that are under way or answered. */
  sent = 0;
  /** Batches, from the first one on, that are delivered and wait to be confirmed. */
  delivered = 0;
  unanswered = 0;
  /** Answers of the batches that are sent and not delivered. */
  readonly answers = new Map<OutboxBatch, OutboxOutcome>();
  /** An append was refused: nothing is sent until all answers are there. */
  isHalted = false;
  retryMs = retryMinMs;

  constructor(target: OutboxTarget) {
    this.target = target;
  }
}

/**
 * Appends what an {@link OutboxState} holds: per target in order, at most five unanswered, again until
 * the answer is known (DESIGN.md, O1 to O4).
 */
export class OutboxSender {
  readonly #options: OutboxSenderOptions;
  readonly #deliveries = new Map<number, Delivery>();
  readonly #confirmTimer: WheelTimer;
  #confirmations: OutboxConfirmation[] = [];
  #isStopped = false;

  constructor(options: OutboxSenderOptions) {
    this.#options = options;
    this.#confirmTimer = options.timers.timer(() => options.owner.confirmNow());
  }

  /** Sends what the target is owed, as far as the records behind it are committed. */
  send(target: OutboxTarget): void {
    if (target.batches.length > 0) this.#pump(this.#deliveryOf(target));
  }

  /** What became of batches since the last call; they are confirmed by whoever calls. */
  takeConfirmations(): readonly OutboxConfirmation[] {
    this.#confirmTimer.cancel();
    if (this.#confirmations.length <= confirmationsMax) {
      const all = this.#confirmations;
      this.#confirmations = [];
      return all;
    }
    this.#confirmTimer.set(0);
    return this.#confirmations.splice(0, confirmationsMax);
  }

  /** The state has applied these confirmations, all that {@link takeConfirmations} gave. */
  confirmed(confirmations: readonly OutboxConfirmation[]): void {
    for (const { target: id, outcome } of confirmations) {
      const delivery = this.#deliveries.get(id);
      if (delivery === undefined) continue;
      delivery.sent--;
      delivery.delivered--;
      if (outcome.kind === 'refused') this.#startAnew(delivery);
      if (delivery.target.batches.length === 0) this.#deliveries.delete(id);
    }
  }

  /** Sends nothing any more and hears no answers. */
  stop(): void {
    this.#isStopped = true;
    this.#confirmTimer.cancel();
  }

  #deliveryOf(target: OutboxTarget): Delivery {
    let delivery = this.#deliveries.get(target.shardId);
    if (delivery === undefined) {
      delivery = new Delivery(target);
      this.#deliveries.set(target.shardId, delivery);
    }
    return delivery;
  }

  #pump(delivery: Delivery): void {
    const { target } = delivery;
    while (!this.#isStopped && !delivery.isHalted) {
      const batch = target.batches[delivery.sent];
      if (batch === undefined || batch.logEnd > this.#options.owner.committedOffset) return;
      if (delivery.unanswered >= limits.appendsInFlightMax) return;
      delivery.sent++;
      delivery.unanswered++;
      this.#append(delivery, batch);
    }
  }

  #append(delivery: Delivery, batch: OutboxBatch): void {
    const append = {
      shardId: delivery.target.shardId,
      batch: Buffer.from(batch.bytes),
      filter: Buffer.from(batch.filter),
      ackLevel: 'quorum',
      writerEpoch: 0,
    } as const;
    void this.#options.journal.appendBatch(append).then(
      ({ baseOffset }) => this.#answered(delivery, batch, committedAt(baseOffset)),
      (thrown: unknown) => this.#answered(delivery, batch, refusedWith(toOperatingError(thrown))),
    );
  }

  #answered(delivery: Delivery, batch: OutboxBatch, answer: OutboxOutcome): void {
    if (this.#isStopped) return;
    delivery.unanswered--;
    delivery.answers.set(batch, answer);
    if (answer.kind === 'refused') delivery.isHalted = true;
    this.#deliver(delivery);
    if (!delivery.isHalted) this.#pump(delivery);
    else if (delivery.unanswered === 0) this.#goOn(delivery);
  }

  /** In the order of the batches, although answers may come in another. */
  #deliver(delivery: Delivery): void {
    for (;;) {
      const batch = delivery.target.batches[delivery.delivered];
      const outcome = batch && delivery.answers.get(batch);
      if (batch === undefined || outcome?.kind !== 'committed') return;
      delivery.delivered++;
      delivery.answers.delete(batch);
      delivery.retryMs = retryMinMs;
      this.#conclude(delivery, batch, outcome);
      if (this.#isStopped) return;
    }
  }

  #conclude({ target }: Delivery, batch: OutboxBatch, outcome: OutboxOutcome): void {
    if (this.#confirmations.length === 0) this.#confirmTimer.set(confirmDelayMs);
    this.#confirmations.push({ target: target.shardId, sequence: batch.sequence, outcome });
    for (const [i, tag] of batch.tags.entries()) {
      if (!this.#isStopped) this.#options.owner.delivered(tag, outcomeOf(outcome, i));
    }
  }

  /** All answers are there, and the first that is not delivered was refused. */
  #goOn(delivery: Delivery): void {
    const batch = delivery.target.batches[delivery.delivered];
    const outcome = batch && delivery.answers.get(batch);
    if (this.#isStopped || batch === undefined || outcome?.kind !== 'refused') return;
    const { logger, timers } = this.#options;
    const fields = { shardId: delivery.target.shardId, code: outcome.error.code };
    if (!isFinal(outcome.error)) {
      logger.warn(fields, `an append of the outbox is tried again: ${outcome.error.message}`);
      delivery.answers.clear();
      delivery.sent = delivery.delivered;
      timers.timer(() => this.#retry(delivery)).set(delivery.retryMs);
      delivery.retryMs = Math.min(delivery.retryMs * 2, retryMaxMs);
      return;
    }
    logger.error(fields, `an append of the outbox was refused: ${outcome.error.message}`);
    this.#concludeLaterOnes(delivery);
    this.#conclude(delivery, batch, outcome);
    delivery.delivered++;
    if (!this.#isStopped) this.#options.owner.confirmNow();
  }

  #retry(delivery: Delivery): void {
    delivery.isHalted = false;
    this.#pump(delivery);
  }

  /** A target that does not know the producer takes a later batch although an earlier one was refused. */
  #concludeLaterOnes(delivery: Delivery): void {
    for (const [batch, outcome] of delivery.answers) {
      if (outcome.kind !== 'committed') continue;
      delivery.delivered++;
      this.#conclude(delivery, batch, outcome);
    }
  }

  #startAnew(delivery: Delivery): void {
    delivery.answers.clear();
    delivery.sent = 0;
    delivery.delivered = 0;
    delivery.isHalted = false;
    this.#pump(delivery);
  }
}

function committedAt(at: Offset): OutboxOutcome {
  return { kind: 'committed', offset: at };
}

/** An append that was done earlier than the journal remembers is done. */
function refusedWith(error: OperatingError): OutboxOutcome {
  if (error.code === 'DUPLICATE_SEQUENCE') return { kind: 'committed', offset: undefined };
  return { kind: 'refused', error };
}

/** Whether sending the same bytes again can never help. */
function isFinal(error: OperatingError): boolean {
  return finalCodes.has(error.code);
}

const finalCodes: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'NOT_FOUND',
  'INVALID_ARGUMENT',
  'CORRUPT_BATCH',
  'BATCH_TOO_LARGE',
  'NOT_AUTHORIZED',
  'WRITER_FENCED',
  'UNSUPPORTED',
]);
