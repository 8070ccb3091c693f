import { OperatingError } from '@robustmq/core';
import type { Reply } from './state-machine.ts';

/** Told when a try of a call has an answer. */
export interface PendingCallOwner {
  answered(call: PendingCall, payload: Buffer): void;
  refused(call: PendingCall, error: OperatingError): void;
}

export interface PendingCallOptions {
  /** Order of the calls. */
  readonly sequence: number;
  readonly kind: string;
  readonly key: string | number;
  readonly payload: Buffer;
  readonly isOrdered: boolean;
  /** Monotonic ms. */
  readonly deadlineMs: number;
  readonly owner: PendingCallOwner;
  readonly resolve: (payload: Buffer) => void;
  readonly reject: (error: OperatingError) => void;
}

/** One call from its beginning to its answer, over any number of tries. */
export class PendingCall {
  readonly sequence: number;
  readonly kind: string;
  readonly key: string | number;
  readonly payload: Buffer;
  readonly isOrdered: boolean;
  readonly deadlineMs: number;
  readonly resolve: (payload: Buffer) => void;
  readonly reject: (error: OperatingError) => void;
  readonly #owner: PendingCallOwner;
  /** The try that is under way: answers to earlier ones count no more. */
  #try: Try | undefined;
  /** Why the last try failed. */
  lastError: OperatingError | undefined;
  /** Number of tries. */
  tries = 0;
  /** Not tried again before, monotonic ms. */
  notBeforeMs = 0;
  isSettled = false;

  constructor(options: PendingCallOptions) {
    this.sequence = options.sequence;
    this.kind = options.kind;
    this.key = options.key;
    this.payload = options.payload;
    this.isOrdered = options.isOrdered;
    this.deadlineMs = options.deadlineMs;
    this.resolve = options.resolve;
    this.reject = options.reject;
    this.#owner = options.owner;
  }

  /** Begins a try; its outcome comes through the returned sink. */
  begin(): Reply {
    this.tries++;
    const attempt = new Try(this);
    this.#try = attempt;
    return attempt;
  }

  /** The try that is under way will not be answered, or nobody wants its answer. */
  forget(): void {
    this.#try = undefined;
  }

  answered(attempt: Try, payload: Buffer): void {
    if (this.#try !== attempt || this.isSettled) return;
    this.#try = undefined;
    this.#owner.answered(this, payload);
  }

  refused(attempt: Try, error: OperatingError): void {
    if (this.#try !== attempt || this.isSettled) return;
    this.#try = undefined;
    this.lastError = error;
    this.#owner.refused(this, error);
  }

  /** What a caller is told at the deadline. */
  timeoutError(): OperatingError {
    const why = this.lastError === undefined ? 'it has no owner' : this.lastError.message;
    return new OperatingError(
      'UNAVAILABLE',
      `coordinator of ${this.kind} (${this.key}) gave no answer in time: ${why}`,
    );
  }
}

class Try implements Reply {
  readonly #call: PendingCall;

  constructor(call: PendingCall) {
    this.#call = call;
  }

  ok(payload: Buffer): void {
    this.#call.answered(this, payload);
  }

  fail(error: OperatingError): void {
    this.#call.refused(this, error);
  }
}
