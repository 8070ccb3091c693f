import {
  type Clock,
  delay,
  type Logger,
  type OperatingError,
  toOperatingError,
  TurnTask,
} from '@robustmq/core';
import type { CoordinatorCalls } from '../coordinator/coordinator-calls.ts';
import { shareGroupKind } from './share-group-kind.ts';
import type { ShareMembership } from './share-membership.ts';
import {
  decodeJoined,
  encodeShareCommand,
  readHandedOut,
  type ShareAnswer,
  type ShareArrival,
  type ShareCommand,
} from './share-message.ts';
import type { ShareOutcome } from './share-window.ts';

export interface ShareLinkOptions {
  readonly calls: CoordinatorCalls;
  /** Which coordinator. */
  readonly index: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Answer {
  readonly member: ShareMembership;
  readonly shardId: number;
  readonly offset: number;
  readonly outcome: ShareOutcome;
}

interface Told {
  readonly answers: readonly Answer[];
  readonly payload: Buffer;
}

const callMs = 10_000;
/** Longer than the coordinator lets a `take` wait. */
const takeCallMs = 30_000;
const retryMs = 100;
/** Answers of one `tell`. */
const answersMax = 20_000;

/**
 * This broker's members of the groups of one coordinator, and what goes to and fro (DESIGN.md, "Between the
 * brokers").
 */
export class ShareLink {
  readonly #options: ShareLinkOptions;
  readonly #members = new Set<ShareMembership>();
  readonly #byNumber = new Map<number, ShareMembership>();
  readonly #closed = new AbortController();
  readonly #turn = new TurnTask(() => void this.#tell());
  #answers: Answer[] = [];
  #rooms = new Map<ShareMembership, number>();
  /** Of the ownership that knows the members; empty while they are being announced. */
  #token = '';
  #sequence = 0;
  #takeNumber = 0;
  #tellSequence = 0;
  #telling: Promise<void> | undefined;
  #isTaking = false;
  #isAnnouncing = false;

  constructor(options: ShareLinkOptions) {
    this.#options = options;
  }

  /** Members that it has. */
  get size(): number {
    return this.#members.size;
  }

  close(): void {
    this.#closed.abort();
    this.#members.clear();
    this.#byNumber.clear();
  }

