import { portOf } from '@robustmq/core';
import { z } from 'zod';

/** Who takes an option. */
export type Role = 'start' | 'broker' | 'journal' | 'placement' | 'rebuild' | 'dev' | 'admin';

/** One option: the flag `--data-dir`, ROBUSTMQ_DATA_DIR and `data-dir:` in the file are the same. */
export interface OptionRow {
  readonly roles: readonly Role[];
  /** What stands after the flag in the help; absent for a flag without a value. */
  readonly value?: string;
  readonly schema: z.ZodType;
  /** As a user would write it; per role where roles differ. */
  readonly default?: string | Partial<Record<Role, string>>;
  readonly help: string;
}

export const hostPort = z
  .string()
  .regex(/^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$/, 'must be HOST:PORT, for example 127.0.0.1:1883')
  .refine((value) => portOf(value) <= 65535, 'has a port above 65535');
export const hostPortOrOff = z.union([z.literal('off'), hostPort]);
export const hostPorts = z
  .string()
  .transform((list) => list.split(',').map((item) => item.trim()))
  .pipe(z.array(hostPort).min(1));
export const nodeName = z.string().regex(/^[a-z0-9-]{1,64}$/, 'must be 1 to 64 of a-z, 0-9 and -');
export const bytes = z.union([z.number().transform(String), z.string()]).pipe(
  z
    .string()
    .regex(/^\d+(\.\d+)?\s*([KMGT]i?B?)?$/i, 'must be a number of bytes, for example 512MiB')
    .transform(bytesOf),
);
/** A time with its unit, as milliseconds. */
export const duration = z
  .string()
  .regex(
    /^(0|\d+(\.\d+)?(ms|s|m|h))$/,
    'must be a time with its unit, for example 500ms, 10s or 5m',
  )
  .transform(durationMsOf);
export const flag = z.union([z.boolean(), z.stringbool()]);
export const count = z.coerce.number().int().positive();

/** A whole number within bounds, both included. */
export function wholeNumber(min: number, max: number = Number.MAX_SAFE_INTEGER): z.ZodType<number> {
  const words =
    max === Number.MAX_SAFE_INTEGER
      ? `must be a whole number, at least ${min}`
      : `must be a whole number from ${min} to ${max}`;
  return z.coerce.number(words).int(words).min(min, words).max(max, words);
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

function durationMsOf(text: string): number {
  const match = /^([\d.]+)([a-z]*)$/.exec(text);
  return Math.round(Number(match?.[1]) * (unitMs[match?.[2] ?? ''] ?? 0));
}

function bytesOf(text: string): number {
  const match = /^([\d.]+)\s*([KMGT]?)/i.exec(text);
  const power = 'KMGT'.indexOf((match?.[2] ?? '').toUpperCase() || '-') + 1;
  return Math.floor(Number(match?.[1]) * 1024 ** power);
}
