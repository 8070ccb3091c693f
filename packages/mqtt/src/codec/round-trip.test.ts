import * as fc from 'fast-check';
import { generate, type Packet, parser } from 'mqtt-packet';
import { describe, expect, it } from 'vitest';
import {
  type ConnackSpec,
  encodeAck,
  encodeAuth,
  encodeConnack,
  encodeDisconnect,
  encodeSuback,
  encodeUnsuback,
} from './control-encoder.ts';
import type { ClientPacket, ProtocolVersion } from './packet.ts';
import { PacketWriter } from './packet-writer.ts';
import { readUserProperties } from './publish-decoder.ts';
import { encodePublish, type PublishSpec } from './publish-encoder.ts';
import { reasonCodesOf } from './reason-code.ts';
import { decodeAll } from './test-packets.ts';

const numRuns = 200;
const versions = fc.constantFrom<ProtocolVersion>(3, 4, 5);
const qos = fc.constantFrom<0 | 1 | 2>(0, 1, 2);
const text = fc
  .string({ unit: 'binary', maxLength: 12 })
  .filter((value) => !value.includes('\0') && value.isWellFormed());
const level = text.map((value) => value.replaceAll(/[+#/$]/g, ''));
const topic = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join('/'))
  .filter((name) => name !== '');
const binary = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes));
const packetId = fc.integer({ min: 1, max: 65_535 });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u16 = fc.integer({ min: 1, max: 65_535 });
/** One value each: mqtt-packet keeps neither the order of names nor an empty value before another. */
const names = fc.uniqueArray(
  text.filter((name) => name !== '__proto__'),
  { maxLength: 4 },
);
const pairs = fc
  .tuple(names, fc.array(text, { minLength: 4, maxLength: 4 }))
  .map(([names, values]) => names.map((name, i) => ({ name, value: values[i] ?? '' })));

type Pairs = readonly { name: string; value: string }[];

function objectOf(userProperties: Pairs): Record<string, string> {
  return Object.fromEntries(userProperties.map(({ name, value }) => [name, value]));
}

/** For mqtt-packet's encoder, which writes nothing at all when given an empty object. */
function userPropertiesOf(userProperties: Pairs): { userProperties?: Record<string, string> } {
  return userProperties.length === 0 ? {} : { userProperties: objectOf(userProperties) };
}

function sorted(userProperties: Pairs): string[] {
  return userProperties.map(({ name, value }) => JSON.stringify([name, value])).sort();
}

function libraryDecodes(bytes: Buffer, protocolVersion: ProtocolVersion): Packet {
  const library = parser({ protocolVersion });
  const packets: Packet[] = [];
  library.on('packet', (packet) => packets.push(packet));
  library.on('error', (error) => {
    throw error;
  });
  library.parse(bytes);
  const [first] = packets;
  if (first === undefined || packets.length > 1) throw new Error(`${packets.length} packets`);
  return first;
}

function weDecode(bytes: Buffer, version: ProtocolVersion | undefined): ClientPacket {
  const [first, ...others] = decodeAll(bytes, version);
  if (first === undefined || others.length > 0) throw new Error('not one packet');
  if (first.kind === 'fault') throw new Error(first.message);
  return first;
}

const publishProperties = fc.record({
  payloadFormat: fc.option(fc.constantFrom<0 | 1>(0, 1), { nil: undefined }),
  messageExpirySeconds: fc.option(u32, { nil: undefined }),
  contentType: fc.option(text, { nil: undefined }),
  responseTopic: fc.option(topic, { nil: undefined }),
  correlationData: fc.option(binary, { nil: undefined }),
  userProperties: pairs,
});

const publishes: fc.Arbitrary<PublishSpec> = fc.record({
  topic,
  payload: fc.oneof(
    binary,
    fc.integer({ min: 100, max: 40_000 }).map((size) => Buffer.alloc(size, 'p')),
  ),
  qos,
  retain: fc.boolean(),
  dup: fc.constant(false),
  packetId,
  topicAlias: fc.integer({ min: 0, max: 65_535 }),
  subscriptionIds: fc.uniqueArray(fc.integer({ min: 1, max: 268_435_455 }), { maxLength: 3 }),
  properties: fc.option(publishProperties, { nil: undefined }),
});

