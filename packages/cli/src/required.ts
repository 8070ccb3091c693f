import { assert } from '@robustmq/core';

import type { OptionName, Options } from './options.ts';

/** An option that the role's table gives a default, so that it is always there. */
export function required<Name extends OptionName>(
  options: Options,
  name: Name,
): NonNullable<Options[Name]> {
  const value = options[name];
  assert(value !== undefined && value !== null, `option ${name} has a default`);
  return value;
}
