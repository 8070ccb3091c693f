import type { Logger } from '@robustmq/core';

import { parseAccessFile } from './access-file.ts';
import type { MemoryAccess } from './memory-access.ts';
import type { UserStore } from './stores.ts';
import type { TextFiles } from './text-files.ts';
import { credentialsIdOf, type User, type UserCredentials } from './user.ts';

export interface FileUsersOptions {
  readonly path: string;
  readonly files: TextFiles;
  readonly logger: Logger;
  /** What was read of the file. */
  readonly memory: MemoryAccess;
}

/** Users of an access file; better hashes are written into it, beside whatever else stands there. */
export class FileUsers implements UserStore {
  readonly #options: FileUsersOptions;
  readonly onChange: UserStore['onChange'];
  /** One after the other: each begins with the file as it is then. */
  #writing: Promise<unknown> = Promise.resolve();
  #warned = false;

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

  replaceCredentials(before: User, credentials: UserCredentials): Promise<boolean> {
    const work = this.#writing.then(() => this.#replace(before, credentials));
    this.#writing = work;
    return work;
  }

  async #replace(before: User, credentials: UserCredentials): Promise<boolean> {
    const { path, files, memory, logger } = this.#options;
    try {
      const text = textWith(String(await files.read(path)), path, before, credentials);
      if (text === undefined) return false;
      await files.replace(path, text);
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown.message : String(thrown);
      const fields = { file: path, error };
      if (!this.#warned) logger.warn(fields, 'the access file cannot be written: old hashes stay');
      this.#warned = true;
      return false;
    }
    return memory.replaceCredentials(before, credentials);
  }
}

/** The text of the file with other credentials of a user; undefined: they are not those of `before` any more. */
function textWith(
  text: string,
  path: string,
  before: User,
  credentials: UserCredentials,
): string | undefined {
  const { content, document } = parseAccessFile(text);
  const at = content.users.findIndex(({ name }) => name === before.name);
  const now = content.users[at]?.credentials;
  if (now === undefined) return undefined;
  if (credentialsIdOf(now) !== credentialsIdOf(before.credentials)) return undefined;
  const fields = {
    password: credentials.password,
    'scram-sha-256': credentials.scramSha256,
    'scram-sha-512': credentials.scramSha512,
    origin: credentials.origin,
  };
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) document.deleteIn(['users', at, name]);
    else document.setIn(['users', at, name], value);
  }
  const isJson = path.endsWith('.json');
  return isJson
    ? `${JSON.stringify(document.toJS(), null, 2)}\n`
    : document.toString({ lineWidth: 0 });
}
