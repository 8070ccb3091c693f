import type { Ban } from '../guard/ban.ts';
import type { AccessRule } from '../rules/access-rule.ts';
import type { User, UserCredentials } from './user.ts';

/** Calls `listener` after each change; returns what ends it. */
export type Watch = (listener: () => void) => () => void;

export interface UserStore {
  readonly hasUsers: boolean;
  find(name: string): Promise<User | undefined>;
  /** Replaces the credentials of a user if they are still those of `before`. False: they are not, or the store is read only. */
  replaceCredentials(before: User, credentials: UserCredentials): Promise<boolean>;
  readonly onChange: Watch;
}

/** Access rules, and what is so where none decides. */
export interface RuleStore {
  readonly rules: readonly AccessRule[];
  readonly settings: AccessSettings;
  readonly onChange: Watch;
}

export interface AccessSettings {
  /** What no rule decides, once there is a rule or a user. */
  readonly fallback: 'allow' | 'deny';
  /** Whether clients without credentials are let in, once there is a user or a member of the chain. */
  readonly anonymous: 'allow' | 'deny';
  /** `user-name`: who has a user name gives it as client id, so that nobody takes another's session over. */
  readonly clientIds: 'any' | 'user-name';
}

export interface BanStore {
  readonly bans: readonly Ban[];
  readonly onChange: Watch;
}
