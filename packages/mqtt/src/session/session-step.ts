import { type ErrorCode, OperatingError } from '@robustmq/core';
import type { MqttConnect, MqttSessionGranted, MqttWindowEntry } from '@robustmq/rpc';
import {
  abandonConnection,
  endConnection,
  fireWill,
  lostConnection,
  targetOf,
} from './connection-end.ts';
import type {
  Decision,
  Revocation,
  SessionEventBody,
  SessionInputKind,
  SessionInputs,
  StepContext,
} from './session-input.ts';
import type { Session, SessionStatus, SessionView } from './session-state.ts';
import { subscriptionBytes } from './session-state.ts';
import { messageBytes } from './stored-message.ts';

type View<Status extends SessionStatus> = Extract<SessionView, { status: Status }>;

type Step<Status extends SessionStatus, Kind extends SessionInputKind> = (
  view: View<Status>,
  input: SessionInputs[Kind],
  context: StepContext,
) => Decision;

/** Total: a pair that nobody decided does not compile. */
type Transitions = {
  readonly [Status in SessionStatus]: {
    readonly [Kind in SessionInputKind]: Step<Status, Kind>;
  };
};

const packetIdMax = 65_535;
const done: Decision = { events: [], answer: { kind: 'done' } };
/** What a client's next try waits. */
const unroutableRetryMs = 100;

