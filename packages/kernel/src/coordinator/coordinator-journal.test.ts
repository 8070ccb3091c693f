import { shardId } from '@robustmq/core';
import {
  CounterMachine,
  type CounterCommand,
  fastClock,
  type JournalFixture,
  startJournalFixture,
  turns,
  valuesIn,
} from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';
import { CoordinatorHost } from './coordinator-host.ts';

const kind = 'counters';

/** Hosts of one broker each on the same journals; the last one made owns the coordinator. */
class Owners {
  readonly #fixture: JournalFixture;
  /** The shard of the coordinator's log. */
  readonly shard: number;
  readonly machines: CounterMachine[] = [];
  #epoch = 0;

  constructor(fixture: JournalFixture) {
    this.#fixture = fixture;
    this.shard = fixture.fake.createTopic(`$${kind}`, 1)[0] ?? 0;
  }

  async next(): Promise<CoordinatorHost> {
    const { placement, client, fake } = this.#fixture;
    const self = { nodeId: `broker-${++this.#epoch}`, incarnation: 1 };
    const host = new CoordinatorHost({
      self,
      catalog: placement.catalog,
      journal: client,
      // The fake placement does not trim.
      placement: {
        resolveShards: (ids) => placement.resolveShards(ids),
        trimShards: async () => [],
      },
      clock: fastClock(),
      snapshotPolicy: { bytesMin: 4000, recordsMax: 1e9 },
    });
    host.register({
      kind,
      shards: 1,
      create: (context) => {
        const machine = new CounterMachine(context);
        this.machines.push(machine);
        return machine;
      },
    });
    host.start();
    fake.setCoordinator({
      kind,
      index: 0,
      shardId: shardId(this.shard),
      ownerNodeId: self.nodeId,
      ownerIncarnation: 1,
      epoch: this.#epoch,
    });
    await placement.catalog.waitFor(() => host.coordinators().length === 1);
    return host;
  }
}

function command(host: CoordinatorHost, payload: CounterCommand): Promise<string> {
  return new Promise((resolve, reject) => {
    const bytes = Buffer.from(JSON.stringify(payload));
    const refusal = host.command({ kind, index: 0 }, bytes, host.self, {
      ok: (answer) => resolve(answer.toString()),
      fail: reject,
    });
    if (refusal !== undefined) reject(refusal);
  });
}

describe('a coordinator over journals', () => {
  it('goes on while leaders move and streams break, and is taken over with everything in it', async () => {
    await using fixture = await startJournalFixture();
    const { fake } = fixture;
    const [target = 0] = fake.createTopic('target', 1);
    const owners = new Owners(fixture);
    let host = await owners.next();
    const answers: Promise<string>[] = [];
    for (let i = 0; i < 90; i++) {
      if (i % 10 === 3) fake.moveLeader(target);
      if (i % 10 === 5) fake.moveLeader(owners.shard);
      if (i % 10 === 8) fake.cutStreams();
      await turns(i % 4);
      answers.push(command(host, { op: 'add', counter: `c${i % 4}`, amount: 2, id: `a${i}` }));
      answers.push(command(host, { op: 'send', target, text: `t${i}`, id: `s${i}` }));
      if (i % 30 === 29) {
        await Promise.all(answers.splice(0));
        host = await owners.next();
      }
    }
    await Promise.all(answers);
    expect(await command(host, { op: 'get', counter: 'c0' })).toBe('46');
    const shard = fake.require(target);
    expect(valuesIn(shard)).toEqual(Array.from({ length: 90 }, (_, i) => `t${i}`));
    const last = owners.machines.at(-1);
    expect([...(last?.counters.entries() ?? [])].map(([name, { value }]) => [name, value])).toEqual(
      expect.arrayContaining([
        ['c0', 46],
        ['c1', 46],
        ['c2', 44],
        ['c3', 44],
        ['sent', 90],
      ]),
    );
    await host[Symbol.asyncDispose]();
  });
});
