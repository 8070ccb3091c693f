/** What can be done with a resource. Publish and subscribe are MQTT's, the others Kafka's and AMQP's. */
export const operations = [
  'publish',
  'subscribe',
  'read',
  'write',
  'create',
  'delete',
  'alter',
  'describe',
  'alter-configs',
  'describe-configs',
  'cluster-action',
  'idempotent-write',
] as const;

export type Operation = (typeof operations)[number];

/** Resources that have a name. `topic` is what all protocols share, not an MQTT topic name. */
export const namedResources = [
  'topic',
  'consumer-group',
  'transactional-id',
  'queue',
  'exchange',
] as const;

export type NamedResource = (typeof namedResources)[number];

/** What an operation is asked for. */
export type Resource =
  | { readonly kind: NamedResource; readonly name: string }
  | { readonly kind: 'cluster' };

/** What a rule is about. */
export type ResourcePattern =
  | {
      readonly kind: 'mqtt';
      /** A topic filter, perhaps with placeholders. */
      readonly filter: string;
      /** Only this filter or name itself, letter by letter. */
      readonly exact: boolean;
    }
  | {
      readonly kind: NamedResource;
      /** `*` alone, as a whole, is every name. */
      readonly name: string;
      /** Every name that begins so. */
      readonly prefixed: boolean;
    }
  | { readonly kind: 'cluster' };

/** Whom a rule concerns: all that is given has to fit; in a list, one. Nothing given: everybody. */
export interface Who {
  readonly users?: readonly string[] | undefined;
  readonly clientIds?: readonly string[] | undefined;
  readonly groups?: readonly string[] | undefined;
  /** Addresses and CIDRs. */
  readonly addresses?: readonly string[] | undefined;
  /** Only who has no user name, or only who has one. */
  readonly anonymous?: boolean | undefined;
}

export interface AccessRule {
  readonly effect: 'allow' | 'deny';
  readonly who: Who;
  readonly operations: readonly Operation[];
  readonly resources: readonly ResourcePattern[];
  /** Of the publish or subscription; undefined: any. */
  readonly qos?: readonly (0 | 1 | 2)[] | undefined;
  /** Of the publish; undefined: any. */
  readonly retain?: boolean | undefined;
}

/** A rule about MQTT topics that concerns everybody; for members of the chain that bring their own. */
export function ownRule(
  effect: AccessRule['effect'],
  operations: readonly ('publish' | 'subscribe')[],
  filter: string,
  conditions: Pick<AccessRule, 'qos' | 'retain'> = {},
): AccessRule {
  const isExact = filter.startsWith('eq ');
  const text = isExact ? filter.slice(3) : filter;
  return {
    effect,
    who: {},
    operations,
    resources: [{ kind: 'mqtt', filter: text, exact: isExact }],
    ...conditions,
  };
}
