import { assert, type Offset, unreachable } from '@robustmq/core';
import type { Outbox, OutboxEntry } from '../outbox/outbox.ts';
import { OutboxState, type OutboxTarget } from '../outbox/outbox-state.ts';
import type { RecordKind } from './coordinator-record.ts';
import type { RestoredState } from './restoration.ts';
import type { StateMachine } from './state-machine.ts';

/**
 * A machine with its outbox: everything that a coordinator's log says. One fold, the same for records
 * that are read back and for those that are proposed now.
 */
export class MachineState implements RestoredState {
  readonly machine: StateMachine;
  readonly outbox = new OutboxState();
  #isApplying = false;

  /** `create` is given what the machine may use of its outbox. */
  constructor(create: (outbox: Outbox) => StateMachine) {
    this.machine = create(this.#outboxOfMachine());
  }

  /** Whether a record is being applied: nothing may be proposed. */
  get isApplying(): boolean {
    return this.#isApplying;
  }

  apply(kind: RecordKind, value: Buffer, offset: Offset): void {
    assert(!this.#isApplying, 'records are applied one at a time');
    this.#isApplying = true;
    this.#apply(kind, value, offset);
    this.#isApplying = false;
  }

  /** Returns the targets of the outbox that have got something. */
  batchEnd(endOffset: Offset): readonly OutboxTarget[] {
    return this.outbox.endBatch(endOffset);
  }

  restoreChunk(kind: 'snapshot-chunk' | 'outbox-chunk', chunk: Buffer): void {
    if (kind === 'snapshot-chunk') this.machine.restoreChunk(chunk);
    else this.outbox.restoreChunk(chunk);
  }

  #apply(kind: RecordKind, value: Buffer, offset: Offset): void {
    switch (kind) {
      case 'machine':
        this.machine.apply(value, offset);
        return;
      case 'outbox-producer':
        this.outbox.setProducer(value);
        return;
      case 'outbox-confirm':
        this.outbox.confirm(value, (tag, outcome) => this.machine.outboxConfirmed?.(tag, outcome));
        return;
      case 'takeover':
      case 'noop':
      case 'snapshot-begin':
      case 'snapshot-chunk':
      case 'outbox-chunk':
      case 'snapshot-end':
        return;
      default:
        unreachable(kind);
    }
  }

  #outboxOfMachine(): Outbox {
    const { outbox } = this;
    const enqueue = (entry: OutboxEntry): void => {
      assert(this.#isApplying, 'entries of the outbox come from records: enqueue in apply');
      outbox.enqueue(entry);
    };
    return {
      enqueue,
      get full() {
        return outbox.full;
      },
      get bytes() {
        return outbox.bytes;
      },
    };
  }
}
