import type { CancelTimer, Clock, Logger } from '@robustmq/core';

import { parseAccessFile } from './access-file.ts';
import type { MemoryAccess } from './memory-access.ts';
import type { UserStore } from './stores.ts';
import type { TextFiles } from './text-files.ts';
import { credentialsIdOf, type User, type UserCredentials } from './user.ts';

export interface FileUsersOptions {
  readonly path: string;
  readonly files: TextFiles;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What was read of the file. */
  readonly memory: MemoryAccess;
}

interface Replacement {
  readonly before: User;
  readonly credentials: UserCredentials;
  readonly done: (isReplaced: boolean) => void;
}

/** The whole file is read and written for it, so many wait for each other. */
const writeEachMs = 10_000;

/** Users of an access file; better hashes are written into it, beside whatever else stands there. */
export class FileUsers implements UserStore, Disposable {
  readonly #options: FileUsersOptions;
  readonly onChange: UserStore['onChange'];
  #waiting: Replacement[] = [];
  #cancel: CancelTimer | undefined;
  #warned = false;
  /** What was written last: it holds nothing new. */
  written: string | undefined;

  constructor(options: FileUsersOptions) {
    this.#options = options;
    this.onChange = options.memory.onChange;
  }

  get hasUsers(): boolean {
    return this.#options.memory.hasUsers;
  }

  find(name: string): Promise<User | undefined> {
    return this.#options.memory.find(name);
  }

  /** Resolves once the file is written. */
  replaceCredentials(before: User, credentials: UserCredentials): Promise<boolean> {
    const { clock } = this.#options;
    return new Promise((done) => {
      this.#waiting.push({ before, credentials, done });
      this.#cancel ??= clock.setTimer(writeEachMs, () => void this.#write());
    });
  }

  /** What waits is not written: it is made again at the next login. */
  [Symbol.dispose](): void {
    this.#cancel?.();
    for (const { done } of this.#waiting.splice(0)) done(false);
  }

  async #write(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#cancel = undefined;
    const replaced = await this.#replace(waiting);
    for (const one of waiting) {
      const isReplaced = replaced.includes(one);
      if (isReplaced) await this.#options.memory.replaceCredentials(one.before, one.credentials);
      one.done(isReplaced);
    }
  }

  /** Those that stand in the file now. */
  async #replace(waiting: readonly Replacement[]): Promise<readonly Replacement[]> {
    const { path, files, logger } = this.#options;
    try {
      const before = String(await files.read(path));
      const { text, replaced } = textWith(before, path, waiting);
      if (replaced.length === 0) return [];
      await files.replace(path, text);
      this.written = text;
      return replaced;
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown.message : String(thrown);
      const fields = { file: path, error };
      if (!this.#warned) logger.warn(fields, 'the access file cannot be written: old hashes stay');
      this.#warned = true;
      return [];
    }
  }
}

/** The text of the file with the replacements of those whose credentials are what they were. */
function textWith(
  text: string,
  path: string,
  waiting: readonly Replacement[],
): { text: string; replaced: readonly Replacement[] } {
  const { content, document } = parseAccessFile(text);
  const indexes = new Map(content.users.map(({ name }, at) => [name, at]));
  const replaced = waiting.filter(({ before, credentials }) => {
    const at = indexes.get(before.name);
    const now = at === undefined ? undefined : content.users[at]?.credentials;
    if (now === undefined) return false;
    if (credentialsIdOf(now) !== credentialsIdOf(before.credentials)) return false;
    for (const [name, value] of Object.entries(fieldsOf(credentials))) {
      if (value === undefined) document.deleteIn(['users', at, name]);
      else document.setIn(['users', at, name], value);
    }
    return true;
  });
  const isJson = path.endsWith('.json');
  const json = (): string => `${JSON.stringify(document.toJS(), null, 2)}\n`;
  return { text: isJson ? json() : document.toString({ lineWidth: 0 }), replaced };
}

function fieldsOf(credentials: UserCredentials): Readonly<Record<string, string | undefined>> {
  return {
    password: credentials.password,
    'scram-sha-256': credentials.scramSha256,
    'scram-sha-512': credentials.scramSha512,
    origin: credentials.origin,
  };
}
