import { OperatingError, shardId } from '@robustmq/core';
import {
  type Caller,
  type CoordinatorContext,
  entitiesOf,
  type Entity,
  EntityTable,
  type OutboxOutcome,
  type Reply,
  type StateMachine,
} from '@robustmq/kernel';
import { noHeaders } from '@robustmq/record-batch';

/** Commands of the {@link CounterMachine}; `id` is what a repeated one is known by. */
export type CounterCommand =
  | { readonly op: 'add'; readonly counter: string; readonly amount: number; readonly id: string }
  | { readonly op: 'get'; readonly counter: string }
  | { readonly op: 'send'; readonly target: number; readonly text: string; readonly id: string };

interface Counter extends Entity {
  value: number;
  ids: string[];
}

/** What stands in its log: several records of one command must be there together or not at all. */
type CounterRecord =
  | {
      readonly kind: 'half';
      readonly counter: string;
      readonly amount: number;
      readonly id: string;
    }
  | { readonly kind: 'send'; readonly target: number; readonly text: string; readonly id: string };

/**
 * The state machine of the runtime's own tests: counters, and texts that are sent elsewhere. Each `add` is
 * two records of half the amount, so that a batch that is cut in two shows.
 */
export class CounterMachine implements StateMachine {
  readonly context: CoordinatorContext;
  readonly counters = new EntityTable<string, Counter>((name, { value, ids }) =>
    Buffer.from(JSON.stringify({ name, value, ids })),
  );
  /** Ids of texts that are sent and not confirmed. */
  readonly sending = new Set<string>();
  /** Ids of texts that have arrived and are not confirmed: in memory only. */
  readonly #arrived = new Set<string>();
  /** Who waits for a text to arrive. */
  readonly #waiting = new Map<string, Reply[]>();
  readonly gone: string[] = [];
  stops = 0;
  starts = 0;

  constructor(context: CoordinatorContext) {
    this.context = context;
  }

  apply(record: Buffer): void {
    const change = JSON.parse(record.toString()) as CounterRecord;
    if (change.kind === 'send') this.#send(change);
    else this.#addHalf(change.counter, change.amount, change.id);
  }

  *snapshot(): Iterator<Buffer> {
    const sending = Buffer.from(JSON.stringify([...this.sending]));
    yield Buffer.concat([Buffer.from([0]), sending]);
    const chunks = this.counters.snapshot();
    for (let step = chunks.next(); step.done !== true; step = chunks.next()) {
      yield Buffer.concat([Buffer.from([1]), step.value]);
    }
  }

  restoreChunk(chunk: Buffer): void {
    const body = chunk.subarray(1);
    if (chunk[0] === 0) {
      for (const id of JSON.parse(body.toString()) as string[]) this.sending.add(id);
      return;
    }
    for (const bytes of entitiesOf(body)) {
      const { name, value, ids } = JSON.parse(bytes.toString()) as Counter & { name: string };
      this.counters.set(name, { value, ids, snapshotMark: 0 });
    }
  }

  started(): void {
    this.starts++;
  }

  stopped(): void {
    this.stops++;
  }

  command(payload: Buffer, _caller: Caller, reply: Reply): void {
    const command = JSON.parse(payload.toString()) as CounterCommand;
    switch (command.op) {
      case 'add':
        if (!this.#knows(command.counter, command.id)) this.#add(command);
        reply.ok(this.#value(command.counter));
        return;
      case 'get':
        this.context.fresh(() => reply.ok(this.#value(command.counter)));
        return;
      case 'send':
        if (!this.#knows('sent', command.id)) {
          this.context.propose(record({ kind: 'send', ...command }));
        }
        if (!this.sending.has(command.id) || this.#arrived.has(command.id)) {
          reply.ok(Buffer.from('committed'));
        } else this.#wait(command.id, reply);
        return;
      default:
        throw new OperatingError('INVALID_ARGUMENT', 'an unknown command; send add, get or send');
    }
  }

  nodeGone(nodeId: string, incarnation: number): void {
    this.gone.push(`${nodeId}/${incarnation}`);
  }

  outboxDelivered(tag: Buffer, outcome: OutboxOutcome): void {
    const id = tag.toString();
    for (const reply of this.#waiting.get(id) ?? []) reply.ok(Buffer.from(outcome.kind));
    this.#waiting.delete(id);
    this.#arrived.add(id);
  }

  outboxConfirmed(tag: Buffer): void {
    this.sending.delete(tag.toString());
    this.#arrived.delete(tag.toString());
  }

  /** Everything that a snapshot holds, in one string. */
  fingerprint(): string {
    const counters = [...this.counters.entries()]
      .map(([name, { value, ids }]) => `${name}=${value}(${ids.join()})`)
      .sort();
    return `${counters.join(' ')} sending ${[...this.sending].sort().join()}`;
  }

  #add({ counter, amount, id }: CounterCommand & { op: 'add' }): void {
    const half = record({ kind: 'half', counter, amount: amount / 2, id });
    this.context.propose(half);
    this.context.propose(half);
  }

  #addHalf(name: string, amount: number, id: string): void {
    const counter = this.counters.edit(name);
    if (counter === undefined) {
      this.counters.set(name, { value: amount, ids: [id], snapshotMark: 0 });
      return;
    }
    counter.value += amount;
    counter.ids.push(id);
  }

  #send({ target, text, id }: CounterRecord & { kind: 'send' }): void {
    this.#addHalf('sent', 1, id);
    this.sending.add(id);
    const value = Buffer.from(text);
    const filterTokens = new Uint32Array();
    const toAppend = { timestampMs: 1, key: null, value, headers: noHeaders, filterTokens };
    this.context.outbox.enqueue({
      target: shardId(target),
      record: toAppend,
      tag: Buffer.from(id),
    });
  }

  #wait(id: string, reply: Reply): void {
    this.#waiting.set(id, [...(this.#waiting.get(id) ?? []), reply]);
  }

  #knows(counter: string, id: string): boolean {
    return this.counters.get(counter)?.ids.includes(id) ?? false;
  }

  #value(counter: string): Buffer {
    return Buffer.from(String(this.counters.get(counter)?.value ?? 0));
  }
}

function record(change: CounterRecord): Buffer {
  return Buffer.from(JSON.stringify(change));
}
