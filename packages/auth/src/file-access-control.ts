import {
  type CancelTimer,
  type Clock,
  type Logger,
  OperatingError,
  type Random,
} from '@robustmq/core';

import { AccessControl, type Guards } from './access-control.ts';
import { FlappingGuard } from './guard/flapping-guard.ts';
import { LoginGuard } from './guard/login-guard.ts';
import type { Fetch } from './http/bounded-fetch.ts';
import { type BuiltMembers, buildMembers } from './members.ts';
import { PasswordVerifier } from './password/password-verifier.ts';
import { parseAccessFile } from './store/access-file.ts';
import type { AccessFileContent } from './store/access-file-schema.ts';
import { FileUsers } from './store/file-users.ts';
import { type AccessData, MemoryAccess } from './store/memory-access.ts';
import type { TextFiles } from './store/text-files.ts';

export interface FileAccessControlOptions {
  /** YAML or JSON. */
  readonly path: string;
  readonly files: TextFiles;
  readonly fetch: Fetch;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

/** Polled: a watch on files misses what is mounted or linked anew. */
const lookEachMs = 1_000;

/** Access control by an access file, which is taken up again when it, or a file of keys, has changed. */
export class FileAccessControl implements AsyncDisposable {
  readonly control: AccessControl;
  readonly #options: FileAccessControlOptions;
  readonly #memory: MemoryAccess;
  readonly #users: FileUsers;
  readonly #verifier: PasswordVerifier;
  readonly #scramSecret: Buffer;
  #content: AccessFileContent;
  #built: BuiltMembers;
  #stamps: string;
  #looking: Promise<void> = Promise.resolve();
  #cancel: CancelTimer = () => {};
  #isDisposed = false;
  /** The file, or one that it names, is wrong: what was in force before still is. */
  isStale = false;

  private constructor(options: FileAccessControlOptions, first: FirstRead) {
    this.#options = options;
    this.#memory = first.memory;
    this.#users = first.users;
    this.#verifier = first.verifier;
    this.#scramSecret = first.scramSecret;
    this.#content = first.content;
    this.#built = first.built;
    this.#stamps = first.stamps;
    this.control = new AccessControl({
      users: this.#users,
      rules: this.#memory,
      bans: this.#memory,
      members: first.built.members,
      guards: guardsOf(first.content, options.clock),
      clock: options.clock,
      random: options.random,
      logger: options.logger,
    });
    this.#lookLater();
  }

  /** Rejects with INVALID_ARGUMENT when the file is wrong. */
  static async open(options: FileAccessControlOptions): Promise<FileAccessControl> {
    const { path, files, clock, random, logger } = options;
    const stamp = await files.stamp(path);
    const content = contentOf(await textOf(options), path);
    const memory = new MemoryAccess(dataOf(content));
    const users = new FileUsers({ path, files, clock, logger, memory });
    const verifier = new PasswordVerifier({ clock, random });
    const scramSecret = random.bytes(32);
    const built = await buildMembers(content, { ...options, users, verifier, scramSecret });
    // Files of keys are read again at the first look: they may have changed before it knew of them.
    const stamps = built.paths.length === 0 ? stamp : '';
    const first = { memory, users, verifier, scramSecret, content, built, stamps };
    return new FileAccessControl(options, first);
  }

  /** Looks at the files now. Never rejects. */
  look(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    this.#cancel();
    await this.#looking;
    this.#users[Symbol.dispose]();
    this.#built[Symbol.dispose]();
  }

  #lookLater(): void {
    if (this.#isDisposed) return;
    this.#cancel = this.#options.clock.setTimer(lookEachMs, () => {
      void this.look().then(() => this.#lookLater());
    });
  }

