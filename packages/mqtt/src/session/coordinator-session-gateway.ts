import {
  type CancelTimer,
  type Clock,
  offset,
  OperatingError,
  shardId,
  toOperatingError,
  TurnTask,
} from '@robustmq/core';
import { type CoordinatorCalls, coordinatorIndex } from '@robustmq/kernel';
import {
  type MqttAnnouncedSession,
  type MqttGranted,
  type MqttPosition,
  type MqttProgress,
  MqttRevokeReason,
  MqttSessionCommand,
  MqttSessionNotice,
  MqttSessionReply,
  type MqttSubscription,
} from '@robustmq/rpc';
import { type AbandonedConnect, AbandonedConnects } from './abandoned-connects.ts';
import { decodeMessage, encodeMessage } from './encoded-message.ts';
import type {
  AnnouncedSession,
  ConnectSession,
  RevokeReason,
  SessionGateway,
  SessionGrant,
  SessionGranted,
  SessionProgress,
  SessionSubscription,
  ShardPosition,
  StoredMessage,
} from './session-gateway.ts';
import { sessionKind } from './session-machine.ts';
import { messageToProto } from './stored-message.ts';

export interface CoordinatorSessionGatewayOptions {
  readonly calls: CoordinatorCalls;
  readonly clock: Clock;
  /** How long a call is tried, ms. Default 10,000. */
  readonly timeoutMs?: number;
  /** How often all sessions without a log are announced, ms. Default 30,000. */
  readonly announceEveryMs?: number;
}

type Command = NonNullable<MqttSessionCommand['command']>;
type ReplyCase = NonNullable<MqttSessionReply['reply']>['$case'];
type ReplyValue<Case extends ReplyCase> = Extract<
  NonNullable<MqttSessionReply['reply']>,
  { $case: Case }
>['value'];

/** CONNECTs of a client id that are under way. */
interface Connecting {
  readonly connectionIds: string[];
  /** Highest epoch that was revoked meanwhile. */
  revokedEpoch: number;
}
type RevokeListener = (clientId: string, epoch: number, reason: RevokeReason) => void;

const timeoutMsDefault = 10_000;
const announceEveryMsDefault = 30_000;
const announcedMax = 1000;

/**
 * Sessions over their coordinators. Every command is an ordered call, so that commands of one session are
 * carried out in the order in which they were given, and those of one turn travel together.
 *
 * Sessions without a log are announced to a coordinator that has moved, and to all of them now and then:
 * that heals what a lost notice or a coordinator that was begun anew has left behind.
 */
export class CoordinatorSessionGateway implements SessionGateway, Disposable {
  readonly #calls: CoordinatorCalls;
  readonly #timeoutMs: number;
  #revoked: RevokeListener = () => {};
  #sessions: () => Iterable<AnnouncedSession> = () => [];
  /** Coordinators that have moved and want announcements. */
  readonly #moved = new Set<number>();
  readonly #announcing = new TurnTask(() => this.#announceMoved());
  /** By client id. */
  readonly #connecting = new Map<string, Connecting>();
  /** By coordinator; one that never had any is not there. */
  readonly #abandoned = new Map<number, AbandonedConnects>();

  readonly #clock: Clock;
  readonly #announceEveryMs: number;
  #cancelRound: CancelTimer = () => {};
  #isClosed = false;

