import type { IConnectPacket, Packet } from 'mqtt-packet';

import { reasonWords } from '../system/reason-words.ts';

/** Bytes of a payload that are shown. */
const payloadBytesMax = 1_024;

/** What an encoded PUBLISH does not say by itself. */
export interface PublishHints {
  /** The name that an alias stands for; undefined: nobody knows. */
  readonly topic: string | undefined;
  readonly dup: boolean;
  /** Show the payload, and not its size alone. */
  readonly payload: boolean;
}

/** A packet in one line of words. Never a password. */
export function packetWords(packet: Packet, hints: PublishHints): string {
  switch (packet.cmd) {
    case 'connect':
      return connectWords(packet);
    case 'connack':
      return words(
        'CONNACK',
        `session ${packet.sessionPresent ? 'present' : 'absent'}`,
        codeWords(packet.reasonCode ?? packet.returnCode),
        packet.properties?.reasonString,
      );
    case 'publish': {
      const { qos, retain, messageId, payload, properties } = packet;
      return words(
        `PUBLISH ${quoted(hints.topic ?? packet.topic)} QoS ${qos}`,
        messageId !== undefined && `id ${messageId}`,
        retain && 'retain',
        hints.dup && 'again',
        properties?.topicAlias !== undefined && `alias ${properties.topicAlias}`,
        properties?.messageExpiryInterval !== undefined &&
          `expires in ${properties.messageExpiryInterval} s`,
        `${Buffer.byteLength(payload)} bytes`,
        hints.payload && payloadWords(payload),
      );
    }
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      return words(
        `${packet.cmd.toUpperCase()} id ${packet.messageId ?? 0}`,
        packet.reasonCode !== undefined && packet.reasonCode > 0 && codeWords(packet.reasonCode),
        packet.properties?.reasonString,
      );
    case 'subscribe':
      return words(
        `SUBSCRIBE id ${packet.messageId ?? 0}`,
        ...packet.subscriptions.map(({ topic, qos, nl, rap, rh }) => {
          const options = [nl && 'no local', rap && 'retain as published', rh && `rh ${rh}`];
          return [`${quoted(topic)} QoS ${qos}`, ...options.filter(Boolean)].join(' ');
        }),
      );
    case 'suback':
    case 'unsuback':
      return words(
        `${packet.cmd.toUpperCase()} id ${packet.messageId ?? 0}`,
        ...(packet.granted ?? []).map((code) => hex(Number(code))),
        packet.properties?.reasonString,
      );
    case 'unsubscribe':
      return words(
        `UNSUBSCRIBE id ${packet.messageId ?? 0}`,
        ...packet.unsubscriptions.map(quoted),
      );
    case 'disconnect':
      return words(
        'DISCONNECT',
        `${hex(packet.reasonCode ?? 0)} ${reasonWords(packet.reasonCode ?? 0)}`,
        packet.properties?.reasonString,
      );
    default:
      return packet.cmd.toUpperCase();
  }
}

function connectWords(packet: IConnectPacket): string {
  const { protocolVersion, clean, keepalive, username, password, will, properties } = packet;
  const version = { 3: '3.1', 4: '3.1.1', 5: '5' }[protocolVersion ?? 4];
  const expiry = properties?.sessionExpiryInterval;
  return words(
    `CONNECT MQTT ${version}`,
    clean ? 'clean start' : 'keeps its session',
    `keep alive ${keepalive ?? 0} s`,
    expiry !== undefined && `session expiry ${expiry} s`,
    username !== undefined && `user ${quoted(username)}`,
    password !== undefined && 'a password',
    will !== undefined && `will ${quoted(will.topic)} QoS ${will.qos}`,
  );
}

function words(...parts: readonly (string | false | undefined)[]): string {
  return parts.filter((part) => typeof part === 'string').join(', ');
}

function codeWords(code: number | undefined): string {
  return code === undefined ? '' : `${hex(code)} ${code === 0 ? 'success' : reasonWords(code)}`;
}

function hex(code: number): string {
  return `0x${code.toString(16).padStart(2, '0')}`;
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function payloadWords(payload: string | Buffer): string {
  const bytes = Buffer.from(payload);
  const shown = bytes.toString('utf8', 0, payloadBytesMax);
  return bytes.length > payloadBytesMax ? `${quoted(shown)}...` : quoted(shown);
}
