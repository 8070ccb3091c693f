import { createHash } from 'node:crypto';

const lengthMax = 128;

/** A name of a client as key of a table: names may have 64 KiB, and tables are bounded in bytes, too. */
export function boundedKey(name: string): string {
  if (name.length <= lengthMax) return name;
  return `${name.slice(0, 16)}#${createHash('sha256').update(name).digest('base64')}`;
}
