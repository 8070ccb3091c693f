import type { AccessRule } from '@robustmq/auth';
import type { ConnectFields } from '@robustmq/testkit';
import { afterEach, describe, expect, it } from 'vitest';

import { accessOver, userNamed } from '../server/access.fixture.ts';
import { MqttRig, type MqttRigOptions } from '../server/mqtt-rig.fixture.ts';

let rig: MqttRig;
afterEach(() => rig[Symbol.asyncDispose]());

function allow(operation: 'publish' | 'subscribe', filter: string): AccessRule {
  const resources = [{ kind: 'mqtt', filter, exact: false }] as const;
  return { effect: 'allow', who: {}, operations: [operation], resources };
}

function as(user: string, clientId: string, more: ConnectFields = {}): ConnectFields {
  return { clientId, username: user, password: Buffer.from(`pw-${user}`), ...more };
}

async function start(rules: readonly AccessRule[], options: MqttRigOptions): Promise<void> {
  const { control } = accessOver({ users: [await userNamed('ada')], rules });
  rig = await MqttRig.start({ access: control, ...options });
}

describe('the rules of who may do what', () => {
  it('are asked about the topic to which a publish and a will go', async () => {
    await start([allow('publish', 'new/ada/#')], {
      rewriteRules: [
        { action: 'publish', source: 'old/#', expression: '^old/(.*)$', destination: 'new/%u/$1' },
        { action: 'publish', source: 'new/#', expression: '^new/ada/', destination: 'away/' },
      ],
    });
    const will = { payload: Buffer.from('bye'), qos: 0 as const, retain: false };
    const own = as('ada', 'device', { will: { ...will, topic: 'old/gone' } });
    const device = await rig.connect(own);
    expect(rig.sessions.session('device').will?.topic).toBe('new/ada/gone');
    expect(await device.publishAcked('old/a', 'x')).toBeLessThan(0x80);
    expect(await device.publishAcked('new/ada/a', 'x')).toBe(0x87);
    const other = as('ada', 'other', { will: { ...will, topic: 'new/ada/gone' } });
    await expect(rig.connect(other)).rejects.toThrow('CONNACK 135');
  });

  it('are asked about the filter that is subscribed to, also by itself', async () => {
    const auto = { noLocal: false, retainAsPublished: false, retainHandling: 0, qos: 1 } as const;
    await start([allow('subscribe', 'new/#')], {
      rewriteRules: [
        { action: 'subscribe', source: 'old/#', expression: '^old/', destination: 'new/' },
        { action: 'subscribe', source: 'new/#', expression: '^new/', destination: 'away/' },
      ],
      autoSubscriptions: [
        { ...auto, filter: 'new/own' },
        { ...auto, filter: 'other' },
      ],
    });
    const device = await rig.connect(as('ada', 'device'));
    expect(await device.subscribe('old/a')).toBe(0);
    expect(await device.subscribe('new/a')).toBe(0x87);
    expect(await device.subscribe('$share/g/new/a')).toBe(0x87);
    expect(rig.server.subscriptions).toBe(2);
  });

  it('hold for what the broker tells of itself, by filter and by name', async () => {
    const hidden = '$SYS/broker/clients/active';
    await start(
      [
        { ...allow('subscribe', hidden), effect: 'deny' },
        allow('subscribe', '$SYS/broker/#'),
        allow('subscribe', '#'),
      ],
      { observation: { sysIntervalMs: 600_000 } },
    );
    const device = await rig.connect(as('ada', 'device'));
    expect(await device.subscribe('$SYS/brokers')).toBe(0x87);
    expect(await device.subscribe(hidden)).toBe(0x87);
    expect(await device.subscribe('$share/g/$SYS/broker/version')).toBe(0x8f);
    expect(await device.subscribe('$SYS/broker/clients/#')).toBe(0);
    const shown = (await device.untilPong()).flatMap((packet) =>
      packet.cmd === 'publish' ? [packet.topic] : [],
    );
    expect(shown).toContain('$SYS/broker/clients/connected');
    expect(shown).not.toContain(hidden);
  });
});
