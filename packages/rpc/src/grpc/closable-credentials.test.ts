import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { delay, systemClock } from '@robustmq/core';
import { askParcel, parcel } from '@robustmq/testkit';
import { expect, it } from 'vitest';
import { grpcTransport } from './grpc-transport.ts';

it('a client that is closed while it waits to connect again does not stay connected', async () => {
  let refusing = true;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    socket.on('error', () => {});
    if (refusing) {
      socket.destroy();
      return;
    }
    open.add(socket.resume());
    socket.once('close', () => open.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = grpcTransport().connect(`127.0.0.1:${port}`, 'control');
  await expect(client.call(askParcel, parcel(1))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  refusing = false;
  await client[Symbol.asyncDispose]();
  // Several times as long as it waits.
  await delay(systemClock(), 500);
  expect(open.size).toBe(0);
  server.close();
});
