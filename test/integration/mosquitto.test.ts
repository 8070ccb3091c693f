import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import { commandMissing } from '@robustmq/testkit';
import { describe, expect, it } from 'vitest';

import { Cluster } from '../harness/cluster.ts';
import { run } from './command.ts';

const reason = commandMissing('mosquitto_pub', 'mosquitto-clients');
// The summary names neither the test nor why.
if (reason !== undefined) console.warn(`mosquitto_pub and mosquitto_sub are not tried: ${reason}`);
const title = `mosquitto_pub and mosquitto_sub${reason === undefined ? '' : ` (skipped: ${reason})`}`;

describe.skipIf(reason !== undefined)(title, () => {
  it('a message goes from one broker to the other, and is in the journal when the publisher ends', async () => {
    await using cluster = await Cluster.start({ brokers: 2 });
    const target = (broker: string): string[] => {
      const { host, port } = cluster.mqtt(broker);
      return ['-h', host, '-p', String(port), '-q', '1'];
    };
    const persistent = [...target('broker-2'), '-i', 'reader', '-c', '-t', 'tour/#', '-v'];
    await subscribed(spawn('mosquitto_sub', [...persistent, '-E', '-d']));

    const sent = await run(
      'mosquitto_pub',
      ...target('broker-1'),
      '-t',
      'tour/a',
      '-m',
      'it works',
    );
    expect(sent).toMatchObject({ code: 0, stderr: '' });
    await Promise.all(
      ['broker-1', 'broker-2', 'journal-1'].map((name) => cluster.role(name).kill()),
    );
    await Promise.all(['broker-1', 'broker-2', 'journal-1'].map((name) => cluster.restart(name)));

    const received = await run('mosquitto_sub', ...persistent, '-C', '1', '-W', '30');
    expect(received).toMatchObject({ code: 0, stdout: 'tour/a it works\n' });
  });
});

/** Resolves when the client has said that its SUBACK came, and has ended. */
async function subscribed(child: ReturnType<typeof spawn>): Promise<void> {
  const lines: string[] = [];
  if (child.stdout !== null) {
    createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  }
  await new Promise((resolve) => child.once('close', resolve));
  expect(lines.join('\n')).toContain('Subscribed');
}
