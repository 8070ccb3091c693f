import { OperatingError } from '@robustmq/core';

import { ownLevel, type TopicOwner } from './topic-owner.ts';

type Part =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'group'; readonly group: number }
  | { readonly kind: 'client' }
  | { readonly kind: 'user' };

/** A topic with `%c`, `%u` and perhaps `$1` to `$99` in it. */
export class TopicTemplate {
  readonly #parts: readonly Part[];

  private constructor(parts: readonly Part[]) {
    this.#parts = parts;
  }

  /** `groups`: how many the expression has. Throws INVALID_ARGUMENT. */
  static parse(text: string, groups = 0): TopicTemplate {
    const parts = text
      .split(/(%[cu]|\$\d{1,2})/)
      .filter((piece) => piece !== '')
      .map((piece) => partOf(piece));
    const missing = parts.find((part) => part.kind === 'group' && part.group > groups);
    if (missing?.kind === 'group') {
      throw new OperatingError(
        'INVALID_ARGUMENT',
        `${text} has $${missing.group}, but the expression has ${groups} groups`,
      );
    }
    return new TopicTemplate(parts);
  }

  /** The same with the groups filled in. */
  withGroups(groups: readonly string[]): TopicTemplate {
    return new TopicTemplate(
      this.#parts.map((part) =>
        part.kind === 'group' ? { kind: 'text', text: groups[part.group] ?? '' } : part,
      ),
    );
  }

  /** Undefined: the client id or the user cannot stand in a topic. */
  render(owner: TopicOwner): string | undefined {
    let topic = '';
    for (const part of this.#parts) {
      const text = textOf(part, owner);
      if (text === undefined) return undefined;
      topic += text;
    }
    return topic;
  }
}

function partOf(piece: string): Part {
  if (piece === '%c') return { kind: 'client' };
  if (piece === '%u') return { kind: 'user' };
  if (/^\$\d{1,2}$/.test(piece)) return { kind: 'group', group: Number(piece.slice(1)) };
  return { kind: 'text', text: piece };
}

function textOf(part: Part, { clientId, user }: TopicOwner): string | undefined {
  switch (part.kind) {
    case 'text':
      return part.text;
    case 'client':
      return ownLevel(clientId);
    case 'user':
      return ownLevel(user);
    case 'group':
      return '';
    default:
      return undefined;
  }
}
