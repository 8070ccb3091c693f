import type { TopicNames } from '@robustmq/kernel';
import type { RecordCursor } from '@robustmq/record-batch';

import type { Subscription, SubscriptionTrie } from '../codec/subscription-trie.ts';
import type { TopicMeter, TopicMeters } from '../slow/topic-meters.ts';
import type { LiveSession } from './live-session.ts';
import type { LiveSubscription } from './live-subscription.ts';

export type LiveTrie = SubscriptionTrie<LiveSession, LiveSubscription>;

/** A session that a name concerns, with every subscription of it that matches. */
export interface MatchTarget {
  readonly session: LiveSession;
  readonly first: LiveSubscription;
  /** Overlapping subscriptions of the same session. */
  readonly more: readonly LiveSubscription[] | undefined;
}

/** A record key of one topic as MQTT sees it. */
export interface NameMatch {
  /** Undefined: MQTT cannot spell it. */
  readonly name: string | undefined;
  readonly nameBytes: Buffer;
  /** The key begins with `$`: only what came through MQTT is delivered. */
  readonly dollar: boolean;
  /** Who counts it. */
  readonly meters: readonly TopicMeter[] | undefined;
  version: number;
  targets: readonly MatchTarget[];
  /** The targets by session, once somebody has asked for one of many ({@link targetOf}). */
  bySession: ReadonlyMap<LiveSession, MatchTarget> | undefined;
}

/** With so many targets a session looks itself up; among fewer it looks for itself. */
const fewTargets = 8;

/** What of a match concerns one session, at the same cost however many others it concerns. */
export function targetOf(match: NameMatch, session: LiveSession): MatchTarget | undefined {
  const { targets } = match;
  if (targets.length <= fewTargets) return targets.find((target) => target.session === session);
  match.bySession ??= new Map(targets.map((target) => [target.session, target]));
  return match.bySession.get(session);
}

/** The subscriptions of one session that match. */
export function subscriptionsOf({ first, more }: MatchTarget): readonly LiveSubscription[] {
  return more === undefined ? [first] : [first, ...more];
}

const nothing = Buffer.alloc(0);
const none: readonly MatchTarget[] = [];
/** Longer keys are matched each time: what is remembered stays bounded in bytes. */
const rememberedKeyBytesMax = 512;

/** Record keys of one topic → who wants them, remembered until the subscriptions change. Good for one catalog. */
export class MatchTable {
  readonly #topic: string;
  readonly #trie: LiveTrie;
  readonly #size: number;
  readonly #names: TopicNames;
  readonly #meters: Pick<TopicMeters, 'of'>;
  #matches = new Map<string, NameMatch>();
  #withoutKey: NameMatch | undefined;
  readonly #found: Subscription<LiveSession, LiveSubscription>[] = [];

  constructor(
    topic: string,
    options: {
      trie: LiveTrie;
      names: TopicNames;
      size: number;
      meters: Pick<TopicMeters, 'of'>;
    },
  ) {
    this.#topic = topic;
    this.#trie = options.trie;
    this.#names = options.names;
    this.#size = options.size;
    this.#meters = options.meters;
  }

  /** The match of the record on which the cursor stands. */
  of(cursor: RecordCursor): NameMatch {
    const match = this.#named(cursor);
    if (match.version !== this.#trie.version) {
      match.targets = match.name === undefined ? none : this.#targets(match.name);
      match.bySession = undefined;
      match.version = this.#trie.version;
    }
    return match;
  }

  #named(cursor: RecordCursor): NameMatch {
    if (cursor.keyStart < 0) return (this.#withoutKey ??= this.#make(null));
    const { buffer, keyStart, keyEnd } = cursor;
    if (keyEnd - keyStart > rememberedKeyBytesMax)
      return this.#make(buffer.subarray(keyStart, keyEnd));
    const key = buffer.toString('latin1', keyStart, keyEnd);
    let match = this.#matches.get(key);
    if (match === undefined) {
      match = this.#make(buffer.subarray(keyStart, keyEnd));
      if (this.#matches.size >= this.#size) this.#matches = new Map();
      this.#matches.set(key, match);
    }
    return match;
  }

  #make(key: Buffer | null): NameMatch {
    const name = this.#names.mqttNameOf(this.#topic, key, 'mqtt') ?? undefined;
    return {
      name,
      nameBytes: name === undefined ? nothing : Buffer.from(name),
      meters: name === undefined ? undefined : this.#meters.of(name),
      dollar: key !== null && key[0] === 0x24,
      version: -1,
      targets: none,
      bySession: undefined,
    };
  }

  #targets(name: string): readonly MatchTarget[] {
    const targets = targetsOf(this.#trie.match(name, this.#found), name);
    this.#found.length = 0;
    return targets;
  }
}

/** The subscriptions that were found for a name and may show it, by session. */
export function targetsOf(
  found: readonly Subscription<LiveSession, LiveSubscription>[],
  name: string,
): readonly MatchTarget[] {
  if (found.length === 0) return none;
  const bySession = new Map<LiveSession, LiveSubscription[]>();
  for (const { key, value } of found) {
    if (!value.mayShow(name)) continue;
    const others = bySession.get(key);
    if (others === undefined) bySession.set(key, [value]);
    else others.push(value);
  }
  const targets: MatchTarget[] = [];
  for (const [session, [first, ...more]] of bySession) {
    if (first) targets.push({ session, first, more: more.length > 0 ? more : undefined });
  }
  return targets;
}