const transitions: Transitions = {
  absent: {
    connect: (_, { connect, caller }, context) =>
      grant(newGrant(connect, caller, context), { context }),
    subscribe: () => fenced(),
    unsubscribe: () => fenced(),
    progress: () => fenced(),
    storeInbound: () => fenced(),
    releaseInbound: () => fenced(),
    disconnect: () => done,
    abandon: () => done,
    announced: (_, { announced, caller }) => {
      const { connectionId, epoch } = announced;
      return { ...done, transient: transientGrant({ connectionId, epoch, ...caller }) };
    },
    holderGone: () => done,
    deadline: () => done,
  },
  transient: {
    connect: ({ granted }, { connect, caller }, context) =>
      connectAgain(granted, connect) ??
      grant(newGrant(connect, caller, context), {
        context,
        superseded: granted,
        endsTransient: true,
      }),
    // Their subscriptions and windows are the broker's own affair.
    subscribe: ({ granted }, { epoch }) => ifGranted(granted, epoch, () => done),
    unsubscribe: ({ granted }, { epoch }) => ifGranted(granted, epoch, () => done),
    progress: ({ granted }, { epoch }) => ifGranted(granted, epoch, () => done),
    storeInbound: ({ granted }, { epoch }) =>
      ifGranted(granted, epoch, () =>
        refused('INVALID_ARGUMENT', 'a session that ends with its connection stores no publishes'),
      ),
    releaseInbound: ({ granted }, { epoch, releaseInbound }) =>
      ifGranted(granted, epoch, () => ({
        events: [],
        answer: { kind: 'released', packetId: releaseInbound.packetId },
      })),
    disconnect: ({ granted }, { epoch }) =>
      ifGranted(granted, epoch, () => ({ ...done, transient: undefined })),
    abandon: ({ granted }, { connectionId }) =>
      granted.connectionId === connectionId ? { ...done, transient: undefined } : done,
    announced: ({ granted }, input) => announceBeside(granted, input),
    holderGone: ({ granted }, { epoch }) =>
      granted.epoch === epoch
        ? { ...done, transient: undefined, revoked: revoke(granted, 'administrative') }
        : done,
    deadline: () => done,
  },
  connected: {
    connect: ({ session }, { connect, caller }, context) =>
      connectAgain(session.granted, connect) ??
      takeOver(session, newGrant(connect, caller, context), connect.cleanStart, context),
    subscribe: ({ session }, { epoch, subscribe }, { limits }) =>
      ifGranted(session.granted, epoch, () => {
        let bytes = session.subscriptionBytes;
        for (const subscription of subscribe.subscriptions)
          bytes += subscriptionBytes(subscription);
        return bytes > limits.subscriptionBytesMax
          ? refused('RESOURCE_EXHAUSTED', `the session's subscriptions have ${bytes} bytes`)
          : logged({ $case: 'subscribed', value: subscribe });
      }),
    unsubscribe: ({ session }, { epoch, unsubscribe }) =>
      ifGranted(session.granted, epoch, () => {
        const filters = unsubscribe.filters.filter((filter) => session.subscriptions.has(filter));
        return filters.length === 0 ? done : logged({ $case: 'unsubscribed', value: { filters } });
      }),
    progress: ({ session }, { epoch, progress }) =>
      ifGranted(
        session.granted,
        epoch,
        () => windowFault(progress.window) ?? logged({ $case: 'progressed', value: progress }),
      ),
    storeInbound: ({ session }, { epoch, storeInbound }, context) =>
      ifGranted(session.granted, epoch, () => store(session, storeInbound, context)),
    releaseInbound: ({ session }, { epoch, releaseInbound }, context) =>
      ifGranted(session.granted, epoch, () => release(session, releaseInbound.packetId, context)),
    disconnect: ({ session }, { epoch, disconnect }, context) =>
      ifGranted(
        session.granted,
        epoch,
        () =>
          windowFault(disconnect.progress?.window ?? []) ?? {
            events: endConnection(session, disconnect, context),
            answer: { kind: 'done' },
          },
      ),
    abandon: ({ session }, { connectionId }, context) =>
      session.granted.connectionId === connectionId
        ? { ...done, events: abandonConnection(session, context) }
        : done,
    announced: ({ session }, input) => announceBeside(session.granted, input),
    holderGone: ({ session }, { epoch }, context) =>
      session.granted.epoch === epoch
        ? {
            events: endConnection(session, lostConnection, context),
            answer: { kind: 'done' },
            revoked: revoke(session.granted, 'administrative'),
          }
        : done,
    deadline: () => done,
  },
  disconnected: {
    connect: ({ session }, { connect, caller }, context) =>
      resumeOrReplace(session, newGrant(connect, caller, context), connect.cleanStart, context),
    subscribe: () => fenced(),
    unsubscribe: () => fenced(),
    progress: () => fenced(),
    storeInbound: () => fenced(),
    releaseInbound: () => fenced(),
    // Repeated: the connection has ended already.
    disconnect: ({ session }, { epoch }) => (session.granted.epoch === epoch ? done : fenced()),
    abandon: ({ session }, { connectionId }, context) =>
      abandonEnded(session, connectionId, context),
    announced: ({ session }, input) => announceBeside(session.granted, input),
    holderGone: () => done,
    deadline: ({ session }, input, context) => meetDeadline(session, input, context),
  },
};

/** What an input does to a session. Pure: the same for the same view, input and context. */
export function sessionStep<Kind extends SessionInputKind>(
  view: SessionView,
  kind: Kind,
  input: SessionInputs[Kind],
  context: StepContext,
): Decision {
  // The table's row is of the view's status.
  const step = transitions[view.status][kind] as Step<SessionStatus, Kind>;
  return step(view, input, context);
}

function newGrant(
  connect: MqttConnect,
  caller: SessionInputs['connect']['caller'],
  context: StepContext,
): MqttSessionGranted {
  return {
    epoch: context.nextEpoch,
    connectionId: connect.connectionId,
    supersededConnectionId: '',
    nodeId: caller.nodeId,
    incarnation: caller.incarnation,
    expirySeconds: connect.expirySeconds,
    will: connect.will,
    present: false,
  };
}

function transientGrant(
  grant: Pick<MqttSessionGranted, 'connectionId' | 'epoch' | 'nodeId' | 'incarnation'>,
): MqttSessionGranted {
  return {
    ...grant,
    supersededConnectionId: '',
    expirySeconds: 0,
    will: undefined,
    present: false,
  };
}

