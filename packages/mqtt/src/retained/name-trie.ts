interface Level<Value> {
  children: Map<string, Level<Value>> | undefined;
  value: Value | undefined;
}

/**
 * Values by MQTT topic name, found by topic filter: a wildcard visits only levels that fit, not all
 * names. Names and filters are legal.
 */
export class NameTrie<Value> {
  readonly #root: Level<Value> = { children: undefined, value: undefined };

  set(name: string, value: Value): void {
    let at = this.#root;
    for (const level of name.split('/')) {
      at.children ??= new Map();
      let child = at.children.get(level);
      if (child === undefined) {
        child = { children: undefined, value: undefined };
        at.children.set(level, child);
      }
      at = child;
    }
    at.value = value;
  }

  delete(name: string): void {
    const levels = name.split('/');
    const path = [this.#root];
    for (const level of levels) {
      const child = path.at(-1)?.children?.get(level);
      if (child === undefined) return;
      path.push(child);
    }
    const last = path.at(-1);
    if (last !== undefined) last.value = undefined;
    prune(path, levels);
  }

  /** Calls for every value whose name the filter matches. [MQTT5-4.7.1-1, -4.7.1-2, -4.7.2-1] */
  match(filter: string, visit: (value: Value) => void): void {
    matchFrom(this.#root, filter.split('/'), 0, visit);
  }
}

function matchFrom<Value>(
  at: Level<Value>,
  filter: readonly string[],
  index: number,
  visit: (value: Value) => void,
): void {
  const wanted = filter[index];
  if (wanted === undefined) {
    if (at.value !== undefined) visit(at.value);
    return;
  }
  if (wanted === '#') {
    // It matches its parent level too; in the first level there is none.
    if (index > 0 && at.value !== undefined) visit(at.value);
    forChildren(at, index, (child) => visitAll(child, visit));
  } else if (wanted === '+') {
    forChildren(at, index, (child) => matchFrom(child, filter, index + 1, visit));
  } else {
    const child = at.children?.get(wanted);
    if (child !== undefined) matchFrom(child, filter, index + 1, visit);
  }
}

/** A wildcard in the first level does not match names that begin with `$`. [MQTT5-4.7.2-1] */
function forChildren<Value>(
  at: Level<Value>,
  index: number,
  visit: (child: Level<Value>) => void,
): void {
  if (at.children === undefined) return;
  for (const [level, child] of at.children) {
    if (index > 0 || !level.startsWith('$')) visit(child);
  }
}

function visitAll<Value>(at: Level<Value>, visit: (value: Value) => void): void {
  if (at.value !== undefined) visit(at.value);
  if (at.children === undefined) return;
  for (const child of at.children.values()) visitAll(child, visit);
}

/** Removes levels that hold nothing, from the leaf up. `path[i + 1]` is the child of `path[i]` for `levels[i]`. */
function prune<Value>(path: readonly Level<Value>[], levels: readonly string[]): void {
  for (let i = levels.length - 1; i >= 0; i--) {
    const child = path[i + 1];
    const parent = path[i];
    if (child === undefined || parent === undefined) return;
    if (child.value !== undefined || child.children !== undefined) return;
    parent.children?.delete(levels[i] ?? '');
    if (parent.children?.size === 0) parent.children = undefined;
  }
}
