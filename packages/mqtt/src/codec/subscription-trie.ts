import { hasWildcard } from './topic.ts';

/** One subscription. A new value makes a new object, so a cached match result is never changed. */
export interface Subscription<Key, Value> {
  readonly key: Key;
  readonly value: Value;
}

/**
 * Subscriptions of one filter: most filters have one, which then stands here without a container
 * (a million device filters are the common case). A set is never left empty.
 */
type Subscribers<Key, Value> = Subscription<Key, Value> | Map<Key, Subscription<Key, Value>>;

interface Level<Key, Value> {
  children: Map<string, Level<Key, Value>> | undefined;
  /** Child for '+'. */
  plus: Level<Key, Value> | undefined;
  /** Filters that end here. */
  here: Subscribers<Key, Value> | undefined;
  /** Filters that end with '#' below here; they match this level too. */
  rest: Subscribers<Key, Value> | undefined;
}

/**
 * Topic filters and who subscribed to them. A filter without wildcards is one entry of a map by its
 * whole name; the others share a trie of levels. A match visits at most the trie levels that fit the
 * name, so it costs by what matches and not by what is subscribed.
 *
 * A key has at most one subscription per filter. Filters are valid, and without their `$share/{group}/`.
 * `Key` is compared like a map's.
 */
export class SubscriptionTrie<Key, Value> {
  readonly #exact = new Map<string, Subscribers<Key, Value>>();
  #root: Level<Key, Value> = newLevel();
  #wildcards = 0;
  #size = 0;
  #version = 0;

  /** Subscriptions. */
  get size(): number {
    return this.#size;
  }

  /** Grows with every change: what {@link match} found stays true while it is the same. */
  get version(): number {
    return this.#version;
  }

  /** What {@link match} found is to be looked at again, although the filters are the same. */
  touch(): void {
    this.#version++;
  }

  /** Adds or replaces; returns the value that was replaced. */
  insert(filter: string, key: Key, value: Value): Value | undefined {
    this.#version++;
    const subscription = { key, value };
    const wildcard = hasWildcard(filter);
    const replaced = wildcard
      ? this.#insertWildcard(filter, subscription)
      : this.#insertExact(filter, subscription);
    if (replaced !== undefined) return replaced.value;
    this.#size++;
    if (wildcard) this.#wildcards++;
    return undefined;
  }

  /** Whether there was such a subscription. */
  remove(filter: string, key: Key): boolean {
    const wildcard = hasWildcard(filter);
    const removed = wildcard ? this.#removeWildcard(filter, key) : this.#removeExact(filter, key);
    if (!removed) return false;
    this.#version++;
    this.#size--;
    if (wildcard) this.#wildcards--;
    return true;
  }

  /**
   * Appends every subscription whose filter matches `name` to `into`, one per matching filter (a key
   * with overlapping filters occurs several times). Returns `into`.
   */
  match(name: string, into: Subscription<Key, Value>[]): Subscription<Key, Value>[] {
    const exact = this.#exact.get(name);
    if (exact !== undefined) collect(exact, into);
    if (this.#wildcards > 0) {
      // A leading wildcard does not match a name that begins with '$'. [MQTT5-4.7.2-1]
      if (name.startsWith('$')) matchDollar(this.#root, name, into);
      else matchFrom(this.#root, name, 0, into);
    }
    return into;
  }

  #insertExact(
    filter: string,
    subscription: Subscription<Key, Value>,
  ): Subscription<Key, Value> | undefined {
    const subscribers = this.#exact.get(filter);
    const replaced = find(subscribers, subscription.key);
    const changed = add(subscribers, subscription);
    if (changed !== subscribers) this.#exact.set(filter, changed);
    return replaced;
  }

  #removeExact(filter: string, key: Key): boolean {
    const subscribers = this.#exact.get(filter);
    if (subscribers === undefined || find(subscribers, key) === undefined) return false;
    const left = without(subscribers, key);
    if (left === undefined) this.#exact.delete(filter);
    else if (left !== subscribers) this.#exact.set(filter, left);
    return true;
  }

