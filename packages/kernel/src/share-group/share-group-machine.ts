import { OperatingError, TurnTask, unreachable } from '@robustmq/core';
import type {
  Caller,
  CoordinatorContext,
  MachineTimer,
  Reply,
  StateMachine,
} from '../coordinator/state-machine.ts';
import { ShareBroker } from './share-broker.ts';
import { ShareBudget } from './share-budget.ts';
import { decodeShareEvent, encodeShareEvent, type ShareEvent } from './share-event.ts';
import { ShareGroup } from './share-group.ts';
import type { ShareGroupKindOptions, ShareGroupLimits } from './share-group-kind.ts';
import { ShareGroupTable } from './share-group-table.ts';
import { ShareHolds } from './share-holds.ts';
import { acquirerPrefix, type ShareMember } from './share-member.ts';
import {
  decodeShareCommand,
  encodeJoined,
  type ShareCommand,
  type ShareDeparture,
  type ShareJoin,
} from './share-message.ts';
import { partsOfGroupId, type ShareProtocol } from './share-protocol.ts';

export interface ShareGroupMachineOptions extends ShareGroupKindOptions {
  readonly limits: ShareGroupLimits;
}

const tickMs = 250;
/** Without a group. */
const idleTickMs = 5000;
/** How far behind the logged windows may be. */
const progressMs = 500;
const holdMs = 30_000;
/** A `take` is answered after so long, be there anything or not. */
const takeMs = 20_000;
/** A new owner hands out nothing for so long: brokers tell it first what their members have. */
const settlingMs = 500;
/** Who has not been announced to a new owner by then is gone. */
const announceGraceMs = 30_000;
/** How often that is looked for. */
const sweepMs = 10_000;
/** What a group may keep in memory although the others take everything. */
const groupBytesMin = 1024 * 1024;
const nothing = Buffer.alloc(0);

/** The share groups of one shard (DESIGN.md, "Share groups"). */
export class ShareGroupMachine implements StateMachine {
  readonly #context: CoordinatorContext;
  readonly #options: ShareGroupMachineOptions;
  readonly #table = new ShareGroupTable();
  readonly #groups = new Map<string, ShareGroup>();
  /** By node and incarnation. */
  readonly #brokers = new Map<string, ShareBroker>();
  readonly #budget: ShareBudget;
  readonly #holds: ShareHolds;
  /** Groups in which something may be handed out. */
  readonly #ready = new Set<ShareGroup>();
  readonly #turn = new TurnTask(() => this.#handOut());
  #token = '';
  #lastNumber = 0;
  #startedAtMs = 0;
  /** Nothing is handed out before. */
  #settledAtMs = 0;
  #progressAtMs = 0;
  #holdAtMs = 0;
  #sweepAtMs = 0;
  #isStopped = false;
  #tickTimer: MachineTimer | undefined;
  #unwatch: () => void = () => {};

  constructor(context: CoordinatorContext, options: ShareGroupMachineOptions) {
    this.#context = context;
    this.#options = options;
    this.#budget = new ShareBudget({ bytesMax: options.limits.bytesMax, bytesMin: 0 });
    const heldBefore = (): number[] =>
      [...options.catalog.topics()]
        .filter(({ name }) => !name.startsWith('$'))
        .flatMap(({ shardIds }) => shardIds);
    this.#holds = new ShareHolds({ context, placement: options.placement, heldBefore });
  }

  apply(record: Buffer): void {
    this.#table.apply(decodeShareEvent(record));
  }

  snapshot(): Iterator<Buffer> {
    return this.#table.snapshot();
  }

  restoreChunk(chunk: Buffer): void {
    this.#table.restoreChunk(chunk);
  }

