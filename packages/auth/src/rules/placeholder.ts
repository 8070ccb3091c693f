import type { Principal } from '../principal.ts';

const pattern = /\$\{(username|clientid|cert-common-name)\}/g;
const unknown = /\$\{[^}]*\}?/;

export function hasPlaceholder(filter: string): boolean {
  return filter.search(pattern) >= 0;
}

/** What is wrong with the placeholders of a filter; undefined: nothing. */
export function placeholderProblem(filter: string): string | undefined {
  const found = unknown.exec(filter.replaceAll(pattern, ''));
  if (found === null) return undefined;
  return `${found[0]} is no placeholder; \${username}, \${clientid} and \${cert-common-name} are`;
}

/** A filter with `%u` and `%c`, as Mosquitto and old EMQX write them. */
export function withLongPlaceholders(filter: string): string {
  return filter.replaceAll('%u', '${username}').replaceAll('%c', '${clientid}');
}

/**
 * The filter for one principal. Undefined: it has no such value, or one that would widen the filter or
 * reach into the levels of others (packages/auth/DESIGN.md, R5).
 */
export function fillPlaceholders(filter: string, principal: Principal): string | undefined {
  return filled(filter, principal, (value) => !/[/+#\0]/.test(value));
}

/** A text with the values in it, whatever they are; undefined: one is absent. For comparisons only. */
export function fillText(text: string, principal: Principal): string | undefined {
  return filled(text, principal, () => true);
}

function filled(
  text: string,
  principal: Principal,
  isAllowed: (value: string) => boolean,
): string | undefined {
  let isFilled = true;
  const result = text.replaceAll(pattern, (_, name: string) => {
    const value = valueOf(name, principal) ?? '';
    if (value === '' || !isAllowed(value)) isFilled = false;
    return value;
  });
  return isFilled ? result : undefined;
}

function valueOf(name: string, { identity, clientId, commonName }: Principal): string | undefined {
  switch (name) {
    case 'username':
      return identity?.userName;
    case 'clientid':
      return clientId;
    default:
      return commonName;
  }
}
