import { OperatingError } from '@robustmq/core';
import type { MqttSessionGranted, MqttWill } from '@robustmq/rpc';
import { describe, expect, it } from 'vitest';
import type { Decision, SessionInputKind, SessionInputs, StepContext } from './session-input.ts';
import { newSession, type SessionStatus, type SessionView } from './session-state.ts';
import { sessionStep } from './session-step.ts';

const caller = { nodeId: 'n', incarnation: 1 };
const will: MqttWill = {
  message: { topic: 'w', value: Buffer.from('x'), headers: [] },
  delaySeconds: 5,
};

const context: StepContext = {
  clientId: 'c',
  nowMs: 1000,
  nextEpoch: 9,
  atCapacity: false,
  limits: { sessionsMax: 2, inboundBytesMax: 100, subscriptionBytesMax: 100 },
  route: () => ({ shardId: 1, key: undefined }),
};

function granted(changes: Partial<MqttSessionGranted> = {}): MqttSessionGranted {
  return {
    epoch: 5,
    connectionId: 'held',
    supersededConnectionId: 'lost',
    ...caller,
    expirySeconds: 60,
    will: undefined,
    present: false,
    ...changes,
  };
}

function view(status: SessionStatus, changes: Partial<MqttSessionGranted> = {}): SessionView {
  const session = newSession('c', granted(changes));
  switch (status) {
    case 'absent':
      return { status };
    case 'transient':
      return { status, granted: granted({ expirySeconds: 0, ...changes }) };
    case 'connected':
      return { status, session };
    default: {
      const atMs = 500;
      const disconnected = { atMs, expirySeconds: 60, expiresAtMs: 60_500, willAtMs: undefined };
      return { status, session: { ...session, disconnected } };
    }
  }
}

const inputs: { [Kind in SessionInputKind]: SessionInputs[Kind] } = {
  connect: {
    caller,
    connect: {
      clientId: 'c',
      connectionId: 'new',
      cleanStart: false,
      expirySeconds: 60,
      will: undefined,
    },
  },
  subscribe: { epoch: 5, subscribe: { subscriptions: [], replays: [] } },
  unsubscribe: { epoch: 5, unsubscribe: { filters: ['f'] } },
  progress: {
    epoch: 5,
    progress: { positions: [], window: [], complete: true, trimmed: undefined, replays: [] },
  },
  storeInbound: {
    epoch: 5,
    storeInbound: { packetId: 1, message: { topic: 't', value: undefined, headers: [] } },
  },
  releaseInbound: { epoch: 5, releaseInbound: { packetId: 1 } },
  disconnect: {
    epoch: 5,
    disconnect: { publishWill: false, expirySeconds: undefined, progress: undefined },
  },
  abandon: { connectionId: 'held' },
  announced: { caller, announced: { clientId: 'c', connectionId: 'other', epoch: 4 } },
  holderGone: { epoch: 5 },
  deadline: { willDue: true, expired: true },
};

/** The decision in short: events, what happens in memory, who is told, the answer. */
function short(decision: Decision): string {
  const memory = Object.hasOwn(decision, 'transient')
    ? [decision.transient === undefined ? '-memory' : '+memory']
    : [];
  const { answer, revoked } = decision;
  const code = answer.kind === 'refused' ? answer.error.code : answer.kind;
  const told = revoked === undefined ? [] : [`!${revoked.reason}`];
  return [...decision.events.map(({ $case }) => $case), ...memory, ...told, code].join(' ');
}

