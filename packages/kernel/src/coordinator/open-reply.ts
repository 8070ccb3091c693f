import { assert, type OperatingError } from '@robustmq/core';
import type { CommitListener, CoordinatorLog } from './coordinator-log.ts';
import type { Reply } from './state-machine.ts';

/**
 * The reply to one command: what the machine answers leaves once everything that was proposed until
 * then is committed; the end of the ownership answers what is still open.
 */
export class OpenReply implements Reply, CommitListener {
  readonly #sink: Reply;
  readonly #log: CoordinatorLog;
  /** All replies of the coordinator that have not left. */
  readonly #open: Set<OpenReply>;
  #payload: Buffer | undefined;
  #error: OperatingError | undefined;

  constructor(sink: Reply, log: CoordinatorLog, open: Set<OpenReply>) {
    this.#sink = sink;
    this.#log = log;
    this.#open = open;
    open.add(this);
  }

  ok(payload: Buffer): void {
    this.#assertUnanswered();
    this.#payload = payload;
    if (this.#open.has(this)) this.#log.afterCommit(this);
  }

  fail(error: OperatingError): void {
    this.#assertUnanswered();
    this.#error = error;
    if (this.#open.has(this)) this.#log.afterCommit(this);
  }

  committed(): void {
    if (!this.#open.delete(this)) return;
    if (this.#payload !== undefined) this.#sink.ok(this.#payload);
    else if (this.#error !== undefined) this.#sink.fail(this.#error);
  }

  abandoned(error: OperatingError): void {
    if (this.#open.delete(this)) this.#sink.fail(error);
  }

  #assertUnanswered(): void {
    assert(
      this.#payload === undefined && this.#error === undefined,
      'a command is answered exactly once',
    );
  }
}
