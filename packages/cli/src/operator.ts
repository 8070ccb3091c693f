import { hostname, userInfo } from 'node:os';

/** Who runs the command, for records of what was ordered. */
export function operatorName(): string {
  return `${userInfo().username}@${hostname()}`;
}
