import {
  brokerAdminMethods,
  brokerPeerMethods,
  journalAdminMethods,
  journalBrokerMethods,
  journalControlMethods,
  journalReplicaMethods,
  placementAdminMethods,
  placementNodeMethods,
} from '../methods.ts';
import type { TierRole } from './peer-identity.ts';

/** Who serves a method, and whom. */
export interface AccessRule {
  readonly servedBy: TierRole;
  readonly callers: readonly TierRole[];
}

/** By the method's path. What is not in it is refused. */
export type AccessRules = ReadonlyMap<string, AccessRule>;

type Methods = Readonly<Record<string, { readonly path: string }>>;

/** One row for each method of a service: a missing one does not compile. */
function service<Service extends Methods>(
  servedBy: TierRole,
  methods: Service,
  callers: { readonly [Name in keyof Service]: readonly TierRole[] },
): [string, AccessRule][] {
  return Object.entries(methods).map(([name, { path }]) => [
    path,
    { servedBy, callers: callers[name] ?? [] },
  ]);
}

const nodes = ['journal', 'broker'] as const;
const administration = ['operator', 'broker'] as const;
const clients = ['broker', 'operator'] as const;

/** The one place that says which role may call what (docs/design.md, section 11). */
export const accessRules: AccessRules = new Map([
  ...service('placement', placementNodeMethods, {
    heartbeat: nodes,
    watch: nodes,
    openSegments: ['broker'],
    resolveShards: nodes,
    // Commands show whole chains.
    listSegments: [...nodes, 'operator'],
    prepareRolls: ['journal'],
    rollSegments: ['journal'],
    reportUnreachable: nodes,
    allocateProducerIds: ['broker'],
    trimShards: ['broker'],
    holdShards: ['broker'],
  }),
  // Brokers, too: clients administer through the protocols that they speak.
  ...service('placement', placementAdminMethods, {
    createTopics: administration,
    deleteTopics: administration,
    alterTopic: administration,
    describeCluster: administration,
    // May give up records: nobody but a person orders it.
    sealShard: ['operator'],
    drainNode: ['operator'],
    removeNode: ['operator'],
  }),
  ...service('journal', journalBrokerMethods, {
    append: clients,
    read: clients,
    tail: clients,
    listOffsets: clients,
  }),
  ...service('journal', journalControlMethods, {
    prepare: ['placement'],
    activate: ['placement'],
    fence: ['placement'],
    recover: ['placement'],
    sealNotify: ['placement'],
    delete: ['placement'],
    inventory: ['placement'],
    storeCatalog: ['placement'],
    readCatalog: ['placement'],
    probe: ['placement'],
  }),
  ...service('journal', journalReplicaMethods, {
    replicate: ['journal'],
    fetch: ['journal'],
    exportProducers: ['journal'],
  }),
  ...service('journal', journalAdminMethods, {
    describeReplicas: ['operator'],
    scrub: ['operator'],
  }),
  ...service('broker', brokerPeerMethods, {
    coordinate: ['broker'],
    probe: ['placement', 'broker'],
  }),
  ...service('broker', brokerAdminMethods, {
    listClients: ['operator'],
    kickClient: ['operator'],
    listSubscriptions: ['operator'],
    listSlowClients: ['operator'],
    trace: ['operator'],
    listRetained: ['operator'],
    clearRetained: ['operator'],
  }),
]);
