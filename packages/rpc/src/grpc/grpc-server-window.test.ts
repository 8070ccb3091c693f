import { once } from 'node:events';
import { connect, type Settings } from 'node:http2';
import { expect, it } from 'vitest';
import { flowControlWindowBytes } from './grpc-options.ts';
import { grpcTransport } from './grpc-transport.ts';

it('a server lets its callers have the whole window on the way, per stream and connection', async () => {
  await using server = await grpcTransport().listen('127.0.0.1:0', () => undefined);
  const session = connect(`http://${server.address}`);
  const [settings] = (await once(session, 'remoteSettings')) as [Settings];
  expect(settings.initialWindowSize).toBe(flowControlWindowBytes);
  await expect
    .poll(() => session.state.remoteWindowSize, { interval: 1 })
    .toBe(flowControlWindowBytes);
  session.destroy();
});
