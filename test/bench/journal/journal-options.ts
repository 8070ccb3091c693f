import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';

export interface JournalBenchOptions {
  /** Rounds that count; in each one the disk, one journal and three are measured in turn. */
  readonly rounds: number;
  /** Measured seconds of each run. */
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly shards: number;
  /** Batches of one shard without an answer. */
  readonly window: number;
  readonly recordBytes: number;
  readonly batchBytes: number;
  /** Folder in which the data folder is made. */
  readonly dataDir: string;
  /** File for everything that was measured. */
  readonly json: string | undefined;
}

const numbers = {
  rounds: { value: 3, help: 'rounds: the disk, one journal, three journals, in turn' },
  seconds: { value: 8, help: 'measured seconds of each run' },
  'warm-up': { value: 3, help: 'seconds before them' },
  shards: { value: 8, help: 'shards that are appended to' },
  window: { value: 24, help: 'batches of one shard without an answer' },
  'record-bytes': { value: 1024, help: 'bytes of a record' },
  'batch-bytes': { value: 65_536, help: 'bytes of a batch, at most' },
} as const;

type NumberName = keyof typeof numbers;

/** The options of the command line; undefined when help was asked for. Throws on anything unknown. */
export function parseJournalOptions(args: readonly string[]): JournalBenchOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { type: 'boolean', short: 'h' },
      'data-dir': { type: 'string' },
      json: { type: 'string' },
      ...(Object.fromEntries(
        Object.keys(numbers).map((name) => [name, { type: 'string' }] as const),
      ) as Record<NumberName, { type: 'string' }>),
    },
  });
  if (values.help) return undefined;
  const number = (name: NumberName): number => positive(name, values[name]);
  return {
    rounds: number('rounds'),
    seconds: number('seconds'),
    warmUpSeconds: number('warm-up'),
    shards: number('shards'),
    window: number('window'),
    recordBytes: number('record-bytes'),
    batchBytes: number('batch-bytes'),
    dataDir: values['data-dir'] ?? tmpdir(),
    json: values.json,
  };
}

export const journalUsage = [
  'usage: pnpm bench journal [options]',
  '',
  "  --data-dir DIR         a folder on a disk; default: the system's temporary folder",
  '  --json FILE            writes everything that was measured',
  ...Object.entries(numbers).map(
    ([name, { value, help }]) => `  ${`--${name} N`.padEnd(21)}  ${help}; default: ${value}`,
  ),
].join('\n');

function positive(name: NumberName, text: string | undefined): number {
  if (text === undefined) return numbers[name].value;
  const value = Number(text);
  if (!(value > 0)) throw new Error(`--${name} ${text}: must be a number above 0`);
  return value;
}