  /** Another broker, or another ownership, may serve the groups now. */
  ownerChanged(): void {
    if (this.#members.size > 0 && this.#token !== '') void this.#announce();
  }

  /** Joins or renews; rejects when the coordinator refuses or cannot be reached in time. */
  async join(member: ShareMembership): Promise<void> {
    await this.#join(member);
    if (member.isClosed) return;
    this.#members.add(member);
    if (this.#token === '' && !this.#isAnnouncing) this.#token = member.token;
    // Those who joined before are unknown there, or this one is.
    else if (this.#token !== member.token) void this.#announce();
    if (!this.#isTaking) void this.#take();
  }

  /** Ends the connection of a member, or its membership: told until the coordinator has heard of it. */
  async depart(member: ShareMembership, kind: 'part' | 'leave'): Promise<void> {
    this.#members.delete(member);
    this.#byNumber.delete(member.number);
    this.#rooms.delete(member);
    const { groupId, key, epoch, joinSequence } = member;
    const departure = { groupId, key, epoch, joinSequence };
    // What it has answered is told before it goes.
    await this.#tell();
    await this.#untilTold(() => ({ kind, sequence: ++this.#sequence, departure }));
    if (this.#members.size === 0 && !this.#isAnnouncing) this.#token = '';
  }

  answer(answer: Answer): void {
    this.#answers.push(answer);
    this.#turn.schedule();
  }

  roomMade(member: ShareMembership, count: number): void {
    this.#rooms.set(member, (this.#rooms.get(member) ?? 0) + count);
    this.#turn.schedule();
  }

  // ---- members

  async #join(member: ShareMembership): Promise<void> {
    // What it has room for stands in the join.
    this.#rooms.delete(member);
    const sequence = ++this.#sequence;
    member.joinSequence = sequence;
    const command = { kind: 'join', sequence, join: member.joinNow() } as const;
    const { token, number } = decodeJoined(await this.#ordered(command));
    // In the turn of the answer: the next answer to `take` may have records for the number.
    if (member.isClosed) return;
    this.#byNumber.delete(member.number);
    member.joined(token, number);
    this.#byNumber.set(number, member);
  }

  /** Announces all members to whoever serves the groups now, and tells again what was not heard. */
  async #announce(): Promise<void> {
    if (this.#isAnnouncing) return;
    this.#isAnnouncing = true;
    this.#token = '';
    this.#byNumber.clear();
    for (const member of this.#members) member.token = '';
    let token = '';
    while (!this.#closed.signal.aborted) {
      const waiting = [...this.#members].filter(
        (each) => each.token === '' || each.token !== token,
      );
      if (waiting.length === 0) break;
      const joined = await Promise.all(waiting.map((member) => this.#joinAgain(member)));
      token = waiting.findLast((member) => member.token !== '')?.token ?? token;
      if (!joined.every(Boolean)) await this.#pause();
    }
    this.#token = token;
    this.#isAnnouncing = false;
    this.#turn.schedule();
    if (!this.#isTaking) void this.#take();
  }

  /** False: it is to be tried again. */
  async #joinAgain(member: ShareMembership): Promise<boolean> {
    try {
      await this.#join(member);
      return true;
    } catch (thrown) {
      const error = toOperatingError(thrown);
      if (error.retriable) return false;
      // A newer session has it, or it is not taken any more.
      this.#members.delete(member);
      member.lost(error);
      return true;
    }
  }

  // ---- telling

  /** Tells what there is. One call at a time: what comes meanwhile goes with the next. */
  #tell(): Promise<void> {
    this.#telling ??= this.#tellAll().finally(() => (this.#telling = undefined));
    return this.#telling;
  }

  async #tellAll(): Promise<void> {
    while (this.#token !== '' && (this.#answers.length > 0 || this.#rooms.size > 0)) {
      await this.#tellOnce(this.#gather());
    }
  }

  #gather(): Told {
    const token = this.#token;
    const sequence = ++this.#tellSequence;
    // Who is not known to this ownership has nothing to say there.
    const answers = this.#answers
      .splice(0, answersMax)
      .filter(({ member }) => member.token === token);
    const rooms = [...this.#rooms]
      .filter(([member]) => member.token === token)
      .map(([{ number }, count]) => ({ number, count }));
    this.#rooms.clear();
    const told: ShareAnswer[] = answers.map(({ member, shardId, offset, outcome }) => ({
      number: member.number,
      shardId,
      offset,
      outcome,
    }));
    const command = { kind: 'tell', sequence, token, answers: told, rooms } as const;
    return { answers, payload: encodeShareCommand(command) };
  }

  /** The same bytes until there is an answer: the sequence says whether they came before. */
  async #tellOnce({ answers, payload }: Told): Promise<void> {
    for (;;) {
      try {
        await this.#orderedBytes(Buffer.from(payload));
        this.#confirmed(answers);
        return;
      } catch (thrown) {
        const error = toOperatingError(thrown);
        if (error.code === 'FENCED') {
          // Room stands in the joins that follow; what was answered is said again to the next owner.
          this.#answers = [...answers, ...this.#answers];
          void this.#announce();
          return;
        }
        if (!error.retriable) {
          // Whatever it was about comes again when its time is up.
          this.#warn('an answer was not taken', error);
          return;
        }
        await this.#pause();
        if (this.#closed.signal.aborted) return;
      }
    }
  }

  #confirmed(answers: readonly Answer[]): void {
    const members = new Set<ShareMembership>();
    for (const { member, shardId, offset } of answers) {
      member.confirmed(shardId, offset);
      members.add(member);
    }
    for (const member of members) member.allConfirmed();
  }

  // ---- taking

  /** Asks for records as long as there are members. */
  async #take(): Promise<void> {
    this.#isTaking = true;
    let isNext = true;
    while (!this.#closed.signal.aborted && this.#members.size > 0 && this.#token !== '') {
      if (isNext) this.#takeNumber++;
      isNext = await this.#takeOnce();
    }
    this.#isTaking = false;
  }

  /** False: the same answer is to be asked for again. */
  async #takeOnce(): Promise<boolean> {
    const token = this.#token;
    const { calls, index } = this.#options;
    const payload = encodeShareCommand({ kind: 'take', token, number: this.#takeNumber });
    try {
      const records = await calls.call(shareGroupKind, index, payload, { timeoutMs: takeCallMs });
      if (token === this.#token) readHandedOut(records, (arrival) => this.#arrived(arrival));
      return true;
    } catch (thrown) {
      const error = toOperatingError(thrown);
      if (error.code === 'FENCED') {
        if (token === this.#token) void this.#announce();
        return true;
      }
      if (!error.retriable) this.#warn('no records can be had', error);
      await this.#pause();
      return false;
    }
  }

  #arrived(arrival: ShareArrival): void {
    // One that is not there has left: the coordinator has its records back.
    this.#byNumber.get(arrival.number)?.arrived(arrival);
  }

  // ---- calls

  #ordered(command: ShareCommand): Promise<Buffer> {
    return this.#orderedBytes(encodeShareCommand(command));
  }

  #orderedBytes(payload: Buffer): Promise<Buffer> {
    const { calls, index } = this.#options;
    return calls.callOrdered(shareGroupKind, index, payload, { timeoutMs: callMs });
  }

  /** Repeats a command until it has an answer, whatever that is. */
  async #untilTold(command: () => ShareCommand): Promise<void> {
    while (!this.#closed.signal.aborted) {
      try {
        await this.#ordered(command());
        return;
      } catch (thrown) {
        const error = toOperatingError(thrown);
        if (!error.retriable) {
          this.#warn('the end of a membership was not taken', error);
          return;
        }
        await this.#pause();
      }
    }
  }

  #warn(what: string, { code, message }: OperatingError): void {
    const { index, logger } = this.#options;
    logger.warn({ index, code }, `share groups: ${what}: ${message}`);
  }

  #pause(): Promise<void> {
    return delay(this.#options.clock, retryMs, this.#closed.signal).catch(() => {});
  }
}