  constructor(options: CoordinatorSessionGatewayOptions) {
    const { calls, clock, timeoutMs = timeoutMsDefault } = options;
    this.#calls = calls;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#announceEveryMs = options.announceEveryMs ?? announceEveryMsDefault;
    this.#scheduleRound();
    calls.onNotice(sessionKind, (_, payload) => this.#noticed(payload));
    calls.onOwner(sessionKind, (index) => {
      this.#moved.add(index);
      this.#announcing.schedule();
    });
  }

  async connect(request: ConnectSession): Promise<SessionGranted> {
    const { clientId, connectionId, cleanStart, expirySeconds, will } = request;
    const value = {
      clientId,
      connectionId,
      cleanStart,
      expirySeconds,
      will: will && { message: messageToProto(will), delaySeconds: will.delaySeconds },
    };
    this.#abandonEarlier(clientId, connectionId);
    const connecting = this.#connecting.get(clientId) ?? { connectionIds: [], revokedEpoch: 0 };
    connecting.connectionIds.push(connectionId);
    this.#connecting.set(clientId, connecting);
    try {
      const grant = { clientId, epoch: 0 };
      const granted = await this.#command(grant, { $case: 'connect', value }, 'granted');
      // The notice may come before the answer: then nobody has heard of that grant yet.
      if (granted.epoch <= connecting.revokedEpoch) throw takenOver(clientId);
      return grantedOfProto(granted);
    } catch (thrown) {
      if (isOpen(toOperatingError(thrown))) this.#abandonLater({ clientId, connectionId });
      throw thrown;
    } finally {
      const { connectionIds } = connecting;
      connectionIds.splice(connectionIds.indexOf(connectionId), 1);
      if (connectionIds.length === 0) this.#connecting.delete(clientId);
    }
  }

  async subscribe(
    grant: SessionGrant,
    subscriptions: readonly SessionSubscription[],
    replays: readonly string[] = [],
  ): Promise<void> {
    const value = {
      subscriptions: subscriptions.map(subscriptionToProto),
      replays: [...replays],
    };
    await this.#command(grant, { $case: 'subscribe', value }, 'done');
  }

  async unsubscribe(grant: SessionGrant, filters: readonly string[]): Promise<void> {
    const value = { filters: [...filters] };
    await this.#command(grant, { $case: 'unsubscribe', value }, 'done');
  }

  async progress(grant: SessionGrant, progress: SessionProgress): Promise<void> {
    await this.#command(grant, { $case: 'progress', value: progressToProto(progress) }, 'done');
  }

  async storeInbound(grant: SessionGrant, packetId: number, message: StoredMessage): Promise<void> {
    const value = { packetId, message: messageToProto(message) };
    await this.#command(grant, { $case: 'storeInbound', value }, 'done');
  }

  async releaseInbound(grant: SessionGrant, packetId: number): Promise<boolean> {
    const release = { $case: 'releaseInbound', value: { packetId } } as const;
    const { known, releaseId } = await this.#command(grant, release, 'released');
    if (!known) return false;
    // Its place in the order is taken; waiting for the other partition must hold up nobody else.
    const wait = { $case: 'awaitRelease', value: { releaseId } } as const;
    const payload = commandBytes(grant, wait);
    const options = { timeoutMs: this.#timeoutMs };
    await this.#calls.call(sessionKind, grant.clientId, payload, options);
    return true;
  }

  async disconnect(
    grant: SessionGrant,
    end: {
      publishWill: boolean;
      expirySeconds: number | undefined;
      progress: SessionProgress | undefined;
    },
  ): Promise<void> {
    const { publishWill, expirySeconds } = end;
    const progress = end.progress && progressToProto(end.progress);
    const value = { publishWill, expirySeconds, progress };
    await this.#command(grant, { $case: 'disconnect', value }, 'done');
  }

  onRevoked(listener: RevokeListener): void {
    this.#revoked = listener;
  }

  announce(listener: () => Iterable<AnnouncedSession>): void {
    this.#sessions = listener;
  }

  /** Announces and abandons nothing any more. Calls under way end as they end. */
  [Symbol.dispose](): void {
    this.#isClosed = true;
    this.#cancelRound();
    for (const abandoned of this.#abandoned.values()) abandoned[Symbol.dispose]();
  }

  /** A CONNECT must not find a session that only an earlier one has made, of which the client never heard. */
  #abandonEarlier(clientId: string, connectionId: string): void {
    const shards = this.#calls.shards(sessionKind) ?? 0;
    const abandoned = this.#abandoned.get(shards && coordinatorIndex(clientId, shards));
    if (abandoned?.full === true) {
      throw new OperatingError(
        'RESOURCE_EXHAUSTED',
        `the coordinator of "${clientId}" has not answered earlier CONNECTs; try again later`,
      );
    }
    abandoned?.tellFirst(clientId);
    for (const earlier of this.#connecting.get(clientId)?.connectionIds ?? []) {
      // If it fails: the earlier CONNECT is abandoned when its own time is up.
      if (earlier !== connectionId) {
        this.#abandon({ clientId, connectionId: earlier }).catch(toOperatingError);
      }
    }
  }

  #abandonLater(connect: AbandonedConnect): void {
    const shards = this.#calls.shards(sessionKind);
    if (shards === undefined || this.#isClosed) return; // Nothing was sent, or the broker ends.
    const index = coordinatorIndex(connect.clientId, shards);
    let abandoned = this.#abandoned.get(index);
    if (abandoned === undefined) {
      const tell = (each: AbandonedConnect): Promise<unknown> => this.#abandon(each);
      abandoned = new AbandonedConnects({ clock: this.#clock, tell });
      this.#abandoned.set(index, abandoned);
    }
    abandoned.add(connect);
  }

  #abandon({ clientId, connectionId }: AbandonedConnect): Promise<unknown> {
    const command = { $case: 'abandon', value: { connectionId } } as const;
    return this.#command({ clientId, epoch: 0 }, command, 'done');
  }

  #scheduleRound(): void {
    this.#cancelRound = this.#clock.setTimer(this.#announceEveryMs, () => {
      const shards = this.#calls.shards(sessionKind) ?? 0;
      for (let index = 0; index < shards; index++) this.#moved.add(index);
      this.#announcing.schedule();
      this.#scheduleRound();
    });
  }

