import type { Principal } from '../principal.ts';
import type { Operation, Resource } from './access-rule.ts';
import { fillPlaceholders } from './placeholder.ts';
import {
  CompiledRule,
  everyPublish,
  everyQos,
  type MqttGrant,
  type NamedGrant,
  type RuleSet,
} from './rule-set.ts';
import { TopicPattern } from './topic-pattern.ts';

/** The topic that MQTT names without an owner share. */
const sharedTopic = 'mqtt';
const rememberedTopicsMax = 256;
/** Longer names are decided each time: what is remembered stays bounded in bytes. */
const rememberedTopicLengthMax = 512;

/** The rules that are in force. */
export interface RuleSource {
  readonly current: RuleSet;
}

/** An MQTT rule with its placeholders filled. */
type FilledGrant = MqttGrant & { readonly pattern: TopicPattern };

interface Grants {
  readonly allows: readonly FilledGrant[];
  readonly denies: readonly FilledGrant[];
  readonly named: readonly NamedGrant[];
  readonly fallback: 'allow' | 'deny';
}

/** Operations that an allow of another one allows, too, as in Kafka. */
const impliedBy: Readonly<Partial<Record<Operation, readonly Operation[]>>> = {
  describe: ['read', 'write', 'delete', 'alter'],
  'describe-configs': ['alter-configs'],
};

/**
 * What one principal may do, by the rules that are in force when it is asked. Decides names and filters
 * once and remembers them (packages/auth/DESIGN.md, "Rules").
 */
export class PrincipalAccess {
  readonly #source: RuleSource;
  #principal: Principal;
  #rules: RuleSet | undefined;
  #grants: Grants | undefined;
  #publishBits: Map<string, number> | undefined;
  #version = 0;

  constructor(source: RuleSource, principal: Principal) {
    this.#source = source;
    this.#principal = principal;
  }

  get principal(): Principal {
    return this.#principal;
  }

  /** Grows when what was decided is to be asked again. */
  get version(): number {
    this.#current();
    return this.#version;
  }

  /** The same client, with what its user is now. */
  replacePrincipal(principal: Principal): void {
    this.#principal = principal;
    this.#rules = undefined;
  }

  /** Which publishes to a topic are allowed: bit `qos * 2 + retain`. */
  publishBits(topic: string): number {
    const grants = this.#current();
    if (grants === undefined) return everyPublish;
    const known = this.#publishBits?.get(topic);
    if (known !== undefined) return known;
    const bits = publishBitsOf(grants, topic);
    if (topic.length > rememberedTopicLengthMax) return bits;
    this.#publishBits ??= new Map();
    if (this.#publishBits.size >= rememberedTopicsMax) this.#publishBits.clear();
    this.#publishBits.set(topic, bits);
    return bits;
  }

  mayPublish(topic: string, qos: 0 | 1 | 2, retain: boolean): boolean {
    return isPublishAllowed(this.publishBits(topic), qos, retain);
  }

  /** Whether SUBSCRIBE is answered with yes. `filter` without `$share/{group}/`. */
  maySubscribe(filter: string, qos: 0 | 1 | 2): boolean {
    const grants = this.#current();
    if (grants === undefined) return true;
    const bit = 1 << qos;
    const isDenied = grants.denies.some(
      ({ subscribeBits, pattern }) => (subscribeBits & bit) !== 0 && pattern.covers(filter),
    );
    return !isDenied && isCovered(grants, filter, bit);
  }

  /**
   * `whole`: whatever matches the filter may be delivered. `by-name`: ask {@link mayReceive} for each
   * name.
   */
  coverage(filter: string, qos: 0 | 1 | 2): 'whole' | 'by-name' {
    const grants = this.#current();
    return grants === undefined || isWhole(grants, filter, 1 << qos) ? 'whole' : 'by-name';
  }

  /** Whether a name may be delivered for a subscription to `filter`. */
  mayReceive(name: string, filter: string, qos: 0 | 1 | 2): boolean {
    const grants = this.#current();
    if (grants === undefined) return true;
    const bit = 1 << qos;
    const isDenied = grants.denies.some(
      ({ subscribeBits, pattern }) => (subscribeBits & bit) !== 0 && pattern.matches(name),
    );
    if (isDenied) return false;
    return (
      grants.allows.some(
        ({ subscribeBits, pattern }) =>
          (subscribeBits & bit) !== 0 && (pattern.matches(name) || pattern.covers(filter)),
      ) || grants.fallback === 'allow'
    );
  }

  /** The door of the other protocols. */
  authorize(operation: Operation, resource: Resource): boolean {
    const grants = this.#current();
    if (grants === undefined) return true;
    if (!isNamedAllowed(grants, operation, resource)) return false;
    if (resource.kind !== 'topic' || resource.name !== sharedTopic) return true;
    if (operation === 'read') return isWhole(grants, '#', everyQos);
    if (operation === 'write') return isWholePublish(grants);
    return true;
  }

  /** Undefined: everything is allowed. */
  #current(): Grants | undefined {
    const rules = this.#source.current;
    if (this.#rules !== rules) {
      this.#rules = rules;
      this.#version++;
      this.#publishBits = undefined;
      this.#grants = this.#gather(rules);
    }
    return this.#grants;
  }

