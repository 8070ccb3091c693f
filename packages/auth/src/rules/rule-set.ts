import { AddressSet } from '../guard/address-set.ts';
import type { Principal } from '../principal.ts';
import type { AccessRule, Operation, ResourcePattern, Who } from './access-rule.ts';
import { hasPlaceholder } from './placeholder.ts';
import { TopicPattern } from './topic-pattern.ts';

/** All QoS of a subscription, as bits. */
export const everyQos = 0b111;
/** All QoS of a publish, without and with retain: bit `qos * 2 + retain`. */
export const everyPublish = 0b111111;

/** A rule as far as it concerns one MQTT filter. */
export interface MqttGrant {
  readonly deny: boolean;
  /** Undefined while it has placeholders. */
  readonly pattern: TopicPattern | undefined;
  readonly filter: string;
  readonly exact: boolean;
  /** See {@link everyPublish}. */
  readonly publishBits: number;
  /** See {@link everyQos}. */
  readonly subscribeBits: number;
}

/** A rule as far as it concerns resources of other protocols. */
export interface NamedGrant {
  readonly deny: boolean;
  readonly operations: ReadonlySet<Operation>;
  readonly pattern: Exclude<ResourcePattern, { readonly kind: 'mqtt' }>;
}

/** A rule, ready to be asked. */
export class CompiledRule {
  readonly mqtt: readonly MqttGrant[];
  readonly named: readonly NamedGrant[];
  readonly #who: Who;
  readonly #addresses: AddressSet | undefined;

  constructor(rule: AccessRule) {
    this.#who = rule.who;
    const { addresses } = rule.who;
    this.#addresses = addresses === undefined ? undefined : new AddressSet(addresses);
    this.mqtt = rule.resources.flatMap((pattern) =>
      pattern.kind === 'mqtt' ? [mqttGrant(rule, pattern)] : [],
    );
    const operations = new Set(rule.operations);
    const deny = rule.effect === 'deny';
    this.named = rule.resources.flatMap((pattern) =>
      pattern.kind === 'mqtt' ? [] : [{ deny, operations, pattern }],
    );
  }

  /** Whether it concerns the principal. */
  fits({ identity, clientId, address }: Principal): boolean {
    const { users, clientIds, groups, anonymous } = this.#who;
    const name = identity?.userName;
    if (users !== undefined && (name === undefined || !users.includes(name))) return false;
    if (clientIds?.includes(clientId) === false) return false;
    if (groups !== undefined && identity?.groups.some((one) => groups.includes(one)) !== true) {
      return false;
    }
    if (anonymous !== undefined && anonymous !== (identity === undefined)) return false;
    return this.#addresses?.has(address) ?? true;
  }
}

function mqttGrant(
  rule: AccessRule,
  { filter, exact }: Extract<ResourcePattern, { readonly kind: 'mqtt' }>,
): MqttGrant {
  const qos = rule.qos ?? [0, 1, 2];
  const retains = rule.retain === undefined ? [0, 1] : [Number(rule.retain)];
  const publishes = qos.flatMap((one) => retains.map((retain) => 1 << (one * 2 + retain)));
  const publishBits = rule.operations.includes('publish') ? sum(publishes) : 0;
  const subscribes = rule.operations.includes('subscribe');
  return {
    deny: rule.effect === 'deny',
    pattern: hasPlaceholder(filter) ? undefined : new TopicPattern(filter, exact),
    filter,
    exact,
    publishBits,
    subscribeBits: subscribes ? sum(qos.map((one) => 1 << one)) : 0,
  };
}

function sum(bits: readonly number[]): number {
  return bits.reduce((all, bit) => all | bit, 0);
}

/** All rules, found by whom they can concern. Does not change: a change makes a new one. */
export class RuleSet {
  readonly size: number;
  /** What no rule decides. */
  readonly fallback: 'allow' | 'deny';
  readonly #byUser = new Map<string, CompiledRule[]>();
  readonly #byClientId = new Map<string, CompiledRule[]>();
  readonly #byGroup = new Map<string, CompiledRule[]>();
  readonly #others: CompiledRule[] = [];

  constructor(rules: readonly AccessRule[], fallback: 'allow' | 'deny') {
    this.size = rules.length;
    this.fallback = fallback;
    for (const rule of rules) this.#add(rule);
  }

  /** The rules that concern a principal. */
  rulesOf(principal: Principal): CompiledRule[] {
    const { identity, clientId } = principal;
    const found = new Set(this.#others);
    const add = (rules: readonly CompiledRule[] = []): void => {
      for (const rule of rules) found.add(rule);
    };
    add(this.#byClientId.get(clientId));
    if (identity !== undefined) {
      add(this.#byUser.get(identity.userName));
      for (const group of identity.groups) add(this.#byGroup.get(group));
    }
    return [...found].filter((rule) => rule.fits(principal));
  }

  #add(rule: AccessRule): void {
    const compiled = new CompiledRule(rule);
    const { users, clientIds, groups } = rule.who;
    if (users !== undefined) index(this.#byUser, users, compiled);
    else if (clientIds !== undefined) index(this.#byClientId, clientIds, compiled);
    else if (groups !== undefined) index(this.#byGroup, groups, compiled);
    else this.#others.push(compiled);
  }
}

function index(
  rules: Map<string, CompiledRule[]>,
  keys: readonly string[],
  rule: CompiledRule,
): void {
  for (const key of keys) {
    const others = rules.get(key);
    if (others === undefined) rules.set(key, [rule]);
    else others.push(rule);
  }
}