describe('what is encoded here, mqtt-packet decodes', () => {
  const writer = new PacketWriter();

  it('PUBLISH', () => {
    fc.assert(
      fc.property(publishes, versions, (spec, version) => {
        encodePublish(writer, version, spec);
        const decoded = libraryDecodes(writer.take(), version);
        expect(decoded).toMatchObject({
          cmd: 'publish',
          topic: spec.topic,
          qos: spec.qos,
          retain: spec.retain,
        });
        if (decoded.cmd !== 'publish') return;
        expect(decoded.payload).toEqual(spec.payload);
        if (spec.qos > 0) expect(decoded.messageId).toBe(spec.packetId);
        if (version === 5) expectPublishProperties(decoded.properties ?? {}, spec);
        else expect(decoded.properties).toBeUndefined();
      }),
      { numRuns },
    );
  });

  function expectPublishProperties(
    found: NonNullable<Extract<Packet, { cmd: 'publish' }>['properties']>,
    spec: PublishSpec,
  ): void {
    const wanted = spec.properties;
    const ids = [found.subscriptionIdentifier ?? []].flat();
    expect(ids).toEqual(spec.subscriptionIds);
    expect(found.topicAlias ?? 0).toBe(spec.topicAlias);
    expect(found.messageExpiryInterval).toBe(wanted?.messageExpirySeconds);
    expect(found.contentType).toBe(wanted?.contentType);
    expect(found.responseTopic).toBe(wanted?.responseTopic);
    expect(found.correlationData).toEqual(wanted?.correlationData);
    expect(found.payloadFormatIndicator).toBe(
      wanted?.payloadFormat === undefined ? undefined : wanted.payloadFormat === 1,
    );
    expect({ ...found.userProperties }).toEqual(
      Object.fromEntries((wanted?.userProperties ?? []).map(({ name, value }) => [name, value])),
    );
  }

  const explanations = fc.record({
    reasonString: fc.option(text, { nil: undefined }),
    userProperties: fc.option(pairs, { nil: undefined }),
  });

  it('PUBACK, PUBREC, PUBREL and PUBCOMP', () => {
    const kinds = fc.constantFrom<'puback' | 'pubrec' | 'pubrel' | 'pubcomp'>(
      'puback',
      'pubrec',
      'pubrel',
      'pubcomp',
    );
    const cases = fc.tuple(kinds, fc.nat(), packetId, explanations, versions);
    fc.assert(
      fc.property(cases, ([kind, choice, id, explanation, version]) => {
        const codes = reasonCodesOf(kind);
        const reasonCode = codes[choice % codes.length] ?? 0;
        const receiver = { version, packetBytesMax: 10_000 };
        encodeAck(writer, receiver, kind, id, reasonCode, explanation);
        const decoded = libraryDecodes(writer.take(), version);
        expect(decoded).toMatchObject({ cmd: kind, messageId: id });
        if (version === 5) {
          expect(decoded).toMatchObject({ reasonCode });
          expectExplanation(decoded as object, explanation);
        }
      }),
      { numRuns },
    );
  });

  function expectExplanation(
    decoded: { properties?: { reasonString?: string; userProperties?: object } },
    wanted: { reasonString: string | undefined; userProperties: Pairs | undefined },
  ): void {
    expect(decoded.properties?.reasonString).toBe(wanted.reasonString);
    expect({ ...decoded.properties?.userProperties }).toEqual(
      objectOf(wanted.userProperties ?? []),
    );
  }

  it('SUBACK, UNSUBACK, DISCONNECT and AUTH of MQTT 5', () => {
    const receiver = { version: 5 as const, packetBytesMax: 100_000 };
    const granted = fc.array(fc.constantFrom(...reasonCodesOf('suback')), {
      minLength: 1,
      maxLength: 200,
    });
    fc.assert(
      fc.property(packetId, granted, explanations, binary, (id, codes, why, data) => {
        encodeSuback(writer, receiver, id, codes, why);
        const suback = libraryDecodes(writer.take(), 5);
        expect(suback).toMatchObject({ cmd: 'suback', messageId: id, granted: codes });
        expectExplanation(suback as object, why);

        encodeUnsuback(writer, receiver, id, [0, 0x11], why);
        const unsuback = libraryDecodes(writer.take(), 5);
        expect(unsuback).toMatchObject({ cmd: 'unsuback', messageId: id, granted: [0, 0x11] });
        expectExplanation(unsuback as object, why);

        encodeDisconnect(writer, receiver, { reasonCode: 0x9d, serverReference: 'b', ...why });
        const disconnect = libraryDecodes(writer.take(), 5);
        expect(disconnect).toMatchObject({
          reasonCode: 0x9d,
          properties: { serverReference: 'b' },
        });
        expectExplanation(disconnect as object, why);

        const method = { authenticationMethod: 'm', authenticationData: data };
        encodeAuth(writer, 100_000, { reasonCode: 0x18, ...method, ...why });
        const auth = libraryDecodes(writer.take(), 5);
        expect(auth).toMatchObject({ cmd: 'auth', reasonCode: 0x18, properties: method });
        expectExplanation(auth as object, why);
      }),
      { numRuns },
    );
  });

  it('CONNACK', () => {
    const optional = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
      fc.option(values, { nil: undefined });
    const specs: fc.Arbitrary<ConnackSpec> = fc.record({
      sessionPresent: fc.boolean(),
      reasonCode: fc.constant(0 as const),
      sessionExpirySeconds: optional(u32),
      receiveMaximum: optional(u16),
      maximumQos: optional(fc.constantFrom<0 | 1>(0, 1)),
      retainAvailable: optional(fc.boolean()),
      packetBytesMax: optional(u32),
      assignedClientId: optional(text),
      topicAliasMaximum: optional(u16),
      wildcardSubscriptionAvailable: optional(fc.boolean()),
      subscriptionIdentifierAvailable: optional(fc.boolean()),
      sharedSubscriptionAvailable: optional(fc.boolean()),
      serverKeepAliveSeconds: optional(u16),
      responseInformation: optional(text),
      serverReference: optional(text),
      authenticationMethod: optional(text),
      authenticationData: optional(binary),
    });
    fc.assert(
      fc.property(specs, (spec) => {
        encodeConnack(writer, { version: 5, packetBytesMax: 100_000 }, spec);
        const decoded = libraryDecodes(writer.take(), 5);
        expect(decoded).toMatchObject({ cmd: 'connack', reasonCode: 0 });
        if (decoded.cmd !== 'connack') return;
        const found = decoded.properties ?? {};
        expect(decoded.sessionPresent).toBe(spec.sessionPresent);
        expect({
          sessionPresent: decoded.sessionPresent,
          reasonCode: 0,
          sessionExpirySeconds: found.sessionExpiryInterval,
          receiveMaximum: found.receiveMaximum,
          maximumQos: found.maximumQoS,
          retainAvailable: found.retainAvailable,
          packetBytesMax: found.maximumPacketSize,
          assignedClientId: found.assignedClientIdentifier,
          topicAliasMaximum: found.topicAliasMaximum,
          wildcardSubscriptionAvailable: found.wildcardSubscriptionAvailable,
          subscriptionIdentifierAvailable: found.subscriptionIdentifiersAvailable,
          sharedSubscriptionAvailable: found.sharedSubscriptionAvailable,
          serverKeepAliveSeconds: found.serverKeepAlive,
          responseInformation: found.responseInformation,
          serverReference: found.serverReference,
          authenticationMethod: found.authenticationMethod,
          authenticationData: found.authenticationData,
        }).toEqual(spec);
      }),
      { numRuns },
    );
  });
});

