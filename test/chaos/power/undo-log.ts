/** One change of a file that the shim has noted (undo-shim.c). */
export interface FileChange {
  readonly kind: 'write' | 'truncate';
  readonly offset: number;
  /** Bytes that were changed or cut. */
  readonly length: number;
  readonly sizeBefore: number;
  /** What stood at `offset`; shorter than `length` where the file ended. */
  readonly before: Buffer;
}

const headBytes = 32;
const synced = 3n;

/** The changes of one file that no sync covers, oldest first. A record that is cut is one that never happened. */
export function parseFileChanges(log: Buffer): FileChange[] {
  const found: { end: number; change: FileChange }[] = [];
  let covered = 0;
  for (let at = 0; at + headBytes <= log.length;) {
    const [kind, offset, length, sizeBefore] = [0, 8, 16, 24].map((field) =>
      log.readBigUInt64LE(at + field),
    ) as [bigint, bigint, bigint, bigint];
    const start = at + headBytes;
    if (kind === synced) {
      covered = Math.max(covered, Number(offset));
      at = start;
      continue;
    }
    const there = Math.max(
      0,
      Math.min(Number(offset + length), Number(sizeBefore)) - Number(offset),
    );
    if (start + there > log.length) break;
    at = start + there;
    const change: FileChange = {
      kind: kind === 1n ? 'write' : 'truncate',
      offset: Number(offset),
      length: Number(length),
      sizeBefore: Number(sizeBefore),
      before: log.subarray(start, at),
    };
    found.push({ end: at, change });
  }
  return found.filter(({ end }) => end > covered).map(({ change }) => change);
}

/** One change of a name. `kept` is a link to what was replaced or removed. */
export type NameChange =
  | { readonly kind: 'created'; readonly path: string }
  | {
      readonly kind: 'renamed';
      readonly path: string;
      readonly from: string;
      readonly kept: string | undefined;
    }
  | { readonly kind: 'removed'; readonly path: string; readonly kept: string };

/** The changes of names whose folder was not synced since, oldest first. */
export function parseNameChanges(log: string): NameChange[] {
  const found: { end: number; change: NameChange }[] = [];
  const covered = new Map<string, number>();
  let end = 0;
  for (const line of log.split('\n').slice(0, -1)) {
    end += Buffer.byteLength(line) + 1;
    const [kind, first = '', second = '', third = '-'] = line.split('\t');
    if (kind === 'S') covered.set(withoutSlash(first), Number(second));
    else if (kind === 'C') found.push({ end, change: { kind: 'created', path: first } });
    else if (kind === 'U') {
      found.push({ end, change: { kind: 'removed', path: first, kept: second } });
    } else if (kind === 'R') {
      const kept = third === '-' ? undefined : third;
      found.push({ end, change: { kind: 'renamed', from: first, path: second, kept } });
    }
  }
  return found
    .filter(({ change, end: at }) => at > (covered.get(folderOf(change.path)) ?? 0))
    .map(({ change }) => change);
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

function withoutSlash(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}