/** Logged is what outlives its connection, and what has a will that does. */
function isLogged(granted: MqttSessionGranted): boolean {
  return granted.present || granted.expirySeconds > 0 || granted.will !== undefined;
}

interface GrantOptions {
  readonly context: StepContext;
  /** Events that end what was there. */
  readonly before?: readonly SessionEventBody[];
  /** The grant that is taken over. */
  readonly superseded?: MqttSessionGranted;
  readonly endsTransient?: boolean;
}

function grant(granted: MqttSessionGranted, options: GrantOptions): Decision {
  const { context, before = [], superseded, endsTransient = false } = options;
  const isNew = superseded === undefined && before.length === 0 && !granted.present;
  if (isNew && context.atCapacity) {
    const { sessionsMax } = context.limits;
    return refused('RESOURCE_EXHAUSTED', `the coordinator has ${sessionsMax} sessions already`);
  }
  const supersededConnectionId = superseded?.connectionId ?? '';
  const complete = { ...granted, supersededConnectionId };
  const revoked = superseded && { revoked: revoke(superseded, 'taken-over') };
  if (!isLogged(complete)) {
    return { events: before, answer: { kind: 'granted' }, transient: complete, ...revoked };
  }
  return {
    events: [...before, { $case: 'granted', value: complete }],
    answer: { kind: 'granted' },
    ...(endsTransient && { transient: undefined }),
    ...revoked,
  };
}

/** A repeated CONNECT of the connection that has the grant, or of one that has lost it already. */
function connectAgain(granted: MqttSessionGranted, connect: MqttConnect): Decision | undefined {
  const { connectionId } = connect;
  if (connectionId === granted.connectionId) return { events: [], answer: { kind: 'granted' } };
  return connectionId === granted.supersededConnectionId ? fenced() : undefined;
}

/**
 * Another connection with the same client id. The old connection's will is published unless the
 * session goes on and the will has a delay. [MQTT5-3.1.3-9, MQTT5-3.1.4-3]
 */
function takeOver(
  session: Readonly<Session>,
  granted: MqttSessionGranted,
  cleanStart: boolean,
  context: StepContext,
): Decision {
  const superseded = session.granted;
  const present = !cleanStart && superseded.expirySeconds > 0;
  const isWillDue =
    superseded.will !== undefined && (!present || superseded.will.delaySeconds === 0);
  return replace(session, { ...granted, present }, { context, superseded, isWillDue });
}

/** A client comes back: its will is discarded when the session is resumed. [MQTT5-3.1.3-9] */
function resumeOrReplace(
  session: Readonly<Session>,
  granted: MqttSessionGranted,
  cleanStart: boolean,
  context: StepContext,
): Decision {
  const present = !cleanStart && (session.disconnected?.expirySeconds ?? 0) > 0;
  const isWillDue = session.granted.will !== undefined && !present;
  return replace(session, { ...granted, present }, { context, isWillDue });
}

function replace(
  session: Readonly<Session>,
  granted: MqttSessionGranted,
  options: GrantOptions & { readonly isWillDue: boolean },
): Decision {
  const before: SessionEventBody[] = [];
  if (options.isWillDue) {
    const fired = fireWill(session, options.context);
    if (fired === undefined) return unroutable(session.granted.will?.message?.topic ?? '');
    before.push(fired);
  }
  if (!granted.present) before.push({ $case: 'removed', value: {} });
  return grant(granted, { ...options, before });
}

/** Another broker announces a session of a client id that is known here: the higher epoch wins. */
function announceBeside(
  granted: MqttSessionGranted,
  { announced, caller }: SessionInputs['announced'],
): Decision {
  const { connectionId, epoch } = announced;
  if (granted.connectionId === connectionId && granted.epoch === epoch) return done;
  if (granted.epoch > epoch || isLogged(granted)) {
    return { ...done, revoked: { holder: caller, epoch, reason: 'taken-over' } };
  }
  return {
    ...done,
    transient: transientGrant({ connectionId, epoch, ...caller }),
    revoked: revoke(granted, 'taken-over'),
  };
}

