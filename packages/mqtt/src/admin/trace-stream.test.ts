import {
  brokerAdminMethods,
  inProcessTransport,
  type MessageStream,
  type RpcClient,
  type TraceRequest,
  type TraceResponse,
} from '@robustmq/rpc';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { MqttRig } from '../server/mqtt-rig.fixture.ts';
import { until } from '../server/until.fixture.ts';
import { registerBrokerAdmin } from './broker-admin.ts';

let rig: MqttRig;
let operator: RpcClient;
let stack: AsyncDisposableStack;
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  rig = stack.use(await MqttRig.start());
  const transport = inProcessTransport();
  stack.use(
    await transport.listen('broker:1', (registry) =>
      registerBrokerAdmin(registry, () => rig.server),
    ),
  );
  operator = stack.use(transport.connect('broker:1', 'control'));
});
afterEach(() => stack[Symbol.asyncDispose]());

interface Traced {
  readonly lines: string[];
  readonly stream: MessageStream<TraceRequest>;
  error: string | undefined;
}

/** Begins a trace and waits until it runs. */
async function trace(request: Partial<TraceRequest>): Promise<Traced> {
  let isRunning = false;
  const lines: string[] = [];
  const handlers = {
    message: (response: TraceResponse): void => {
      isRunning = true;
      lines.push(...response.lines.map(({ clientId, text }) => `${clientId} ${text}`));
    },
    closed: (error: Error | undefined): void => {
      traced.error = error?.message;
      isRunning = true;
    },
  };
  const stream = operator.open(brokerAdminMethods.trace, handlers);
  const traced: Traced = { lines, stream, error: undefined };
  stream.send({ clientId: '', topicFilter: '', payload: false, ...request });
  await until(() => isRunning);
  return traced;
}

describe('a trace', () => {
  it('of a client shows its packets both ways from its CONNECT on, and never a password', async () => {
    const { lines } = await trace({ clientId: 'device' });
    await rig.connect({ clientId: 'other' });
    const device = await rig.connect({
      clientId: 'device',
      username: 'ada',
      password: Buffer.from('secret'),
      keepalive: 60,
    });
    await device.subscribe('a/+', { qos: 1, nl: true });
    await device.publishAcked('b', 'payload', { properties: { topicAlias: 1 } });
    await device.publishAcked('', 'more', { properties: { topicAlias: 1 }, retain: true });
    await device.disconnect();
    await until(() => lines.some((line) => line.includes('ends')));
    expect(lines).toEqual([
      'device -> CONNECT MQTT 5, clean start, keep alive 60 s, user "ada", a password',
      'device <- CONNACK, session absent, 0x00 success',
      'device -> SUBSCRIBE id 1, "a/+" QoS 1 no local',
      'device <- SUBACK id 1, 0x01',
      'device -> PUBLISH "b" QoS 1, id 2, alias 1, 7 bytes',
      'device <- PUBACK id 2',
      'device -> PUBLISH "b" QoS 1, id 3, retain, alias 1, 4 bytes',
      'device <- PUBACK id 3',
      'device -> DISCONNECT, 0x00 normal',
      'device ends',
    ]);
  });

  it('of a topic shows who publishes, gets and subscribes, with payloads if asked for', async () => {
    const publisher = await rig.connect({ clientId: 'publisher' });
    const { lines } = await trace({ topicFilter: 'a/#', payload: true });
    const subscriber = await rig.connect({ clientId: 'subscriber', version: 4 });
    await subscriber.subscribe('+/b');
    await subscriber.subscribe('other');
    await publisher.publishAcked('a/b', 'say "hi"\n');
    await publisher.publishAcked('other', 'not shown');
    await subscriber.pick('publish');
    await until(() => lines.length >= 3);
    expect(lines).toEqual([
      'subscriber -> SUBSCRIBE id 1, "+/b" QoS 0',
      String.raw`publisher -> PUBLISH "a/b" QoS 1, id 1, 9 bytes, "say \"hi\"\n"`,
      String.raw`subscriber <- PUBLISH "a/b" QoS 0, 9 bytes, "say \"hi\"\n"`,
    ]);
  });

  it('shows what is malformed, and how the broker ends it', async () => {
    const { lines } = await trace({ clientId: 'device' });
    const device = await rig.connect({ clientId: 'device' });
    // A SUBSCRIBE that ends within its filter.
    device.write(Buffer.from([0x82, 0x06, 0x00, 0x01, 0x00, 0x00, 0x09, 0x61]));
    await device.closed;
    await until(() => lines.some((line) => line.includes('ends')));
    expect(lines.slice(2)).toEqual([
      'device -> 8 bytes that cannot be decoded',
      expect.stringMatching(/^device <- DISCONNECT, 0x81 malformed packet, /),
      expect.stringMatching(/^device ends: /),
    ]);
  });

  it('ends with its stream: then nobody looks any more', async () => {
    const traced = await trace({ clientId: 'device' });
    const device = await rig.connect({ clientId: 'device' });
    await device.untilPong();
    await until(() => traced.lines.includes('device <- PINGRESP'));
    traced.stream.cancel();
    await until(() => rig.server.traces.running === 0);
    const before = traced.lines.length;
    await device.untilPong();
    expect(traced.lines.length).toBe(before);
  });

  it.each([
    [{}, 'needs a client id or a topic filter'],
    [{ topicFilter: 'a/#/b' }, "the topic filter a/#/b has '+' or '#' where none may stand"],
  ])('%j is refused', async (request, message) => {
    expect((await trace(request)).error).toContain(message);
  });

  it('is one of 8 at most', async () => {
    for (let at = 0; at < 8; at++) expect((await trace({ clientId: 'x' })).error).toBeUndefined();
    expect((await trace({ clientId: 'x' })).error).toContain('8 traces run');
  });
});