  async #command<Case extends ReplyCase>(
    grant: SessionGrant,
    command: Command,
    expected: Case,
  ): Promise<ReplyValue<Case>> {
    const payload = commandBytes(grant, command);
    const options = { timeoutMs: this.#timeoutMs };
    const bytes = await this.#calls.callOrdered(sessionKind, grant.clientId, payload, options);
    const { reply } = decodeMessage(MqttSessionReply, bytes);
    if (reply?.$case === expected) return reply.value as ReplyValue<Case>;
    throw new OperatingError(
      'UNSUPPORTED',
      `${command.$case} was answered with ${reply?.$case ?? 'nothing'}; update this broker`,
    );
  }

  #noticed(payload: Buffer): void {
    for (const { clientId, epoch, reason } of decodeMessage(MqttSessionNotice, payload).revoked) {
      const connecting = this.#connecting.get(clientId);
      if (connecting !== undefined) {
        connecting.revokedEpoch = Math.max(connecting.revokedEpoch, epoch);
      }
      const isTakeover = reason === MqttRevokeReason.TAKEN_OVER;
      this.#revoked(clientId, epoch, isTakeover ? 'taken-over' : 'administrative');
    }
  }

  /** Tells the coordinators that have moved of the sessions that they cannot read in their logs. */
  #announceMoved(): void {
    const shards = this.#calls.shards(sessionKind);
    if (shards === undefined || this.#isClosed) return;
    const sessions = new Map<number, MqttAnnouncedSession[]>();
    for (const { clientId, connectionId, epoch } of this.#sessions()) {
      const index = coordinatorIndex(clientId, shards);
      if (!this.#moved.has(index)) continue;
      const ofIndex = sessions.get(index);
      if (ofIndex === undefined) sessions.set(index, [{ clientId, connectionId, epoch }]);
      else ofIndex.push({ clientId, connectionId, epoch });
    }
    this.#moved.clear();
    for (const [index, announced] of sessions) {
      for (let at = 0; at < announced.length; at += announcedMax) {
        void this.#announceTo(index, announced.slice(at, at + announcedMax));
      }
    }
  }

  async #announceTo(index: number, sessions: MqttAnnouncedSession[]): Promise<void> {
    const command = { $case: 'announce', value: { sessions } } as const;
    const payload = commandBytes({ clientId: '', epoch: 0 }, command);
    try {
      await this.#calls.callOrdered(sessionKind, index, payload, { timeoutMs: this.#timeoutMs });
    } catch (thrown) {
      toOperatingError(thrown); // The next round tells it again.
    }
  }
}

function commandBytes({ clientId, epoch }: SessionGrant, command: Command): Buffer {
  return encodeMessage(MqttSessionCommand, { clientId, epoch, command });
}

/** Whether the command may have been carried out, or still be, although nobody said so. */
function isOpen({ code }: OperatingError): boolean {
  return code === 'UNAVAILABLE' || code === 'INDETERMINATE';
}

function takenOver(clientId: string): OperatingError {
  return new OperatingError('FENCED', `the session of "${clientId}" was taken over already`);
}

function positionsToProto(positions: readonly ShardPosition[]): MqttPosition[] {
  return positions.map(({ shardId, offset }) => ({ shardId, offset }));
}

function positionsOfProto(positions: readonly MqttPosition[]): ShardPosition[] {
  return positions.map((position) => ({
    shardId: shardId(position.shardId),
    offset: offset(position.offset),
  }));
}

function subscriptionToProto(subscription: SessionSubscription): MqttSubscription {
  return { ...subscription, startOffsets: positionsToProto(subscription.startOffsets) };
}

function subscriptionOfProto(subscription: MqttSubscription): SessionSubscription {
  const { qos, retainHandling, startOffsets } = subscription;
  return {
    ...subscription,
    qos: qos as 0 | 1 | 2,
    retainHandling: retainHandling as 0 | 1 | 2,
    startOffsets: positionsOfProto(startOffsets),
  };
}

function progressToProto(progress: SessionProgress): MqttProgress {
  const { positions, window, complete, trimmed, replays } = progress;
  return {
    positions: positionsToProto(positions),
    complete,
    trimmed: trimmed && { ...trimmed },
    replays: replays.map(({ filter, from }) => ({
      filter,
      coordinator: from?.coordinator ?? 0,
      from: from && { shardId: from.shardId, name: from.name },
    })),
    window: window.map(({ packetId, shardId, offset, qos, state }) => ({
      packetId,
      shardId,
      offset,
      qos,
      released: state === 'released',
    })),
  };
}

function grantedOfProto(granted: MqttGranted): SessionGranted {
  return {
    epoch: granted.epoch,
    present: granted.present,
    subscriptions: granted.subscriptions.map(subscriptionOfProto),
    positions: positionsOfProto(granted.positions),
    trimmed: granted.trimmed,
    replays: granted.replays.map(({ filter, coordinator, from }) => ({
      filter,
      from: from && { coordinator, ...from },
    })),
    window: granted.window.map((entry) => ({
      packetId: entry.packetId,
      shardId: shardId(entry.shardId),
      offset: offset(entry.offset),
      qos: entry.qos === 2 ? 2 : 1,
      state: entry.released ? 'released' : 'sent',
    })),
    inboundPacketIds: granted.inboundPacketIds,
  };
}