  async #look(): Promise<void> {
    const { path, files } = this.#options;
    // Before they are read: what is written meanwhile is seen the next time.
    const stamps = await Promise.all([path, ...this.#built.paths].map((one) => files.stamp(one)));
    const found = stamps.join(' ');
    if (found === this.#stamps || this.#isDisposed) return;
    this.#stamps = found;
    await this.#reload();
  }

  async #reload(): Promise<void> {
    const { path, logger } = this.#options;
    try {
      const text = await textOf(this.#options);
      if (text === this.#users.written && this.#built.paths.length === 0) return;
      const content = contentOf(text, path);
      await this.#rebuild(content);
      this.#memory.replace(dataOf(content));
      this.#content = content;
      this.isStale = false;
      const { users, rules, bans } = content;
      const counts = { users: users.length, rules: rules.length, bans: bans.length };
      logger.info({ file: path, ...counts }, 'the access file was taken up');
    } catch (thrown) {
      if (!(thrown instanceof OperatingError)) throw thrown;
      this.isStale = true;
      logger.error(
        { file: path, error: thrown.message },
        'the access file cannot be used; what was in force before still is',
      );
    }
  }

  /** Members forget what they know when they are made anew, so they stay when nothing about them has changed. */
  async #rebuild(content: AccessFileContent): Promise<void> {
    const { clock } = this.#options;
    if (guardText(content) !== guardText(this.#content)) {
      this.control.replaceGuards(guardsOf(content, clock));
    }
    const isSame = memberText(content) === memberText(this.#content);
    if (isSame && this.#built.paths.length === 0) return;
    const before = this.#built;
    const own = { users: this.#users, verifier: this.#verifier, scramSecret: this.#scramSecret };
    this.#built = await buildMembers(content, { ...this.#options, ...own });
    before[Symbol.dispose]();
    if (!isSame && this.#built.paths.length > 0) this.#stamps = '';
    this.control.replaceMembers(this.#built.members);
  }
}

interface FirstRead {
  readonly memory: MemoryAccess;
  readonly users: FileUsers;
  readonly verifier: PasswordVerifier;
  readonly scramSecret: Buffer;
  readonly content: AccessFileContent;
  readonly built: BuiltMembers;
  readonly stamps: string;
}

async function textOf({ path, files }: FileAccessControlOptions): Promise<string> {
  try {
    return String(await files.read(path));
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new OperatingError('INVALID_ARGUMENT', `access file ${path}: ${reason}`);
  }
}

function contentOf(text: string, path: string): AccessFileContent {
  try {
    return parseAccessFile(text).content;
  } catch (thrown) {
    if (!(thrown instanceof OperatingError)) throw thrown;
    throw new OperatingError(thrown.code, `access file ${path}: ${thrown.message}`);
  }
}

function dataOf(content: AccessFileContent): AccessData {
  const { users, rules, bans, anonymous, default: fallback } = content;
  const settings = { anonymous, fallback, clientIds: content['client-ids'] };
  return { users, rules, bans, settings };
}

function guardsOf(content: AccessFileContent, clock: Clock): Guards {
  const own = content['login-guard'];
  const { flapping } = content;
  return {
    login: new LoginGuard(
      clock,
      given({
        windowMs: own?.['window-ms'],
        pairMax: own?.['user-and-address-max'],
        addressMax: own?.['address-max'],
        userMax: own?.['user-max'],
        lockMs: own?.['lock-ms'],
      }),
    ),
    flapping:
      flapping &&
      new FlappingGuard(
        clock,
        given({
          windowMs: flapping['window-ms'],
          endsMax: flapping['ends-max'],
          lockMs: flapping['lock-ms'],
        }),
      ),
  };
}

/** Without what is undefined. */
function given<Value>(
  options: Readonly<Record<string, Value | undefined>>,
): Readonly<Record<string, Value>> {
  const entries = Object.entries(options).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value] as const],
  );
  return Object.fromEntries(entries);
}

function guardText(content: AccessFileContent): string {
  return JSON.stringify([content['login-guard'], content.flapping]);
}

function memberText({ chain, certificate, token, http, scram }: AccessFileContent): string {
  return JSON.stringify([chain, certificate, token, http, scram]);
}