const rows: { [Status in SessionStatus]: Record<SessionInputKind, string> } = {
  absent: {
    connect: 'granted granted',
    subscribe: 'FENCED',
    unsubscribe: 'FENCED',
    progress: 'FENCED',
    storeInbound: 'FENCED',
    releaseInbound: 'FENCED',
    disconnect: 'done',
    abandon: 'done',
    announced: '+memory done',
    holderGone: 'done',
    deadline: 'done',
  },
  transient: {
    connect: 'granted -memory !taken-over granted',
    subscribe: 'done',
    unsubscribe: 'done',
    progress: 'done',
    storeInbound: 'INVALID_ARGUMENT',
    releaseInbound: 'released',
    disconnect: '-memory done',
    abandon: '-memory done',
    announced: '!taken-over done',
    holderGone: '-memory !administrative done',
    deadline: 'done',
  },
  connected: {
    connect: 'granted !taken-over granted',
    subscribe: 'subscribed done',
    unsubscribe: 'done',
    progress: 'progressed done',
    storeInbound: 'inboundStored done',
    releaseInbound: 'released',
    disconnect: 'disconnected done',
    abandon: 'removed done',
    announced: '!taken-over done',
    holderGone: 'disconnected !administrative done',
    deadline: 'done',
  },
  disconnected: {
    connect: 'granted granted',
    subscribe: 'FENCED',
    unsubscribe: 'FENCED',
    progress: 'FENCED',
    storeInbound: 'FENCED',
    releaseInbound: 'FENCED',
    disconnect: 'done',
    abandon: 'removed done',
    announced: '!taken-over done',
    holderGone: 'done',
    deadline: 'removed done',
  },
};

function step<Kind extends SessionInputKind>(
  status: SessionStatus,
  kind: Kind,
  changes: {
    readonly input?: Partial<SessionInputs[Kind]>;
    readonly granted?: Partial<MqttSessionGranted>;
    readonly context?: Partial<StepContext>;
  } = {},
): Decision {
  const input = { ...inputs[kind], ...changes.input };
  return sessionStep(view(status, changes.granted), kind, input, {
    ...context,
    ...changes.context,
  });
}

function connect(changes: Partial<SessionInputs['connect']['connect']>): SessionInputs['connect'] {
  return { caller, connect: { ...inputs.connect.connect, ...changes } };
}