  started(): void {
    const { clock, epoch, logger } = this.#context;
    this.#startedAtMs = clock.monotonicMs();
    this.#progressAtMs = this.#startedAtMs;
    this.#holdAtMs = this.#startedAtMs;
    this.#sweepAtMs = this.#startedAtMs + announceGraceMs;
    // The same ownership may begin anew: then everything in memory is another.
    this.#token = `${epoch}/${clock.wallMs()}`;
    if (this.#table.size > 0) this.#settledAtMs = this.#startedAtMs + settlingMs;
    for (const [groupId, { members, windows }] of this.#table.groups()) {
      const protocol = this.#protocolOf(groupId);
      if (protocol === undefined) {
        logger.warn({ groupId }, 'a share group is of a protocol that this broker does not know');
        continue;
      }
      const group = this.#newGroup(groupId, protocol, { isNew: false, windows });
      for (const [key, memberEpoch] of members) group.restore(key, memberEpoch);
    }
    this.#unwatch = this.#options.catalog.onChange(({ kind }) => {
      if (kind !== 'topic') return;
      for (const group of this.#groups.values()) group.follow();
    });
    this.#tickTimer = this.#context.timer(() => this.#tick());
    this.#tickTimer.set(tickMs);
  }

  stopped(): void {
    this.#isStopped = true;
    this.#unwatch();
    for (const group of this.#groups.values()) group.stop();
    this.#groups.clear();
    this.#brokers.clear();
  }

  draining(): void {
    this.#logProgress();
  }

  nodeGone(nodeId: string, incarnation: number): void {
    for (const [name, broker] of this.#brokers) {
      const { caller } = broker;
      if (caller.nodeId !== nodeId || caller.incarnation > incarnation) continue;
      this.#brokers.delete(name);
      this.#lose(broker);
    }
  }

  command(payload: Buffer, caller: Caller, reply: Reply): void {
    const command = decodeShareCommand(payload);
    switch (command.kind) {
      case 'join':
        this.#join(command, this.#brokerOf(caller), reply);
        return;
      case 'part':
      case 'leave':
        this.#depart(command, this.#brokerOf(caller));
        reply.ok(nothing);
        return;
      case 'ended':
        this.#ended(command.departure);
        reply.ok(nothing);
        return;
      case 'tell':
        this.#tell(command, this.#brokerOf(caller));
        reply.ok(nothing);
        return;
      case 'take':
        this.#checkToken(command.token);
        this.#brokerOf(caller).take(command.number, reply, this.#nowMs());
        this.#turn.schedule();
        return;
      default:
        unreachable(command);
    }
  }

  // ---- members

  #join(
    { sequence, join }: Extract<ShareCommand, { kind: 'join' }>,
    broker: ShareBroker,
    reply: Reply,
  ): void {
    const { groupId, key } = join;
    if (sequence <= broker.lastSequence) {
      // It was carried out, and its answer was lost.
      const member = this.#groups.get(groupId)?.member(key);
      this.#answerJoin(member?.broker === broker ? member.number : 0, reply);
      return;
    }
    if (key === '' || key.startsWith(acquirerPrefix)) {
      throw new OperatingError('INVALID_ARGUMENT', 'a member of a share group needs a key');
    }
    const group = this.#groups.get(groupId) ?? this.#create(join);
    if (group.member(key) === undefined && group.members >= this.#options.limits.membersMax) {
      throw new OperatingError('RESOURCE_EXHAUSTED', `${groupId} has ${group.members} members`);
    }
    const member = group.join(join, broker);
    member.joinSequence = sequence;
    broker.lastSequence = sequence;
    this.#answerJoin(member.number, reply);
  }

