import { assert, type Offset, OperatingError, unreachable } from '@robustmq/core';
import type {
  Caller,
  CoordinatorContext,
  CoordinatorKind,
  OutboxOutcome,
  Reply,
  StateMachine,
} from '@robustmq/kernel';
import type { PlacementClient } from '@robustmq/placement-client';
import {
  type MqttAnnounce,
  type MqttConnect,
  MqttOutboxTag,
  MqttRevokeReason,
  MqttSessionCommand,
  MqttSessionEvent,
  type MqttSessionGranted,
  MqttSessionNotice,
  MqttSessionReply,
} from '@robustmq/rpc';
import { decodeMessage, encodeMessage } from './encoded-message.ts';
import { LostHolders } from './lost-holders.ts';
import { type EndMember, LeaveTeller } from './owed-leaves.ts';
import { ReleaseWaiters } from './release-waiters.ts';
import { SessionDeadlines } from './session-deadlines.ts';
import { SessionHolds } from './session-holds.ts';
import type {
  Decision,
  Revocation,
  SessionAnswer,
  SessionInputKind,
  SessionInputs,
  SessionLimits,
} from './session-input.ts';
import type { Session, SessionView } from './session-state.ts';
import { sessionStep } from './session-step.ts';
import { SessionTable } from './session-table.ts';
import { type TopicCatalog, TopicRouter } from './topic-router.ts';

/** Its log is the internal topic `$mqtt-session`. */
export const sessionKind = 'mqtt-session';
/** Shards when the cluster is made. */
const sessionShards = 16;
/** Epochs that one record reserves. */
const epochBlock = 1_000_000;

export const sessionLimitsDefault: SessionLimits = {
  sessionsMax: 250_000,
  inboundBytesMax: 16 * 1024 * 1024,
  subscriptionBytesMax: 4 * 1024 * 1024,
};

export interface SessionKindOptions {
  readonly catalog: TopicCatalog;
  /** Keeps retention from taking what sessions have not read. */
  readonly placement: Pick<PlacementClient, 'holdShards'>;
  /** Tells a share group that a session has ended which was a member. */
  readonly endMember: EndMember;
  readonly limits?: Partial<SessionLimits>;
}

/** The coordinator of MQTT sessions, to be registered at the host of every broker. */
export function createSessionKind(options: SessionKindOptions): CoordinatorKind {
  const limits = { ...sessionLimitsDefault, ...options.limits };
  const router = new TopicRouter(options.catalog);
  return {
    kind: sessionKind,
    shards: sessionShards,
    create: (context) => new SessionMachine(context, { ...options, router, limits }),
  };
}

interface SessionMachineOptions {
  readonly router: TopicRouter;
  readonly catalog: TopicCatalog;
  readonly placement: Pick<PlacementClient, 'holdShards'>;
  readonly endMember: EndMember;
  readonly limits: SessionLimits;
}

type ReplyBody = NonNullable<MqttSessionReply['reply']>;
const done: ReplyBody = { $case: 'done', value: {} };

/**
 * The sessions of one shard (DESIGN.md, "Sessions"). `session-step.ts` decides, `session-table.ts` is
 * the logged state; here are the grants that are in memory only, epochs, deadlines and replies.
 */
export class SessionMachine implements StateMachine {
  readonly #context: CoordinatorContext;
  readonly #router: TopicRouter;
  readonly #limits: SessionLimits;
  readonly #table: SessionTable;
  /** Sessions that end with their connections and have no will. */
  readonly #transients = new Map<string, MqttSessionGranted>();
  readonly #waiters = new ReleaseWaiters();
  readonly #deadlines: SessionDeadlines;
  readonly #lost: LostHolders;
  readonly #holds: SessionHolds;
  readonly #leaves: LeaveTeller;
  #nextEpoch = 0;

