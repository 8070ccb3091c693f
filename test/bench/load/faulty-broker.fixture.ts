import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

import type { BrokerSystem } from '../systems/broker-system.ts';
import { packetHeader } from './control-packets.ts';
import { PacketScanner } from './packet-scanner.ts';

/** How often the `number`th PUBLISH at QoS 0 (from 0) goes to each subscriber. */
export type Copies = (number: number) => number;

/** A broker for one topic and QoS 0, in this process, that loses and doubles messages as it is told. */
export async function startFaultyBroker(copies: Copies): Promise<BrokerSystem> {
  const subscribers = new Set<Socket>();
  const sockets = new Set<Socket>();
  let published = 0;
  const answer = (socket: Socket, header: number, body: Buffer): void => {
    switch (header) {
      case packetHeader.connect:
        socket.write(Buffer.from([packetHeader.connack, 2, 0, 0]));
        return;
      case packetHeader.subscribe:
        subscribers.add(socket);
        socket.write(Buffer.from([packetHeader.suback, 3, body[0] ?? 0, body[1] ?? 0, 0]));
        return;
      case packetHeader.publish: {
        const packet = publishOf(body);
        const count = copies(published++);
        for (let copy = 0; copy < count; copy++) subscribers.forEach((one) => one.write(packet));
        return;
      }
      default:
        throw new Error(`the faulty broker got 0x${header.toString(16)}`);
    }
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    const scanner = new PacketScanner(
      {
        packet: (header, bytes, start, end) =>
          answer(socket, header, Buffer.from(bytes.subarray(start, end))),
      },
      4096,
    );
    socket.on('data', (chunk) => scanner.scan(chunk, chunk.length));
    socket.on('error', () => socket.destroy());
  });
  return {
    name: 'mosquitto',
    ...(await listen(server)),
    processes: { broker: process.pid },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** A PUBLISH at QoS 0 with a body of 128 to 16,383 bytes. */
function publishOf(body: Buffer): Buffer {
  const length = [(body.length & 0x7f) | 0x80, body.length >>> 7];
  return Buffer.concat([Buffer.from([packetHeader.publish, ...length]), body]);
}

async function listen(server: Server): Promise<{ host: string; port: number }> {
  const host = '127.0.0.1';
  server.listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port is free');
  return { host, port: address.port };
}
