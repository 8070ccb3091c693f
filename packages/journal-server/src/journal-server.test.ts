import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  offset,
  type OperatingError,
  seededRandom,
  shardId,
  silentLogger,
  systemClock,
} from '@robustmq/core';
import {
  createJournalClient,
  type JournalClient,
  type PendingBatch,
} from '@robustmq/journal-client';
import { type PlacementServer, startPlacement } from '@robustmq/placement';
import { PlacementClient } from '@robustmq/placement-client';
import { noHeaders } from '@robustmq/record-batch';
import { inProcessTransport, SegmentState, type Shard, type Transport } from '@robustmq/rpc';
import { Registry } from 'prom-client';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type JournalServer, startJournal } from './journal-server.ts';
import { valuesIn } from './node/node.fixture.ts';
import { NodeDisk } from './storage/node-disk.ts';

const clock = systemClock();
const random = seededRandom(3);
const logger = silentLogger();

let folder: string;
let transport: Transport;
const open: AsyncDisposable[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'robustmq-journal-'));
  transport = inProcessTransport({ graceMs: 10 });
});

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function closing<T extends AsyncDisposable>(one: T): T {
  open.push(one);
  return one;
}

async function startPlacementIn(name: string, listen = 'placement:0'): Promise<PlacementServer> {
  const dataDir = join(folder, name);
  const registry = new Registry();
  const config = { defaultTopics: [] };
  return closing(
    await startPlacement({ dataDir, listen, transport, clock, random, logger, registry, config }),
  );
}

/** Has no room for the file that names the cluster, until there is some. */
class FullWhenJoining extends NodeDisk {
  hasRoom = false;
  #writes = 0;

  override open(...[path, mode]: Parameters<NodeDisk['open']>): ReturnType<NodeDisk['open']> {
    const isJoining = path === 'node.json.new' && ++this.#writes > 1;
    if (!isJoining || this.hasRoom) return super.open(path, mode);
    return Promise.reject(Object.assign(new Error('ENOSPC: write'), { code: 'ENOSPC' }));
  }
}

function startJournalAt(
  placement: PlacementServer,
  registry = new Registry(),
  diskReserveBytes = 0,
  disk: NodeDisk = new NodeDisk(join(folder, 'journal')),
): Promise<JournalServer> {
  return startJournal({
    dataDir: join(folder, 'journal'),
    disk,
    listen: 'journal:0',
    placement: [placement.address],
    walFileBytes: 1024 * 1024,
    diskReserveBytes,
    transport,
    clock,
    random,
    logger,
    registry,
  });
}

interface Broker {
  readonly placement: PlacementClient;
  readonly client: JournalClient;
}

async function startBroker(server: PlacementServer): Promise<Broker> {
  const placement = new PlacementClient({
    placement: [server.address],
    transport,
    clock,
    random,
    nodeId: 'broker-1',
  });
  closing(placement);
  placement.start();
  await placement.catalog.ready();
  const { catalog } = placement;
  const client = closing(createJournalClient({ transport, catalog, placement, clock, random }));
  return { placement, client };
}

/** Creates a topic with one partition; its shard. */
async function createShard(broker: Broker, config: Record<string, string> = {}): Promise<number> {
  const name = 'events';
  const [topic] = await broker.placement.createTopics([{ name, partitions: 1, config }]);
  if (topic === undefined || !('shardIds' in topic)) throw topic as OperatingError;
  return topic.shardIds[0] ?? 0;
}

/** Sixty of them fill a segment. */
function bigValue(at: number): string {
  return `${at}/`.padEnd(1_000, 'x');
}

function append(broker: Broker, shard: number, value: string): Promise<PendingBatch> {
  const batch = broker.client.appender(shardId(shard)).append(
    {
      timestampMs: 1_000,
      key: null,
      value: Buffer.from(value),
      headers: noHeaders,
      filterTokens: new Uint32Array(0),
    },
    'quorum',
  );
  return new Promise((resolve, reject) => {
    if (batch === undefined) throw new Error('the appender is full');
    batch.addListener({
      batchSettled: (settled) =>
        settled.state === 'acknowledged' ? resolve(settled) : reject(settled.error),
    });
  });
}

