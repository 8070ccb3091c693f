import { OperatingError, shardId, offset } from '@robustmq/core';

import { CoordinatorSessionGateway } from './coordinator-session-gateway.ts';
import type {
  AnnouncedSession,
  ConnectSession,
  SessionGrant,
  SessionGranted,
  SessionSubscription,
  StoredMessage,
  WillToStore,
} from './session-gateway.ts';
import type { EndMember } from './owed-leaves.ts';
import { createSessionKind, sessionKind } from './session-machine.ts';
import { type TestBroker, TestCluster } from './test-cluster.ts';

export const never = 0xff_ff_ff_ff;

export function newCluster(
  limits: { inboundBytesMax?: number; sessionsMax?: number } = {},
  endMember: EndMember = () => Promise.resolve(),
): TestCluster {
  return new TestCluster({
    kind: sessionKind,
    create: (broker) => {
      const { catalog, cluster } = broker;
      const dead = new OperatingError('UNAVAILABLE', 'it was killed');
      return createSessionKind({
        catalog,
        placement: cluster,
        limits,
        endMember: (member) => (broker.isDead ? Promise.reject(dead) : endMember(member)),
      });
    },
  });
}

export class Client {
  readonly gateway: CoordinatorSessionGateway;
  readonly broker: TestBroker;
  readonly revoked: string[] = [];
  announced: AnnouncedSession[] = [];
  #connections = 0;

  constructor(broker: TestBroker) {
    this.broker = broker;
    this.gateway = new CoordinatorSessionGateway({
      calls: broker.calls,
      clock: broker.cluster.clock,
    });
    this.gateway.onRevoked((clientId, epoch, reason) => {
      this.revoked.push(`${clientId}/${epoch}/${reason}`);
    });
    this.gateway.announce(() => this.announced);
  }

  connect(request: Partial<ConnectSession> = {}): Promise<SessionGranted> {
    this.#connections++;
    return this.broker.cluster.settle(
      this.gateway.connect({
        clientId: 'c',
        connectionId: `${this.broker.nodeId}/${this.#connections}`,
        cleanStart: false,
        expirySeconds: never,
        will: undefined,
        ...request,
      }),
    );
  }

  settle<T>(promise: Promise<T>): Promise<T> {
    return this.broker.cluster.settle(promise);
  }

  disconnect(
    epoch: number,
    end: { publishWill?: boolean; expirySeconds?: number } = {},
  ): Promise<void> {
    return this.settle(
      this.gateway.disconnect(grant(epoch), {
        publishWill: end.publishWill ?? false,
        expirySeconds: end.expirySeconds,
        progress: undefined,
      }),
    );
  }
}

export function grant(epoch: number): SessionGrant {
  return { clientId: 'c', epoch };
}

export function message(value: string, topic = 'a/b'): StoredMessage {
  const headers = [{ name: Buffer.from('mqtt.qos'), value: Buffer.from([2]) }];
  return { topic, value: Buffer.from(value), headers };
}

export function will(value: string, delaySeconds = 0): WillToStore {
  return { ...message(value, 'wills'), delaySeconds };
}

export function subscription(filter: string, at = 5): SessionSubscription {
  return {
    filter,
    qos: 1,
    noLocal: false,
    retainAsPublished: true,
    retainHandling: 2,
    subscriptionId: 7,
    startOffsets: [{ shardId: shardId(100), offset: offset(at) }],
  };
}

export async function refusal(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return error instanceof OperatingError ? error.code : 'none';
}

/** A cluster with an owner and two brokers that clients connect to. */
export async function start(
  limits?: Parameters<typeof newCluster>[0],
): Promise<{ cluster: TestCluster; owner: TestBroker; a: Client; b: Client }> {
  const cluster = newCluster(limits);
  const owner = await cluster.broker();
  const a = new Client(await cluster.broker());
  const b = new Client(await cluster.broker());
  cluster.assign(owner);
  return { cluster, owner, a, b };
}

/** The owner dies and another broker takes over. */
export async function failOver(cluster: TestCluster, owner: TestBroker): Promise<TestBroker> {
  owner.kill();
  cluster.gone(owner);
  const next = await cluster.broker();
  cluster.assign(next);
  return next;
}

export const whole = { complete: true, trimmed: undefined, replays: [] };

export function values(cluster: TestCluster): (string | null)[] {
  return cluster.published().map(({ value }) => value);
}
