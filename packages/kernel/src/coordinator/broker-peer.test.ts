import { OperatingError } from '@robustmq/core';
import {
  brokerPeerMethods,
  type CoordinateResponse,
  inProcessTransport,
  type MessageStream,
  refusalOf,
} from '@robustmq/rpc';
import { turns } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { BrokerPeer, type PeerHost } from './broker-peer.ts';

/** Takes everything but calls whose payload is `full`; says what it has taken. */
class Host implements PeerHost {
  readonly self = { nodeId: 'server', incarnation: 3 };
  readonly taken: string[] = [];
  notify: Parameters<PeerHost['onNotice']>[0] = () => {};

  onNotice(notify: Parameters<PeerHost['onNotice']>[0]): void {
    this.notify = notify;
  }

  command(
    ...[to, payload, caller, sink]: Parameters<PeerHost['command']>
  ): OperatingError | undefined {
    if (payload.toString() === 'full') return new OperatingError('RESOURCE_EXHAUSTED', 'full');
    this.taken.push(`${caller.nodeId} ${to.kind}/${to.index} ${payload.toString()}`);
    sink.ok(payload);
    return undefined;
  }
}

describe('BrokerPeer', () => {
  it('refuses the rest for a coordinator behind a refusal, and only that', async () => {
    const host = new Host();
    const transport = inProcessTransport();
    const peer = new BrokerPeer(host);
    await using server = await transport.listen('x:0', (registry) => peer.register(registry));
    await using client = transport.connect(server.address, 'bulk');
    const responses: CoordinateResponse[] = [];
    const stream: MessageStream<unknown> = client.open(brokerPeerMethods.coordinate, {
      message: (message) => responses.push(message),
      closed: () => {},
    });
    const calls = ['a0', 'full0', 'c0', 'd1', 'e0'].map((text, callId) => ({
      callId,
      kind: 'k',
      index: Number(text.at(-1)),
      payload: Buffer.from(text.startsWith('full') ? 'full' : text),
    }));
    stream.send({ nodeId: 'caller', incarnation: 1, calls });
    await turns(20);
    expect(host.taken).toEqual(['caller k/0 a0', 'caller k/1 d1']);
    const replies = responses.flatMap((response) => response.replies);
    expect(replies.map(({ callId, status }) => [callId, refusalOf(status)?.code])).toEqual(
      expect.arrayContaining([
        [0, undefined],
        [1, 'RESOURCE_EXHAUSTED'],
        [2, 'RESOURCE_EXHAUSTED'],
        [3, undefined],
        [4, 'RESOURCE_EXHAUSTED'],
      ]),
    );
    expect(responses).toHaveLength(1);
    // A new message may be taken again.
    stream.send({ nodeId: '', incarnation: 0, calls: calls.slice(2, 3) });
    await turns(20);
    expect(host.taken.at(-1)).toBe('caller k/0 c0');
  });

  it('says who is there, and finds the newest stream of a broker', async () => {
    const host = new Host();
    const transport = inProcessTransport();
    const peer = new BrokerPeer(host);
    await using server = await transport.listen('x:0', (registry) => peer.register(registry));
    await using client = transport.connect(server.address, 'bulk');
    expect(await client.call(brokerPeerMethods.probe, {})).toEqual({
      nodeId: 'server',
      incarnation: 3,
    });
    const heard: string[] = [];
    const open = (name: string): MessageStream<unknown> => {
      const stream = client.open(brokerPeerMethods.coordinate, {
        message: ({ notices }) => {
          for (const { payload } of notices) heard.push(`${name} ${String(payload)}`);
        },
        closed: () => {},
      });
      stream.send({ nodeId: 'caller', incarnation: 1, calls: [] });
      return stream;
    };
    const notice = { kind: 'k', index: 0, epoch: 1 };
    const old = open('old');
    await turns(20);
    host.notify('caller', { ...notice, payload: Buffer.from('1') });
    await turns(20);
    open('new');
    await turns(20);
    old.cancel();
    await turns(20);
    host.notify('caller', { ...notice, payload: Buffer.from('2') });
    await turns(20);
    expect(heard).toEqual(['old 1', 'new 2']);
  });
});