  #insertWildcard(
    filter: string,
    subscription: Subscription<Key, Value>,
  ): Subscription<Key, Value> | undefined {
    const levels = filter.split('/');
    const slot = slotOf(levels);
    let at = this.#root;
    for (const level of levels) at = childFor(at, level);
    const replaced = find(at[slot], subscription.key);
    at[slot] = add(at[slot], subscription);
    return replaced;
  }

  #removeWildcard(filter: string, key: Key): boolean {
    const levels = filter.split('/');
    const slot = slotOf(levels);
    const path = [this.#root];
    let at: Level<Key, Value> | undefined = this.#root;
    for (const level of levels) {
      at = level === '+' ? at.plus : at.children?.get(level);
      if (at === undefined) return false;
      path.push(at);
    }
    const subscribers = at[slot];
    if (subscribers === undefined || find(subscribers, key) === undefined) return false;
    at[slot] = without(subscribers, key);
    prune(path, levels);
    return true;
  }
}

function newLevel<Key, Value>(): Level<Key, Value> {
  return { children: undefined, plus: undefined, here: undefined, rest: undefined };
}

/** Takes a '#' off the levels and says where the filter's subscribers stand on the last level left. */
function slotOf(levels: string[]): 'here' | 'rest' {
  if (levels.at(-1) !== '#') return 'here';
  levels.pop();
  return 'rest';
}

function childFor<Key, Value>(parent: Level<Key, Value>, level: string): Level<Key, Value> {
  if (level === '+') return (parent.plus ??= newLevel());
  parent.children ??= new Map();
  let child = parent.children.get(level);
  if (child === undefined) {
    child = newLevel();
    parent.children.set(level, child);
  }
  return child;
}

/** Removes levels that hold nothing, from the leaf up. `path[i + 1]` is the child of `path[i]` for `levels[i]`. */
function prune<Key, Value>(path: readonly Level<Key, Value>[], levels: readonly string[]): void {
  for (let i = levels.length - 1; i >= 0; i--) {
    const child = path[i + 1];
    const parent = path[i];
    const level = levels[i];
    if (child === undefined || parent === undefined || level === undefined) return;
    if (child.children !== undefined || child.plus !== undefined) return;
    if (child.here !== undefined || child.rest !== undefined) return;
    if (level === '+') parent.plus = undefined;
    else parent.children?.delete(level);
    if (parent.children?.size === 0) parent.children = undefined;
  }
}

/** Matches the levels of `name` that begin at `start`; beyond its end only `here` and `rest` are left. */
function matchFrom<Key, Value>(
  at: Level<Key, Value>,
  name: string,
  start: number,
  into: Subscription<Key, Value>[],
): void {
  if (at.rest !== undefined) collect(at.rest, into);
  if (start > name.length) {
    if (at.here !== undefined) collect(at.here, into);
    return;
  }
  if (at.children === undefined && at.plus === undefined) return;
  const end = levelEnd(name, start);
  if (at.plus !== undefined) matchFrom(at.plus, name, end + 1, into);
  const child = at.children?.get(name.slice(start, end));
  if (child !== undefined) matchFrom(child, name, end + 1, into);
}

/** The first level must be spelled out. */
function matchDollar<Key, Value>(
  root: Level<Key, Value>,
  name: string,
  into: Subscription<Key, Value>[],
): void {
  const end = levelEnd(name, 0);
  const child = root.children?.get(name.slice(0, end));
  if (child !== undefined) matchFrom(child, name, end + 1, into);
}

function levelEnd(name: string, start: number): number {
  const end = name.indexOf('/', start);
  return end < 0 ? name.length : end;
}

function collect<Key, Value>(
  subscribers: Subscribers<Key, Value>,
  into: Subscription<Key, Value>[],
): void {
  if (!(subscribers instanceof Map)) {
    into.push(subscribers);
    return;
  }
  for (const subscription of subscribers.values()) into.push(subscription);
}

function find<Key, Value>(
  subscribers: Subscribers<Key, Value> | undefined,
  key: Key,
): Subscription<Key, Value> | undefined {
  if (subscribers instanceof Map) return subscribers.get(key);
  return subscribers?.key === key ? subscribers : undefined;
}

function add<Key, Value>(
  subscribers: Subscribers<Key, Value> | undefined,
  subscription: Subscription<Key, Value>,
): Subscribers<Key, Value> {
  if (subscribers === undefined) return subscription;
  if (subscribers instanceof Map) return subscribers.set(subscription.key, subscription);
  if (subscribers.key === subscription.key) return subscription;
  return new Map([
    [subscribers.key, subscribers],
    [subscription.key, subscription],
  ]);
}

/** Expects that `key` is among them. */
function without<Key, Value>(
  subscribers: Subscribers<Key, Value>,
  key: Key,
): Subscribers<Key, Value> | undefined {
  if (!(subscribers instanceof Map)) return undefined;
  subscribers.delete(key);
  if (subscribers.size > 1) return subscribers;
  const [last] = subscribers.values();
  return last;
}
