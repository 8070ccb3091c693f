import type { Ban } from '../guard/ban.ts';
import type { AccessRule } from '../rules/access-rule.ts';
import { Listeners } from './listeners.ts';
import type { AccessSettings, BanStore, RuleStore, UserStore } from './stores.ts';
import { credentialsIdOf, type User, type UserCredentials } from './user.ts';

/** Everything that an access file can hold, but for the members of the chain. */
export interface AccessData {
  readonly users: readonly User[];
  readonly rules: readonly AccessRule[];
  readonly bans: readonly Ban[];
  readonly settings: AccessSettings;
}

export const noAccessData: AccessData = {
  users: [],
  rules: [],
  bans: [],
  settings: { fallback: 'deny', anonymous: 'deny', clientIds: 'any' },
};

/** Users, rules and bans in memory, replaced as a whole. */
export class MemoryAccess implements UserStore, RuleStore, BanStore {
  readonly #listeners = new Listeners();
  #data: AccessData = noAccessData;
  #users = new Map<string, User>();

  constructor(data: Partial<AccessData> = {}) {
    this.#take({ ...noAccessData, ...data });
  }

  get hasUsers(): boolean {
    return this.#users.size > 0;
  }

  get rules(): readonly AccessRule[] {
    return this.#data.rules;
  }

  get settings(): AccessSettings {
    return this.#data.settings;
  }

  get bans(): readonly Ban[] {
    return this.#data.bans;
  }

  get users(): readonly User[] {
    return [...this.#users.values()];
  }

  readonly onChange = (listener: () => void): (() => void) => this.#listeners.add(listener);

  find(name: string): Promise<User | undefined> {
    return Promise.resolve(this.#users.get(name));
  }

  /** Replaces what is named. */
  replace(data: Partial<AccessData>): void {
    this.#take({ ...this.#data, ...data });
    this.#listeners.tell();
  }

  /** Nobody is told: better hashes of the same secret concern nobody who is connected. */
  replaceCredentials(before: User, credentials: UserCredentials): Promise<boolean> {
    const now = this.#users.get(before.name);
    const isSame =
      now !== undefined && credentialsIdOf(now.credentials) === credentialsIdOf(before.credentials);
    if (isSame) this.#users.set(now.name, { ...now, credentials });
    return Promise.resolve(isSame);
  }

  #take(data: AccessData): void {
    this.#data = data;
    this.#users = new Map(data.users.map((user) => [user.name, user]));
  }
}