describe('sessionStep', () => {
  for (const status of Object.keys(rows) as SessionStatus[]) {
    for (const kind of Object.keys(rows[status]) as SessionInputKind[]) {
      it(`${status}, ${kind}: ${rows[status][kind]}`, () => {
        expect(short(step(status, kind))).toBe(rows[status][kind]);
      });
    }
  }

  it.each(['transient', 'connected', 'disconnected'] as const)(
    'refuses every other epoch: %s',
    (status) => {
      for (const kind of ['subscribe', 'unsubscribe', 'progress', 'disconnect'] as const) {
        for (const epoch of [4, 6]) {
          expect(short(step(status, kind, { input: { epoch } }))).toBe('FENCED');
        }
      }
      for (const epoch of [4, 6]) {
        expect(short(step(status, 'holderGone', { input: { epoch } }))).toBe('done');
      }
    },
  );

  it('grants the next epoch, and the old one to a repeated CONNECT', () => {
    const [event] = step('connected', 'connect').events;
    expect(event).toMatchObject({
      $case: 'granted',
      value: { epoch: 9, connectionId: 'new', supersededConnectionId: 'held', present: true },
    });
    const again = step('connected', 'connect', { input: connect({ connectionId: 'held' }) });
    expect(short(again)).toBe('granted');
    const late = step('connected', 'connect', { input: connect({ connectionId: 'lost' }) });
    expect(short(late)).toBe('FENCED');
  });

  it('keeps in memory only what ends with its connection and has no will', () => {
    const short0 = (changes: Partial<SessionInputs['connect']['connect']>): string =>
      short(step('absent', 'connect', { input: connect({ expirySeconds: 0, ...changes }) }));
    expect(short0({})).toBe('+memory granted');
    expect(short0({ will })).toBe('granted granted');
    const clean = connect({ expirySeconds: 0, cleanStart: true });
    expect(short(step('disconnected', 'connect', { input: clean }))).toBe(
      'removed +memory granted',
    );
    // What is resumed stays in the log.
    const resumed = connect({ expirySeconds: 0 });
    expect(short(step('disconnected', 'connect', { input: resumed }))).toBe('granted granted');
  });

  it('publishes a will with the event that removes it [MQTT5-3.1.2-10]', () => {
    const lost = { publishWill: true, expirySeconds: undefined, progress: undefined };
    const end = (
      delaySeconds: number,
      expirySeconds: number,
      stepContext: Partial<StepContext> = {},
    ): Decision =>
      step('connected', 'disconnect', {
        input: { disconnect: lost },
        granted: { will: { ...will, delaySeconds }, expirySeconds },
        context: stepContext,
      });
    expect(short(end(0, 60))).toBe('willFired disconnected done');
    expect(short(end(5, 0))).toBe('willFired removed done');
    expect(end(5, 60).events).toMatchObject([{ value: { willAtMs: 6000, expiresAtMs: 61_000 } }]);
    expect(end(70, 60).events).toMatchObject([{ value: { willAtMs: 61_000 } }]);
    expect(end(70, 0xff_ff_ff_ff).events).toMatchObject([
      { value: { willAtMs: 71_000, expiresAtMs: undefined } },
    ]);
    // It cannot be routed: the session stays until it can.
    const route = (): undefined => undefined;
    expect(end(5, 0, { route }).events).toMatchObject([
      { $case: 'disconnected', value: { willAtMs: 1000, expiresAtMs: 1000 } },
    ]);
    const due = step('disconnected', 'deadline', { granted: { will }, context: { route } });
    expect(due).toMatchObject({ events: [], retry: true });
    const taken = step('connected', 'connect', {
      input: connect({ cleanStart: true }),
      granted: { will },
      context: { route },
    });
    expect(short(taken)).toBe('UNAVAILABLE');
  });

  it('abandons a refused CONNECT: what was not there before goes, what was stays, no will', () => {
    for (const status of ['transient', 'connected', 'disconnected'] as const) {
      const input = { connectionId: 'other' };
      expect(short(step(status, 'abandon', { input, granted: { will } }))).toBe('done');
    }
    const soon = { ...will, delaySeconds: 0 };
    for (const status of ['connected', 'disconnected'] as const) {
      expect(short(step(status, 'abandon', { granted: { will: soon } }))).toBe('removed done');
      const ended = step(status, 'abandon', { granted: { will: soon, present: true } });
      expect(ended.events).toMatchObject([
        { $case: 'disconnected', value: { willAtMs: undefined, expiresAtMs: 61_000 } },
      ]);
    }
    // Repeated, it does not move the expiry.
    expect(short(step('disconnected', 'abandon', { granted: { present: true } }))).toBe('done');
  });

  it('refuses windows in which a packet id occurs twice or is none', () => {
    const entry = { shardId: 1, offset: 1, qos: 1, released: false };
    for (const packetIds of [[1, 1], [0], [65_536]]) {
      const window = packetIds.map((packetId) => ({ ...entry, packetId }));
      const decision = step('connected', 'progress', {
        input: {
          progress: { positions: [], window, complete: true, trimmed: undefined, replays: [] },
        },
      });
      expect(short(decision)).toBe('INVALID_ARGUMENT');
    }
  });

  it('refuses what is over its bounds', () => {
    const atCapacity = { context: { atCapacity: true } };
    expect(short(step('absent', 'connect', atCapacity))).toBe('RESOURCE_EXHAUSTED');
    expect(short(step('disconnected', 'connect', atCapacity))).toBe('granted granted');
    const value = Buffer.alloc(200);
    const storeInbound = { packetId: 1, message: { topic: 't', value, headers: [] } };
    const stored = step('connected', 'storeInbound', { input: { storeInbound } });
    expect(stored.answer).toMatchObject({ error: { code: 'RESOURCE_EXHAUSTED', hint: {} } });
    expect(stored.answer.kind === 'refused' && stored.answer.error).toBeInstanceOf(OperatingError);
  });

  it('lets the higher epoch have a session that two brokers announce', () => {
    const announced = { clientId: 'c', connectionId: 'other', epoch: 6 };
    const decision = step('transient', 'announced', { input: { announced } });
    expect(decision).toMatchObject({ transient: { epoch: 6 }, revoked: { epoch: 5 } });
    const same = { clientId: 'c', connectionId: 'held', epoch: 5 };
    expect(short(step('transient', 'announced', { input: { announced: same } }))).toBe('done');
  });
});
