import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';

import { expect, it } from 'vitest';

import { RoundRobinProxy } from './round-robin-proxy.ts';

/** Says its name and then repeats what it hears; ends when the other side does. */
async function echo(name: string): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.write(`${name}:`);
    socket.pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}

async function say(port: number, text: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  socket.end(text);
  let heard = '';
  for await (const chunk of socket) heard += String(chunk);
  return heard;
}

it('passes connections on in turn, and the end of each side', async () => {
  const servers = [await echo('one'), await echo('two')];
  const targets = servers.map((server) => ({
    host: '127.0.0.1',
    port: (server.address() as AddressInfo).port,
  }));
  {
    await using proxy = await RoundRobinProxy.start(targets);
    const large = 'x'.repeat(1_000_000);
    expect(await say(proxy.port, 'a')).toBe('one:a');
    expect(await say(proxy.port, large)).toBe(`two:${large}`);
    expect(await say(proxy.port, 'c')).toBe('one:c');
    // One that stays open does not hold up the end.
    const left = connect({ host: '127.0.0.1', port: proxy.port });
    await once(left, 'data');
    left.on('error', () => {});
  }
  for (const server of servers) server.close();
});