function store(
  session: Readonly<Session>,
  storeInbound: SessionInputs['storeInbound']['storeInbound'],
  { limits }: StepContext,
): Decision {
  const { packetId, message } = storeInbound;
  if (!isPacketId(packetId) || message === undefined) {
    return refused('INVALID_ARGUMENT', `packet id ${packetId} with a message is needed`);
  }
  if (session.inbound.has(packetId)) return done;
  const bytes = session.inboundBytes + messageBytes(message);
  if (bytes > limits.inboundBytesMax) {
    return refused('RESOURCE_EXHAUSTED', `the session stores ${bytes} bytes; release some first`);
  }
  return logged({ $case: 'inboundStored', value: storeInbound });
}

function release(session: Readonly<Session>, packetId: number, context: StepContext): Decision {
  const answer = { kind: 'released', packetId } as const;
  const topic = session.inbound.get(packetId)?.topic;
  if (topic === undefined) return { events: [], answer };
  const target = targetOf(topic, context);
  if (target === undefined) return unroutable(topic);
  return { events: [{ $case: 'inboundReleased', value: { packetId, target } }], answer };
}

/** A refused CONNECT whose connection was ended already, as that of a broker that seemed to be gone. */
function abandonEnded(
  session: Readonly<Session>,
  connectionId: string,
  context: StepContext,
): Decision {
  const { granted } = session;
  // Repeated, it must not move the expiry.
  const isOver = granted.present && granted.will === undefined;
  if (granted.connectionId !== connectionId || isOver) return done;
  return { ...done, events: abandonConnection(session, context) };
}

function meetDeadline(
  session: Readonly<Session>,
  { willDue, expired }: SessionInputs['deadline'],
  context: StepContext,
): Decision {
  const events: SessionEventBody[] = [];
  if (session.granted.will !== undefined && (willDue || expired)) {
    const fired = fireWill(session, context);
    if (fired === undefined) return { ...done, retry: true };
    events.push(fired);
  }
  if (expired) events.push({ $case: 'removed', value: {} });
  return { events, answer: { kind: 'done' } };
}

/** A command of a connection that has the grant no more is refused. */
function ifGranted(granted: MqttSessionGranted, epoch: number, decide: () => Decision): Decision {
  return granted.epoch === epoch ? decide() : fenced();
}

function windowFault(window: readonly MqttWindowEntry[]): Decision | undefined {
  const packetIds = new Set(window.map(({ packetId }) => packetId));
  if (packetIds.size === window.length && window.every(({ packetId }) => isPacketId(packetId))) {
    return undefined;
  }
  return refused('INVALID_ARGUMENT', 'a window has a packet id from 1 to 65,535 once at most');
}

function isPacketId(packetId: number): boolean {
  return packetId >= 1 && packetId <= packetIdMax;
}

function revoke(granted: MqttSessionGranted, reason: Revocation['reason']): Revocation {
  const { nodeId, incarnation, epoch } = granted;
  return { holder: { nodeId, incarnation }, epoch, reason };
}

function logged(event: SessionEventBody): Decision {
  return { events: [event], answer: { kind: 'done' } };
}

function fenced(): Decision {
  return refused('FENCED', 'the session has another connection now, or has ended');
}

function unroutable(topic: string): Decision {
  const error = new OperatingError(
    'UNAVAILABLE',
    `a message for topic ${topic} cannot be taken now; try again`,
    { retryAfterMs: unroutableRetryMs },
  );
  return { events: [], answer: { kind: 'refused', error } };
}

function refused(code: ErrorCode, message: string): Decision {
  return { events: [], answer: { kind: 'refused', error: new OperatingError(code, message) } };
}
