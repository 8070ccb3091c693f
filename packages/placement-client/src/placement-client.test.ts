import { OperatingError, seededRandom, silentLogger } from '@robustmq/core';
import {
  inProcessTransport,
  Node,
  placementNodeMethods,
  type RpcServer,
  type ServiceRegistry,
  type ShardResult,
  Status,
  type Transport,
  type WatchRequest,
} from '@robustmq/rpc';
import { turns, VirtualClock } from '@robustmq/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import { NodeRegistration } from './node-registration.ts';
import { PlacementClient } from './placement-client.ts';

describe('placement client', () => {
  let transport: Transport;
  let clock: VirtualClock;
  beforeEach(() => {
    transport = inProcessTransport({ graceMs: 0 });
    clock = new VirtualClock();
  });

  const newClient = (placement = ['p:1', 'p:2']): PlacementClient =>
    new PlacementClient({ placement, transport, clock, random: seededRandom(1), nodeId: 'n' });
  const shardResult = (shardId: number, epoch = 1): ShardResult => ({
    shardId,
    status: undefined,
    shard: {
      shardId,
      topic: 't',
      partition: 0,
      epoch,
      trimOffset: 0,
      endOffset: 0,
      segments: [],
    },
  });

  it('gathers the questions of one turn, at most one in flight per shard', async () => {
    const asked: number[][] = [];
    await using _server = await transport.listen('p:1', (registry) => {
      registry.unary(placementNodeMethods.openSegments, async ({ shardIds }) => {
        asked.push(shardIds);
        await turns(3);
        return { results: shardIds.map((shardId) => shardResult(shardId, asked.length)) };
      });
    });
    await using client = newClient();
    const first = [1, 2, 1, 3].map((shardId) => client.openSegments(shardId));
    await turns(2);
    const second = [3, 4].map((shardId) => client.openSegments(shardId));
    const shards = await Promise.all([...first, ...second]);
    expect(shards.map(({ shardId }) => shardId)).toEqual([1, 2, 1, 3, 3, 4]);
    expect(asked).toEqual([[1, 2, 3], [4]]);
    expect(client.catalog.shard(4)).toEqual(shards[5]);
    await client.openSegments(1);
    expect(asked).toHaveLength(3);
  });

  it('splits into calls of 1,000', async () => {
    const sizes: number[] = [];
    await using _server = await transport.listen('p:1', (registry) => {
      registry.unary(placementNodeMethods.openSegments, ({ shardIds }) => {
        sizes.push(shardIds.length);
        return { results: shardIds.map((shardId) => shardResult(shardId)) };
      });
    });
    await using client = newClient();
    await Promise.all(Array.from({ length: 2_500 }, (_, at) => client.openSegments(at + 1)));
    expect(sizes).toEqual([1_000, 1_000, 500]);
  });

  it('tells each shard its own error', async () => {
    await using _server = await transport.listen('p:1', (registry) => {
      registry.unary(placementNodeMethods.resolveShards, ({ shardIds }) => ({
        results: shardIds.map((shardId) =>
          shardId === 2
            ? { ...shardResult(2), status: Status.create({ code: 2, message: 'no such' }) }
            : shardResult(shardId),
        ),
      }));
    });
    await using client = newClient();
    const [one, two] = await client.resolveShards([1, 2]);
    expect(one).toMatchObject({ shardId: 1 });
    expect(two).toBeInstanceOf(OperatingError);
    expect(two).toMatchObject({ code: 'NOT_FOUND', message: 'no such' });
  });

  it('goes to the next server while one is away, and says so when all are', async () => {
    await using client = newClient();
    await expect(client.openSegments(1)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('placement is away (p:1, p:2)'),
    });
    await expect(client.reportUnreachable('x', 1)).resolves.toBeUndefined();
    const serve = (registry: ServiceRegistry): void =>
      registry.unary(placementNodeMethods.openSegments, ({ shardIds }) => ({
        results: shardIds.map((shardId) => shardResult(shardId)),
      }));
    await using _server = await transport.listen('p:2', serve);
    expect(await client.openSegments(1)).toMatchObject({ shardId: 1 });
  });

  it('refuses to be without an address', () => {
    expect(() => newClient([])).toThrow(/no placement address/);
  });

  describe('watch', () => {
    let requests: WatchRequest[];
    let answers: ((request: WatchRequest) => number | OperatingError)[];
    beforeEach(() => {
      requests = [];
      answers = [];
    });

    /** Each watch gets the next answer: a revision to be at, or the error that ends it. */
    const listen = (address = 'p:1'): Promise<RpcServer> =>
      transport.listen(address, (registry) => {
        registry.stream(placementNodeMethods.watch, (stream) => ({
          message(request) {
            requests.push(request);
            const answer = answers.shift()?.(request) ?? Math.max(1, request.fromRevision);
            if (answer instanceof OperatingError) stream.cancel(answer);
            else {
              stream.send({
                revision: answer,
                fullListBegins: request.fromRevision === 0,
                entries: [],
                removals: [],
                placementEpoch: 1,
              });
            }
          },
          closed: () => stream.end(),
        }));
      });

    it('resumes from its revision after the stream was lost, for ever', async () => {
      answers = [() => 7];
      const server = await listen();
      await using client = newClient(['p:1']);
      client.start();
      await client.catalog.ready();
      expect(client.connected).toBe(true);
      await server[Symbol.asyncDispose]();
      await clock.advance(60_000);
      expect(client.connected).toBe(false);
      await using _again = await listen();
      await clock.advance(1_000);
      expect(client.connected).toBe(true);
      expect(requests.map(({ fromRevision }) => fromRevision)).toEqual([0, 7]);
    });

    it('takes the full list when it cannot resume', async () => {
      answers = [() => 7, () => new OperatingError('COMPACTED', 'too old'), () => 20];
      const server = await listen();
      await using client = newClient(['p:1']);
      client.start();
      await client.catalog.ready();
      await server[Symbol.asyncDispose]();
      await using _again = await listen();
      await clock.advance(2_000);
      expect(requests.map(({ fromRevision }) => fromRevision)).toEqual([0, 7, 0]);
      expect(client.catalog.revision).toBe(20);
    });

    it('names who told its revision only when his list is whole', async () => {
      const [one, other] = [Buffer.alloc(16, 1), Buffer.alloc(16, 2)];
      const told = { entries: [], removals: [], fullListBegins: true };
      const steps = [
        { revision: 7, placementEpoch: 1, placementInstance: one },
        // The list of another one breaks off.
        { revision: 0, placementEpoch: 2, placementInstance: other },
        { revision: 5, placementEpoch: 2, placementInstance: other },
      ];
      await using _server = await transport.listen('p:1', (registry) =>
        registry.stream(placementNodeMethods.watch, (stream) => ({
          message(request) {
            requests.push(request);
            const step = steps.shift();
            if (step === undefined) return;
            stream.send({ ...step, ...told });
            if (steps.length > 0) stream.cancel(new OperatingError('UNAVAILABLE', 'killed'));
          },
          closed: () => stream.end(),
        })),
      );
      await using client = newClient(['p:1']);
      client.start();
      await clock.advance(5_000);
      expect(client.catalog.revision).toBe(5);
      expect(requests.map(({ placementInstance }) => placementInstance)).toEqual([
        undefined,
        one,
        one,
      ]);
    });

    it('does not listen to a placement that is older than what it has heard', async () => {
      const steps = [
        { revision: 7, placementEpoch: 3 },
        { revision: 5, placementEpoch: 3 },
        { revision: 9, placementEpoch: 2 },
        { revision: 2, placementEpoch: 4 },
      ];
      await using _server = await transport.listen('p:1', (registry) =>
        registry.stream(placementNodeMethods.watch, (stream) => ({
          message() {
            const step = steps.shift();
            if (step === undefined) return;
            stream.send({ ...step, fullListBegins: true, entries: [], removals: [] });
            if (step.revision === 7) stream.cancel(new OperatingError('COMPACTED', 'too old'));
          },
          closed: () => stream.end(),
        })),
      );
      await using client = newClient(['p:1']);
      client.start();
      await client.catalog.ready();
      expect(client.catalog.revision).toBe(7);
      await clock.advance(10_000);
      expect(steps).toEqual([]);
      // One with a higher epoch was built anew.
      expect(client.catalog.revision).toBe(2);
    });

    it('tries the other servers', async () => {
      await using _server = await listen('p:2');
      await using client = newClient();
      client.start();
      await clock.advance(1_000);
      expect(client.connected).toBe(true);
    });

    it('says that placement does not answer: at once, and each half minute', async () => {
      const told: string[] = [];
      const logger = {
        ...silentLogger(),
        warn: (_: object, message: string) => told.push(message),
      };
      await using client = new PlacementClient({
        placement: ['p:1'],
        transport,
        clock,
        random: seededRandom(1),
        nodeId: 'n',
        logger,
      });
      client.start();
      await clock.advance(20_000);
      expect(told).toEqual([expect.stringMatching(/placement does not answer.*--placement/)]);
      await clock.advance(20_000);
      expect(told).toHaveLength(2);
      await using _server = await listen();
      await clock.advance(10_000);
      expect(client.connected).toBe(true);
      expect(told).toHaveLength(2);
    });

    it('waits longer and longer, but not for ever', async () => {
      let tries = 0;
      answers = Array.from({ length: 100 }, () => () => {
        tries++;
        return new OperatingError('UNAVAILABLE', 'not yet');
      });
      await using _server = await listen();
      await using client = newClient(['p:1']);
      client.start();
      await clock.advance(10_000);
      expect(tries).toBeGreaterThan(9);
      expect(tries).toBeLessThan(30);
    });
  });

  describe('node registration', () => {
    let status: Status | undefined;
    let clusterId: string;
    let placementEpoch: number;
    let isDeaf: boolean;
    let heard: string[];
    beforeEach(() => {
      status = undefined;
      clusterId = 'c';
      placementEpoch = 1;
      isDeaf = false;
      heard = [];
    });

    const listen = (address = 'p:1'): Promise<RpcServer> =>
      transport.listen(address, (registry) => {
        registry.stream(placementNodeMethods.heartbeat, (stream) => ({
          message({ node, draining, leaving, journalHealth }) {
            const kind = leaving ? 'leave' : node === undefined ? 'renew' : 'register';
            heard.push(
              `${kind}${draining ? ' draining' : ''}${journalHealth?.readOnly ? ' full' : ''}`,
            );
            if (!isDeaf)
              stream.send({ status, clusterId, placementEpoch, leaseMs: 3_000, incarnationMin: 0 });
          },
          closed: (error) => {
            heard.push(error === undefined ? 'left' : 'lost');
            stream.end();
          },
        }));
      });
    const told: string[] = [];
    const newRegistration = (known = { clusterId: '', placementEpoch: 0 }): NodeRegistration => {
      told.length = 0;
      return new NodeRegistration({
        placement: ['p:1', 'p:2'],
        transport,
        clock,
        random: seededRandom(1),
        node: Node.create({ nodeId: 'n', incarnation: 1 }),
        onRegistered: (registration) => told.push(`${registration.placementEpoch}`),
        onRefused: (error) => told.push(error.code),
        ...known,
      });
    };

    it('registers, renews each half second, and leaves in order', async () => {
      await using _server = await listen();
      const registration = newRegistration();
      registration.start();
      await clock.advance(1_250);
      expect(registration).toMatchObject({ registered: true, clusterId: 'c', placementEpoch: 1 });
      registration.update({
        loopLagMs: 0,
        syncAgeMs: 0,
        freeBytes: 0,
        readOnly: true,
        ledSegments: 0,
        unflushedBytes: 0,
        replicas: 0,
        damagedReplicas: 0,
        damagesFound: 0,
        scrubBytes: 0,
        scrubBytesRead: 0,
        syncP99Ms: 0,
        followers: [],
        closedSegments: [],
      });
      registration.drain();
      await turns(5);
      await registration[Symbol.asyncDispose]();
      expect(heard).toEqual([
        'register',
        'renew',
        'renew',
        'renew draining full',
        'leave draining full',
        'left',
      ]);
      expect(told).toEqual(['1']);
    });

    it('registers again when placement is back, with a higher epoch', async () => {
      const server = await listen();
      await using registration = newRegistration();
      registration.start();
      await clock.advance(100);
      await server[Symbol.asyncDispose]();
      await clock.advance(10_000);
      expect(registration.registered).toBe(false);
      placementEpoch = 2;
      await using _again = await listen();
      await clock.advance(2_000);
      expect(registration).toMatchObject({ registered: true, placementEpoch: 2 });
      expect(told).toEqual(['1', '2']);
    });

    it('gives up a placement that is silent, and tries the next', async () => {
      isDeaf = true;
      await using _silent = await listen();
      await using registration = newRegistration();
      registration.start();
      await clock.advance(2_500);
      isDeaf = false;
      // The first one stays silent towards the stream that it has.
      await using _next = await listen('p:2');
      heard.length = 0;
      isDeaf = true;
      await clock.advance(2_000);
      isDeaf = false;
      await clock.advance(1_000);
      expect(heard).toContain('register');
      expect(registration.registered).toBe(true);
    });

    it.each([
      ['WRONG_CLUSTER by placement', 19, 'c', { clusterId: 'c', placementEpoch: 0 }],
      ['FENCED by placement', 5, 'c', { clusterId: 'c', placementEpoch: 0 }],
      ['WRONG_CLUSTER seen by the node', 0, 'c', { clusterId: 'mine', placementEpoch: 0 }],
    ])('stops for good: %s', async (name, code, served, known) => {
      status = code === 0 ? undefined : Status.create({ code, message: 'no' });
      clusterId = served;
      await using _server = await listen();
      await using registration = newRegistration(known);
      registration.start();
      await clock.advance(20_000);
      expect(told).toEqual([name.split(' ')[0]]);
      expect(heard.filter((line) => line === 'register')).toHaveLength(1);
      expect(registration.registered).toBe(false);
    });

    it('does not take an older placement, and tries again', async () => {
      placementEpoch = 3;
      await using _server = await listen();
      await using registration = newRegistration({ clusterId: 'c', placementEpoch: 5 });
      registration.start();
      await clock.advance(20);
      expect(told).toEqual(['CONFLICT']);
      expect(registration.placementEpoch).toBe(5);
      placementEpoch = 6;
      await clock.advance(3_000);
      expect(registration).toMatchObject({ registered: true, placementEpoch: 6 });
    });
  });
});
