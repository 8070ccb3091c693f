import { join } from 'node:path';

import { debianPython, pythonModuleMissing } from '@robustmq/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { Cluster } from '../../harness/cluster.ts';
import { run } from '../../integration/command.ts';

const reason = pythonModuleMissing('paho.mqtt.client', 'python3-paho-mqtt');
// The summary names neither the test nor why.
if (reason !== undefined) console.warn(`Paho's Python client is not tried: ${reason}`);
const title = `Paho's Python client${reason === undefined ? '' : ` (skipped: ${reason})`}`;

describe.skipIf(reason !== undefined)(title, () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start();
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  it.each(['3.1', '3.1.1', '5'])(
    '[MQTT-7.0.0-2] publishes, subscribes and takes up its session, version %s',
    async (version) => {
      const { host, port } = cluster.mqtt();
      const script = join(import.meta.dirname, 'paho_tour.py');
      const { code, stdout, stderr } = await run(debianPython, script, host, `${port}`, version);
      expect({ code, stderr }).toMatchObject({ code: 0 });
      const base = `paho/${version}`;
      expect(JSON.parse(stdout)).toEqual({
        first: { code: 0, present: 0 },
        publisher: { code: 0, present: 0 },
        granted: [2, 1],
        live: [0, 1, 2].map((qos) => [`${base}/live`, `${qos}`, qos, 0]),
        // MQTT 3.1 has no Session Present; what was missed comes all the same.
        second: { code: 0, present: version === '3.1' ? 0 : 1 },
        away: [
          ['1', 1],
          ['2', 2],
        ],
        kept: ['kept', 1, true],
        ...(version === '5' && {
          properties: [
            [
              ['b', '1'],
              ['a', '2'],
              ['b', '3'],
            ],
            `${base}/answers`,
          ],
        }),
      });
    },
  );
});
