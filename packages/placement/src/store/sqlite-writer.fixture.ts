/** For the SIGKILL test: writes the same growing number under 40 keys, and prints it once it is done. */
import { writeSync } from 'node:fs';
import { SqliteStore } from './sqlite-store.ts';

const store = SqliteStore.open({ dataDir: process.argv[2] ?? '', changesKept: 100 });
const first = await store.get('k/0');
let number = first === undefined ? 0 : first.value.readUInt32LE();
for (;;) {
  number++;
  const value = Buffer.alloc(300);
  value.writeUInt32LE(number);
  const operations = Array.from({ length: 40 }, (_, at) => ({
    kind: 'put' as const,
    key: `k/${at}`,
    value,
  }));
  await store.transact([], operations);
  writeSync(1, `${number}\n`);
}
