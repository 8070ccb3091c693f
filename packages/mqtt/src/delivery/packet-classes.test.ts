import { describe, expect, it } from 'vitest';

import { packet } from '../codec/test-packets.ts';
import { PacketWriter } from '../codec/packet-writer.ts';
import { PacketClasses } from './packet-classes.ts';

describe('PacketClasses', () => {
  it('encodes a message once per class', () => {
    const classes = new PacketClasses();
    classes.start(Buffer.from('t'), Buffer.from('one'), undefined);
    const first = classes.packet(true, 1, false);
    expect(first).toEqual(packet(0x32, 't', 0, 0, 0, Buffer.from('one')));
    expect(classes.packetIdAt(true, 1, false)).toBe(5);
    expect(classes.packet(true, 1, false)).toBe(first);
    expect(classes.packet(false, 1, true)).toEqual(packet(0x33, 't', 0, 0, Buffer.from('one')));
    expect(classes.packet(false, 0, false)).toEqual(packet(0x30, 't', Buffer.from('one')));
    classes.start(Buffer.from('t'), Buffer.from('two'), undefined);
    expect(classes.packet(true, 1, false)).toEqual(packet(0x32, 't', 0, 0, 0, Buffer.from('two')));
    expect(first).toEqual(packet(0x32, 't', 0, 0, 0, Buffer.from('one')));
  });

  it('puts the messages of a class one after the other in memory', () => {
    const classes = new PacketClasses();
    const ends: number[] = [];
    const starts: number[] = [];
    for (let at = 0; at < 20; at++) {
      classes.start(Buffer.from('t'), Buffer.from(`${at}`), undefined);
      const own = classes.packet(true, 0, false);
      classes.packet(false, 0, false);
      starts.push(own.byteOffset);
      ends.push(own.byteOffset + own.length);
    }
    expect(starts.slice(1)).toEqual(ends.slice(0, -1));
  });

  it('encodes for one client without a trace in the classes', () => {
    const classes = new PacketClasses();
    const writer = new PacketWriter();
    classes.start(Buffer.from('t'), Buffer.from('x'), undefined);
    const own = {
      qos: 1,
      retain: true,
      dup: true,
      packetId: 258,
      subscriptionIds: [5],
      topicAlias: 0,
      isAliasKnown: false,
    } as const;
    expect(classes.encodeFor(writer, true, own)).toBe(5);
    expect(writer.take()).toEqual(packet(0x3b, 't', 1, 2, 2, 0x0b, 5, Buffer.from('x')));
    const aliased = { ...own, subscriptionIds: [], topicAlias: 3, isAliasKnown: true };
    expect(classes.encodeFor(writer, true, aliased)).toBe(4);
    expect(writer.take()).toEqual(packet(0x3b, '', 1, 2, 3, 0x23, 0, 3, Buffer.from('x')));
    expect(classes.packet(true, 1, false)).toEqual(packet(0x32, 't', 0, 0, 0, Buffer.from('x')));
  });
});