describe('what mqtt-packet encodes is decoded here', () => {
  it('PUBLISH', () => {
    fc.assert(
      fc.property(publishes, versions, (spec, version) => {
        const { properties } = spec;
        const bytes = generate(
          {
            cmd: 'publish',
            topic: String(spec.topic),
            payload: Buffer.from(spec.payload),
            qos: spec.qos,
            retain: spec.retain,
            dup: false,
            messageId: spec.packetId,
            properties: {
              ...(properties?.messageExpirySeconds === undefined
                ? {}
                : { messageExpiryInterval: properties.messageExpirySeconds }),
              ...(spec.topicAlias === 0 ? {} : { topicAlias: spec.topicAlias }),
              ...userPropertiesOf((properties?.userProperties ?? []) as Pairs),
            },
          },
          { protocolVersion: version },
        );
        const decoded = weDecode(bytes, version);
        if (decoded.kind !== 'publish') throw new Error(decoded.kind);
        const slice = (start: number, end: number): Buffer => decoded.buffer.subarray(start, end);
        expect(slice(decoded.topicStart, decoded.topicEnd).toString()).toBe(spec.topic);
        expect(slice(decoded.payloadStart, decoded.payloadEnd)).toEqual(spec.payload);
        expect(decoded.packetId).toBe(spec.qos === 0 ? 0 : spec.packetId);
        if (version !== 5) return;
        expect(decoded.messageExpiry).toBe(properties?.messageExpirySeconds ?? -1);
        expect(decoded.topicAlias).toBe(spec.topicAlias);
        expect(sorted(readUserProperties(decoded))).toEqual(
          sorted((properties?.userProperties ?? []) as Pairs),
        );
      }),
      { numRuns },
    );
  });

  it('CONNECT', () => {
    const connects = fc.record({
      version: versions,
      clientId: text.filter((id) => id !== ''),
      clean: fc.boolean(),
      keepalive: fc.integer({ min: 0, max: 65_535 }),
      username: text,
      password: binary,
      will: fc.option(fc.record({ topic, payload: binary, qos, retain: fc.boolean() }), {
        nil: undefined,
      }),
      sessionExpiryInterval: u32,
      userProperties: pairs,
    });
    fc.assert(
      fc.property(connects, (wanted) => {
        const { version, will, sessionExpiryInterval, userProperties } = wanted;
        const bytes = generate({
          cmd: 'connect',
          protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
          protocolVersion: version,
          clientId: wanted.clientId,
          clean: wanted.clean,
          keepalive: wanted.keepalive,
          username: wanted.username,
          password: wanted.password,
          ...(will === undefined ? {} : { will }),
          properties: { sessionExpiryInterval, ...userPropertiesOf(userProperties) },
        });
        const decoded = weDecode(bytes, undefined);
        expect(decoded).toMatchObject({
          kind: 'connect',
          protocolVersion: version,
          clientId: wanted.clientId,
          cleanStart: wanted.clean,
          keepAliveSeconds: wanted.keepalive,
          userName: wanted.username,
          password: wanted.password,
        });
        if (decoded.kind !== 'connect') return;
        if (will === undefined) expect(decoded.will).toBeUndefined();
        else expect(decoded.will).toMatchObject(will);
        if (version !== 5) return;
        expect(decoded.sessionExpirySeconds).toBe(sessionExpiryInterval);
        expect(sorted(decoded.userProperties)).toEqual(sorted(userProperties));
      }),
      { numRuns },
    );
  });

  it('SUBSCRIBE and UNSUBSCRIBE', () => {
    const subscriptions = fc.array(
      fc.record({
        topic: fc.tuple(topic, fc.constantFrom('', '/+', '/#', '/+/#')).map(([a, b]) => a + b),
        qos,
        nl: fc.boolean(),
        rap: fc.boolean(),
        rh: fc.constantFrom(0, 1, 2),
      }),
      { minLength: 1, maxLength: 10 },
    );
    fc.assert(
      fc.property(subscriptions, packetId, versions, (wanted, messageId, version) => {
        const options = { protocolVersion: version };
        const subscribe = generate(
          { cmd: 'subscribe', messageId, subscriptions: wanted, properties: {} },
          options,
        );
        expect(weDecode(subscribe, version)).toMatchObject({
          kind: 'subscribe',
          packetId: messageId,
          subscriptions: wanted.map(({ topic, qos, nl, rap, rh }) => ({
            filter: topic,
            qos,
            noLocal: version === 5 && nl,
            retainAsPublished: version === 5 && rap,
            retainHandling: version === 5 ? rh : 0,
          })),
        });
        const unsubscriptions = wanted.map((subscription) => subscription.topic);
        const unsubscribe = generate({ cmd: 'unsubscribe', messageId, unsubscriptions }, options);
        expect(weDecode(unsubscribe, version)).toMatchObject({
          kind: 'unsubscribe',
          packetId: messageId,
          filters: unsubscriptions,
        });
      }),
      { numRuns },
    );
  });
});