  constructor(context: CoordinatorContext, options: SessionMachineOptions) {
    const { router, limits, catalog, placement, endMember } = options;
    this.#context = context;
    this.#router = router;
    this.#limits = limits;
    this.#table = new SessionTable(context.outbox);
    this.#deadlines = new SessionDeadlines(context, (clientId, due) => {
      if (this.#step(clientId, 'deadline', due).retry === true) this.#deadlines.retry(clientId);
    });
    this.#lost = new LostHolders({
      context,
      heldBy: (nodeId, incarnation) => this.#table.grants.heldBy(nodeId, incarnation),
      end: (clientId) => this.#endHeld(clientId),
    });
    const sessions = (): Iterator<readonly [string, Readonly<Session>]> => this.#table.sessions();
    this.#holds = new SessionHolds({ context, catalog, placement, sessions });
    this.#leaves = new LeaveTeller(context, this.#table.owedLeaves, endMember);
  }

  apply(record: Buffer, offset: Offset): void {
    this.#table.apply(decodeMessage(MqttSessionEvent, record), offset);
  }

  snapshot(): Iterator<Buffer> {
    return this.#table.snapshot();
  }

  restoreChunk(chunk: Buffer): void {
    this.#table.restoreChunk(chunk);
  }

  started(): void {
    // What the former owner granted is below, also what it kept in memory only.
    this.#nextEpoch = this.#table.reservedEpochs;
    for (const [clientId, { disconnected }] of this.#table.sessions()) {
      if (disconnected !== undefined) this.#deadlines.set(clientId, disconnected);
    }
    for (const broker of this.#table.grants.brokers()) this.#lost.suspect(broker);
    this.#holds.start();
    this.#leaves.tell();
  }

  stopped(): void {
    this.#transients.clear();
    this.#leaves.stop();
  }

  nodeGone(nodeId: string, incarnation: number): void {
    this.#lost.gone({ nodeId, incarnation });
  }

  outboxDelivered(tag: Buffer, outcome: OutboxOutcome): void {
    const { clientId, releaseId } = decodeMessage(MqttOutboxTag, tag);
    if (outcome.kind === 'refused') {
      const { kind, index, logger } = this.#context;
      const fields = { kind, index, clientId, code: outcome.error.code };
      logger.warn(fields, `a stored message cannot be published: ${outcome.error.message}`);
    }
    if (releaseId > 0) this.#waiters.delivered(releaseId);
  }

  outboxConfirmed(tag: Buffer): void {
    const decoded = decodeMessage(MqttOutboxTag, tag);
    this.#table.confirmed(decoded);
    this.#waiters.confirmed(decoded.releaseId);
  }

  command(payload: Buffer, caller: Caller, reply: Reply): void {
    const { clientId, epoch, command } = decodeMessage(MqttSessionCommand, payload);
    switch (command?.$case) {
      case undefined:
        throw new OperatingError('UNSUPPORTED', 'a command of a newer version; update this broker');
      case 'connect':
        this.#connect(command.value, caller, reply);
        return;
      case 'announce':
        this.#announce(command.value, caller, reply);
        return;
      case 'awaitRelease':
        this.#awaitRelease(clientId, command.value.releaseId, reply);
        return;
      case 'subscribe':
        this.#command(clientId, 'subscribe', { epoch, subscribe: command.value }, reply);
        return;
      case 'unsubscribe':
        this.#command(clientId, 'unsubscribe', { epoch, unsubscribe: command.value }, reply);
        return;
      case 'progress':
        this.#command(clientId, 'progress', { epoch, progress: command.value }, reply);
        return;
      case 'storeInbound':
        this.#command(clientId, 'storeInbound', { epoch, storeInbound: command.value }, reply);
        return;
      case 'releaseInbound':
        this.#command(clientId, 'releaseInbound', { epoch, releaseInbound: command.value }, reply);
        return;
      case 'disconnect':
        this.#command(clientId, 'disconnect', { epoch, disconnect: command.value }, reply);
        return;
      case 'abandon':
        this.#command(clientId, 'abandon', command.value, reply);
        return;
      default:
        unreachable(command);
    }
  }

  #command<Kind extends SessionInputKind>(
    clientId: string,
    kind: Kind,
    input: SessionInputs[Kind],
    reply: Reply,
  ): void {
    const { answer } = this.#step(clientId, kind, input);
    this.#answer(clientId, answer, reply);
  }

  #connect(connect: MqttConnect, caller: Caller, reply: Reply): void {
    const { clientId, connectionId, will } = connect;
    if (clientId === '' || connectionId === '' || (will !== undefined && !will.message)) {
      throw new OperatingError(
        'INVALID_ARGUMENT',
        `a session needs a client id ("${clientId}"), a connection id and a whole will`,
      );
    }
    this.#reserveEpochs();
    const { answer } = this.#step(clientId, 'connect', { connect, caller });
    this.#lost.suspect(caller);
    const granted = this.#transients.get(clientId);
    if (granted === undefined) {
      this.#answer(clientId, answer, reply);
      return;
    }
    // It is in no log: only a proof that nobody else owns this shard makes it the only grant.
    this.#context.fresh(() => {
      const isStill = this.#grantOf(clientId)?.epoch === granted.epoch;
      if (isStill) this.#answer(clientId, answer, reply);
      else reply.fail(new OperatingError('FENCED', 'another connection has the session already'));
    });
  }

  #announce({ sessions }: MqttAnnounce, caller: Caller, reply: Reply): void {
    for (const announced of sessions) {
      this.#step(announced.clientId, 'announced', { announced, caller });
    }
    this.#lost.suspect(caller);
    reply.ok(encodeMessage(MqttSessionReply, { reply: done }));
  }

  #awaitRelease(clientId: string, releaseId: number, reply: Reply): void {
    const answer = (): void => reply.ok(encodeMessage(MqttSessionReply, { reply: done }));
    const releases = this.#table.get(clientId)?.releases.values() ?? [];
    if ([...releases].includes(releaseId)) this.#waiters.wait(releaseId, answer);
    else answer();
  }

  /** The broker that holds the session is gone. */
  #endHeld(clientId: string): void {
    const view = this.#view(clientId);
    if (view.status === 'absent' || view.status === 'disconnected') return;
    const { epoch } = view.status === 'transient' ? view.granted : view.session.granted;
    this.#step(clientId, 'holderGone', { epoch });
  }

  #step<Kind extends SessionInputKind>(
    clientId: string,
    kind: Kind,
    input: SessionInputs[Kind],
  ): Decision {
    const decision = sessionStep(this.#view(clientId), kind, input, {
      clientId,
      nowMs: this.#context.clock.wallMs(),
      nextEpoch: this.#nextEpoch,
      atCapacity: this.#table.size + this.#transients.size >= this.#limits.sessionsMax,
      limits: this.#limits,
      route: (topic) => (this.#context.outbox.full ? undefined : this.#router.route(topic)),
    });
    this.#carryOut(clientId, decision);
    return decision;
  }

  #carryOut(clientId: string, decision: Decision): void {
    if (Object.hasOwn(decision, 'transient')) this.#setTransient(clientId, decision.transient);
    for (const event of decision.events) {
      this.#context.propose(encodeMessage(MqttSessionEvent, { clientId, event }));
    }
    if (decision.events.length > 0) this.#followDeadline(clientId);
    if (this.#table.owedLeaves.size > 0) this.#context.afterCommit(() => this.#leaves.tell());
    const granted = this.#grantOf(clientId);
    if (granted !== undefined && granted.epoch >= this.#nextEpoch) {
      this.#nextEpoch = granted.epoch + 1;
    }
    if (decision.revoked !== undefined) this.#revoke(clientId, decision.revoked);
  }

  #setTransient(clientId: string, granted: MqttSessionGranted | undefined): void {
    const before = this.#transients.get(clientId);
    if (before !== undefined) this.#table.grants.remove(before, clientId);
    if (granted === undefined) this.#transients.delete(clientId);
    else {
      this.#transients.set(clientId, granted);
      this.#table.grants.add(granted, clientId);
    }
  }

  #followDeadline(clientId: string): void {
    const disconnected = this.#table.get(clientId)?.disconnected;
    if (disconnected === undefined) this.#deadlines.clear(clientId);
    else this.#deadlines.set(clientId, disconnected);
  }

  #revoke(clientId: string, { holder, epoch, reason }: Revocation): void {
    const reasons = {
      'taken-over': MqttRevokeReason.TAKEN_OVER,
      administrative: MqttRevokeReason.ADMINISTRATIVE,
    } as const;
    const revoked = [{ clientId, epoch, reason: reasons[reason] }];
    this.#context.notify(holder.nodeId, encodeMessage(MqttSessionNotice, { revoked }));
  }

  #view(clientId: string): SessionView {
    const session = this.#table.get(clientId);
    if (session !== undefined) {
      return { status: session.disconnected === undefined ? 'connected' : 'disconnected', session };
    }
    const granted = this.#transients.get(clientId);
    return granted === undefined ? { status: 'absent' } : { status: 'transient', granted };
  }

  #grantOf(clientId: string): MqttSessionGranted | undefined {
    return this.#table.get(clientId)?.granted ?? this.#transients.get(clientId);
  }

  #answer(clientId: string, answer: SessionAnswer, reply: Reply): void {
    if (answer.kind === 'refused') {
      reply.fail(answer.error);
      return;
    }
    const body = this.#replyBody(clientId, answer);
    reply.ok(encodeMessage(MqttSessionReply, { reply: body }));
  }

  #replyBody(
    clientId: string,
    answer: Exclude<SessionAnswer, { readonly kind: 'refused' }>,
  ): ReplyBody {
    switch (answer.kind) {
      case 'granted':
        return this.#grantedBody(clientId);
      case 'released': {
        const releaseId = this.#table.get(clientId)?.releases.get(answer.packetId);
        const value = { known: releaseId !== undefined, releaseId: releaseId ?? 0 };
        return { $case: 'released', value };
      }
      case 'done':
        return done;
      default:
        return unreachable(answer);
    }
  }

  #grantedBody(clientId: string): ReplyBody {
    const session = this.#table.get(clientId);
    const granted = this.#grantOf(clientId);
    assert(granted !== undefined, 'who was granted a session has it in the same call');
    const positions = [...(session?.positions ?? [])];
    return {
      $case: 'granted',
      value: {
        epoch: granted.epoch,
        present: granted.present,
        subscriptions: [...(session?.subscriptions.values() ?? [])],
        positions: positions.map(([shardId, offset]) => ({ shardId, offset })),
        window: session?.window ?? [],
        inboundPacketIds: [...(session?.inbound.keys() ?? [])],
        trimmed: session?.trimmed,
        replays: [...(session?.replays.values() ?? [])],
      },
    };
  }

  /** Keeps ahead of what is granted: nothing leaves before the record is committed. */
  #reserveEpochs(): void {
    if (this.#nextEpoch + 1 < this.#table.reservedEpochs) return;
    const until = this.#table.reservedEpochs + epochBlock;
    const event = { $case: 'epochsReserved', value: { until } } as const;
    this.#context.propose(encodeMessage(MqttSessionEvent, { clientId: '', event }));
    this.#nextEpoch = Math.max(this.#nextEpoch, until - epochBlock + 1);
  }
}
