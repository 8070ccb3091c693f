import { readFileSync } from 'node:fs';

import {
  accessFileText,
  newCredentials,
  parseAccessFile,
  parseMosquittoAcl,
  parseMosquittoPasswords,
  PasswordVerifier,
} from '@robustmq/auth';
import { OperatingError, systemClock, systemRandom } from '@robustmq/core';

import { readSecret } from '../secret.ts';

interface AccessInput {
  readonly arguments: readonly string[];
  readonly flags: Readonly<Record<string, unknown>>;
}

/** Prints the entry of a user for an access file; its password comes from standard input. */
export async function printUser({ arguments: [name = ''], flags }: AccessInput): Promise<void> {
  const password = await readSecret(`Password of ${name}: `);
  if (password === '') throw new OperatingError('INVALID_ARGUMENT', 'the password is empty');
  const random = systemRandom();
  const verifier = new PasswordVerifier({ clock: systemClock(), random });
  const credentials = await newCredentials(Buffer.from(password), verifier, random);
  const groups = Array.isArray(flags['group']) ? flags['group'].map(String) : [];
  const user = { name, credentials, groups, superuser: flags['superuser'] === true };
  process.stdout.write(accessFileText({ users: [user], rules: [] }));
}

/** Says whether an access file is well formed, and what is in it. */
export function checkAccessFile({ arguments: [path = ''] }: AccessInput): void {
  const { content } = read(path, (text) => parseAccessFile(text));
  const { users, rules, bans } = content;
  console.log(`${path}: ${users.length} users, ${rules.length} rules, ${bans.length} bans`);
}

/** Prints an access file made of Mosquitto's files. */
export function importMosquitto({ flags }: AccessInput): void {
  const passwords = pathIn(flags, 'passwords');
  const acl = pathIn(flags, 'acl');
  if (passwords === undefined && acl === undefined) {
    throw new OperatingError('INVALID_ARGUMENT', 'give --passwords FILE, --acl FILE, or both');
  }
  const users = passwords === undefined ? [] : read(passwords, parseMosquittoPasswords);
  const rules = acl === undefined ? [] : read(acl, parseMosquittoAcl);
  const settings =
    acl === undefined ? '# Without an ACL file everything is allowed.\ndefault: allow\n' : '';
  process.stdout.write(settings + accessFileText({ users, rules }));
}

function pathIn(flags: AccessInput['flags'], name: string): string | undefined {
  const path = flags[name];
  return typeof path === 'string' ? path : undefined;
}

function read<Content>(path: string, parse: (text: string) => Content): Content {
  try {
    return parse(readFileSync(path, 'utf8'));
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new OperatingError('INVALID_ARGUMENT', `${path}: ${reason}`);
  }
}