async function readAll(broker: Broker, shard: number): Promise<string[]> {
  const end = await broker.client.endOffset(shardId(shard));
  const values: string[] = [];
  for (let from = 0; from < end;) {
    const read = await broker.client.read(shardId(shard), {
      fromOffset: offset(from),
      bytesMax: 65_536,
      waitMs: 0,
      readCommitted: true,
    });
    values.push(...valuesIn(read.frames).filter((text) => Number.parseInt(text, 10) >= from));
    from = read.nextOffset;
  }
  return values;
}

async function chainOf(broker: Broker, shard: number): Promise<Shard> {
  const [found] = await broker.placement.resolveShards([shard]);
  if (found === undefined || !('segments' in found)) throw found as OperatingError;
  return found;
}

describe('a journal with placement and a client', () => {
  it('appends, rolls, seals at its end, and goes on after a restart', async () => {
    const placement = await startPlacementIn('placement');
    const registry = new Registry();
    const first = closing(await startJournalAt(placement, registry));
    const broker = await startBroker(placement);
    const shard = await createShard(broker, { 'segment.bytes': '65536' });
    for (let at = 0; at < 100; at++) await append(broker, shard, bigValue(at));
    expect(await readAll(broker, shard)).toEqual(
      Array.from({ length: 100 }, (_, at) => `${at}:${bigValue(at)}`),
    );
    const metrics = await registry.metrics();
    expect(metrics).toMatch(/robustmq_journal_appended_records_total 100/);
    expect(metrics).toMatch(/robustmq_journal_led_segments 1/);
    expect(metrics).toMatch(/robustmq_journal_sync_seconds_count [1-9]/);
    expect(first.notReady()).toBeUndefined();

    expect((await chainOf(broker, shard)).segments).toHaveLength(2);

    await first[Symbol.asyncDispose]();
    expect(first.notReady()).toBeDefined();
    const sealed = await chainOf(broker, shard);
    expect(sealed.endOffset).toBe(100);
    expect(sealed.segments.every(({ state }) => state === SegmentState.SEALED)).toBe(true);

    const second = closing(await startJournalAt(placement));
    expect(second.nodeId).toBe(first.nodeId);
    expect(second.incarnation).toBe(first.incarnation + 1);
    expect((await append(broker, shard, 'after')).baseOffset).toBe(100);
    expect(await readAll(broker, shard)).toHaveLength(101);
  });

  it('serves while placement is away, and finds it again', async () => {
    const placement = await startPlacementIn('placement');
    closing(await startJournalAt(placement));
    const broker = await startBroker(placement);
    const shard = await createShard(broker);
    await append(broker, shard, 'before');
    const { address } = placement;
    await placement[Symbol.asyncDispose]();
    open.splice(open.indexOf(placement), 1);
    await append(broker, shard, 'meanwhile');
    expect(await readAll(broker, shard)).toEqual(['0:before', '1:meanwhile']);
    await startPlacementIn('placement', address);
    await append(broker, shard, 'after');
    expect((await chainOf(broker, shard)).segments).toHaveLength(1);
  });

  it('is not ready while its disk is below the reserve', async () => {
    const placement = await startPlacementIn('placement');
    const journal = closing(await startJournalAt(placement, new Registry(), 2 ** 52));
    expect(journal.notReady()).toMatch(/below the reserve .* appends are refused, reads go on/);
  });

  it('goes on without room to note its cluster, and joins it once there is some', async () => {
    const placement = await startPlacementIn('placement');
    const disk = new FullWhenJoining(join(folder, 'journal'));
    closing(await startJournalAt(placement, new Registry(), 0, disk));
    const broker = await startBroker(placement);
    const shard = await createShard(broker);
    await expect(broker.placement.openSegments(shard)).rejects.toMatchObject({
      message: expect.stringMatching(/no space for node.json: make some/) as string,
    });
    disk.hasRoom = true;
    await append(broker, shard, 'joined');
    expect(await readAll(broker, shard)).toEqual(['0:joined']);
  });

  it('that belongs to another cluster does not start', async () => {
    const placement = await startPlacementIn('placement');
    const journal = closing(await startJournalAt(placement));
    await journal[Symbol.asyncDispose]();
    const other = await startPlacementIn('other');
    await expect(startJournalAt(other)).rejects.toMatchObject({ code: 'WRONG_CLUSTER' });
  });
});