  #answerJoin(number: number, reply: Reply): void {
    reply.ok(encodeJoined({ token: this.#token, number }));
  }

  #create({ groupId, starts }: ShareJoin): ShareGroup {
    const { size } = this.#groups;
    if (size >= this.#options.limits.groupsMax) {
      throw new OperatingError('RESOURCE_EXHAUSTED', `the coordinator has ${size} share groups`);
    }
    const protocol = this.#protocolOf(groupId);
    if (protocol === undefined) {
      throw new OperatingError('UNSUPPORTED', `this broker knows no protocol of "${groupId}"`);
    }
    this.#propose({ kind: 'created', groupId, starts });
    this.#tickTimer?.set(tickMs);
    const windows = this.#table.get(groupId)?.windows ?? new Map<number, never>();
    return this.#newGroup(groupId, protocol, { isNew: true, windows });
  }

  #protocolOf(groupId: string): ShareProtocol | undefined {
    return this.#options.protocols[partsOfGroupId(groupId).protocol];
  }

  #newGroup(
    groupId: string,
    protocol: ShareProtocol,
    stored: ConstructorParameters<typeof ShareGroup>[1],
  ): ShareGroup {
    const { fanOut, endOffset, random, counts, limits } = this.#options;
    const { groupBytesMax, recordsMax } = limits;
    const { clock, logger } = this.#context;
    const group: ShareGroup = new ShareGroup(
      {
        groupId,
        protocol,
        source: protocol.open(partsOfGroupId(groupId).name),
        fanOut,
        endOffset,
        budget: new ShareBudget({
          bytesMax: groupBytesMax,
          bytesMin: groupBytesMin,
          parent: this.#budget,
        }),
        recordsMax,
        counts,
        clock,
        random,
        logger,
        propose: (event) => this.#propose({ ...event, groupId }),
        ready: () => this.#isReady(group),
        nextNumber: () => ++this.#lastNumber,
      },
      stored,
    );
    this.#groups.set(groupId, group);
    return group;
  }

  #depart(
    { kind, sequence, departure }: Extract<ShareCommand, { kind: 'part' | 'leave' }>,
    broker: ShareBroker,
  ): void {
    if (sequence <= broker.lastSequence) return;
    broker.lastSequence = sequence;
    const { groupId, key, epoch, joinSequence } = departure;
    const group = this.#groups.get(groupId);
    const member = group?.member(key);
    if (group === undefined || member === undefined || epoch < member.epoch) return;
    // It has another connection already, or has joined again.
    const isAnother = member.broker !== broker || member.joinSequence > joinSequence;
    if (member.isConnected && isAnother) return;
    if (kind === 'part') group.part(member);
    else group.leave(member);
    this.#removeEmpty(group);
  }

  /** The session is no more: told by who keeps sessions, whatever connections there were. */
  #ended({ groupId, key, epoch }: ShareDeparture): void {
    const group = this.#groups.get(groupId);
    const member = group?.member(key);
    if (group === undefined || member === undefined || epoch < member.epoch) return;
    group.leave(member);
    this.#removeEmpty(group);
  }

  /** A broker is gone with all its connections. */
  #lose(broker: ShareBroker): void {
    for (const member of broker.members.values()) {
      const group = this.#groups.get(member.groupId);
      if (group === undefined) continue;
      group.part(member);
      this.#removeEmpty(group);
    }
  }

  #removeEmpty(group: ShareGroup): void {
    if (!group.isEmpty) return;
    group.stop();
    this.#groups.delete(group.groupId);
    this.#ready.delete(group);
    this.#propose({ kind: 'removed', groupId: group.groupId });
  }

  #brokerOf(caller: Caller): ShareBroker {
    const name = `${caller.nodeId}/${caller.incarnation}`;
    let broker = this.#brokers.get(name);
    if (broker === undefined) {
      broker = new ShareBroker(caller, caller.nodeId === this.#context.self.nodeId);
      this.#brokers.set(name, broker);
    }
    return broker;
  }

  // ---- records

  #tell(
    { sequence, token, answers, rooms }: Extract<ShareCommand, { kind: 'tell' }>,
    broker: ShareBroker,
  ): void {
    this.#checkToken(token);
    if (sequence <= broker.lastTold) return;
    broker.lastTold = sequence;
    // Pins that end are in the log before this is answered: the session forgets them then.
    const unpinned = new Map<ShareGroup, Set<number>>();
    for (const answer of answers) {
      const member = broker.members.get(answer.number);
      const group = member && this.#groups.get(member.groupId);
      if (member === undefined || group?.answer(member, answer) !== true) continue;
      const shards = unpinned.get(group);
      if (shards === undefined) unpinned.set(group, new Set([answer.shardId]));
      else shards.add(answer.shardId);
    }
    for (const [group, shards] of unpinned) {
      for (const id of shards) this.#logWindow(group, group.progressOf(id));
    }
    for (const { number, count } of rooms) {
      const member = broker.members.get(number);
      if (member !== undefined) this.#groups.get(member.groupId)?.roomMade(member, count);
    }
  }

  #isReady(group: ShareGroup): void {
    this.#ready.add(group);
    this.#turn.schedule();
  }

  #handOut(): void {
    if (this.#isStopped) return;
    const isSettling = this.#nowMs() < this.#settledAtMs;
    // Pins are logged: while that is behind nothing more is handed out. The next tick goes on.
    if (!isSettling && !this.#context.full) {
      const ready = [...this.#ready];
      this.#ready.clear();
      for (const group of ready) group.handOut();
    }
    for (const broker of this.#brokers.values()) {
      if (!broker.isDue || !broker.flush()) continue;
      for (const member of broker.members.values()) this.#brokerHasRoom(member);
    }
  }

  #brokerHasRoom(member: ShareMember): void {
    this.#groups.get(member.groupId)?.brokerHasRoom(member);
  }

  // ---- now and then

  #tick(): void {
    this.#tickTimer?.set(this.#groups.size === 0 ? idleTickMs : tickMs);
    const nowMs = this.#nowMs();
    this.#loseDeadBrokers();
    for (const group of this.#groups.values()) group.tick();
    for (const broker of this.#brokers.values()) broker.answerOld(nowMs - takeMs);
    if (nowMs - this.#progressAtMs >= progressMs) {
      this.#progressAtMs = nowMs;
      this.#logProgress();
    }
    if (nowMs >= this.#sweepAtMs) {
      this.#sweepAtMs = nowMs + sweepMs;
      this.#sweep();
    }
    if (nowMs - this.#holdAtMs < holdMs) return;
    this.#holdAtMs = nowMs;
    this.#holds.tell([...this.#groups.values()].flatMap((group) => [...group.starts()]));
  }

  /** What the catalog has said before this ownership began. */
  #loseDeadBrokers(): void {
    for (const { caller } of this.#brokers.values()) {
      const { nodeId, incarnation } = caller;
      if (!this.#context.nodeAlive(nodeId, incarnation)) this.nodeGone(nodeId, incarnation);
    }
  }

  /** Ends what only members had that were not announced again. */
  #sweep(): void {
    for (const group of this.#groups.values()) {
      for (const key of group.strangers()) {
        if (group.endPins(key)) this.#propose({ kind: 'left', groupId: group.groupId, key });
      }
      this.#removeEmpty(group);
    }
  }

  /** Logs the windows that have changed. */
  #logProgress(): void {
    if (this.#context.full) return;
    for (const group of this.#groups.values()) {
      for (const progress of group.progress()) this.#logWindow(group, progress);
    }
  }

  #logWindow({ groupId }: ShareGroup, progress: ReturnType<ShareGroup['progressOf']>): void {
    if (progress !== undefined) this.#propose({ kind: 'progressed', groupId, ...progress });
  }

  #propose(event: ShareEvent): void {
    this.#context.propose(encodeShareEvent(event));
  }

  #checkToken(token: string): void {
    if (token === this.#token) return;
    throw new OperatingError('FENCED', 'share groups are served anew; announce the members again');
  }

  #nowMs(): number {
    return this.#context.clock.monotonicMs();
  }
}