  #gather(rules: RuleSet): Grants | undefined {
    const { identity } = this.#principal;
    if (identity?.superuser === true) return undefined;
    const own = (identity?.rules ?? []).map((rule) => new CompiledRule(rule));
    const fallback = identity?.whitelist === true ? 'deny' : rules.fallback;
    const all = [...rules.rulesOf(this.#principal), ...own];
    if (all.length === 0 && fallback === 'allow') return undefined;
    const mqtt = all.flatMap((rule) => rule.mqtt.flatMap((grant) => this.#fill(grant)));
    return {
      allows: mqtt.filter(({ deny }) => !deny),
      denies: mqtt.filter(({ deny }) => deny),
      named: all.flatMap((rule) => rule.named),
      fallback,
    };
  }

  #fill(grant: MqttGrant): FilledGrant[] {
    const { pattern, filter, exact } = grant;
    if (pattern !== undefined) return [{ ...grant, pattern }];
    const filled = fillPlaceholders(filter, this.#principal);
    return filled === undefined ? [] : [{ ...grant, pattern: new TopicPattern(filled, exact) }];
  }
}

/** Whether the bits of {@link PrincipalAccess.publishBits} allow a publish. */
export function isPublishAllowed(bits: number, qos: 0 | 1 | 2, retain: boolean): boolean {
  return (bits & (1 << (qos * 2 + (retain ? 1 : 0)))) !== 0;
}

function publishBitsOf({ allows, denies, fallback }: Grants, topic: string): number {
  let bits = fallback === 'allow' ? everyPublish : 0;
  for (const { pattern, publishBits } of allows) {
    if ((bits | publishBits) !== bits && pattern.matches(topic)) bits |= publishBits;
  }
  for (const { pattern, publishBits } of denies) {
    if ((bits & publishBits) !== 0 && pattern.matches(topic)) bits &= ~publishBits;
  }
  return bits;
}

/** Whether one allow covers the filter, for all of `bits`. */
function isCovered({ allows, fallback }: Grants, filter: string, bits: number): boolean {
  if (fallback === 'allow') return true;
  return allows.some(
    ({ subscribeBits, pattern }) => (subscribeBits & bits) === bits && pattern.covers(filter),
  );
}

function isWhole(grants: Grants, filter: string, bits: number): boolean {
  if (!isCovered(grants, filter, bits)) return false;
  return !grants.denies.some(
    ({ subscribeBits, pattern }) => (subscribeBits & bits) !== 0 && pattern.overlaps(filter),
  );
}

/** Whether everything may be published everywhere. */
function isWholePublish({ allows, denies, fallback }: Grants): boolean {
  if (denies.some(({ publishBits }) => publishBits !== 0)) return false;
  if (fallback === 'allow') return true;
  return allows.some(
    ({ publishBits, pattern }) => publishBits === everyPublish && pattern.covers('#'),
  );
}

function isNamedAllowed(grants: Grants, operation: Operation, resource: Resource): boolean {
  const fitting = grants.named.filter((grant) => isAbout(grant, resource));
  if (fitting.some(({ deny, operations }) => deny && operations.has(operation))) return false;
  if (grants.fallback === 'allow') return true;
  const enough = [operation, ...(impliedBy[operation] ?? [])];
  return fitting.some(({ deny, operations }) => !deny && enough.some((one) => operations.has(one)));
}

function isAbout({ pattern }: NamedGrant, resource: Resource): boolean {
  if (pattern.kind === 'cluster' || resource.kind === 'cluster') {
    return pattern.kind === resource.kind;
  }
  if (pattern.kind !== resource.kind) return false;
  if (pattern.prefixed) return resource.name.startsWith(pattern.name);
  return pattern.name === '*' || pattern.name === resource.name;
}
