import {
  assert,
  type Clock,
  delay,
  type Logger,
  OperatingError,
  shardId,
  silentLogger,
} from '@robustmq/core';
import type { JournalClient } from '@robustmq/journal-client';
import type { Catalog, CatalogChange, PlacementClient } from '@robustmq/placement-client';
import {
  type Coordinator as CoordinatorEntry,
  type Node,
  NodeRole,
  NodeState,
} from '@robustmq/rpc';
import { Coordinator, type CoordinatorPhase } from './coordinator.ts';
import { defaultSnapshotPolicy, type SnapshotPolicy } from './snapshot-writer.ts';
import type { Caller, CoordinatorKind, Reply } from './state-machine.ts';

/** What of the catalog the coordinators need. */
export type CoordinatorCatalog = Pick<
  Catalog,
  'coordinator' | 'coordinators' | 'topic' | 'shard' | 'node' | 'onChange'
>;

export interface CoordinatorHostOptions {
  /** This broker. */
  readonly self: Caller;
  readonly catalog: CoordinatorCatalog;
  readonly journal: Pick<JournalClient, 'appendBatch' | 'read' | 'newProducerId'>;
  readonly placement: Pick<PlacementClient, 'resolveShards' | 'trimShards'>;
  readonly clock: Clock;
  readonly logger?: Logger;
  readonly snapshotPolicy?: SnapshotPolicy;
}

/** Something that a coordinator of this broker tells a broker on its own. */
export interface OutgoingNotice {
  readonly kind: string;
  readonly index: number;
  readonly epoch: number;
  readonly payload: Buffer;
}

/** A coordinator of this broker, for operators. */
export interface HostedCoordinator {
  readonly kind: string;
  readonly index: number;
  readonly epoch: number;
  readonly phase: CoordinatorPhase;
}

/** Pause before the same ownership takes over again after an append has failed. */
const restartMs = 100;
/** A broker that shuts down waits so long for its coordinators. */
const drainMs = 5000;

/** Runs the coordinators that the catalog says this broker owns. */
export class CoordinatorHost implements AsyncDisposable {
  readonly #options: CoordinatorHostOptions;
  readonly #logger: Logger;
  readonly #kinds = new Map<string, CoordinatorKind>();
  /** By kind and index. */
  readonly #coordinators = new Map<string, Coordinator>();
  #unwatch: (() => void) | undefined;
  #notify: (nodeId: string, notice: OutgoingNotice) => void = () => {};
  readonly #closed = new AbortController();

  constructor(options: CoordinatorHostOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger();
  }

  /** This broker. */
  get self(): Caller {
    return this.#options.self;
  }

  /** Adds a kind; all of them before {@link CoordinatorHost.start}. */
  register(kind: CoordinatorKind): void {
    assert(!this.#kinds.has(kind.kind), `one state machine for ${kind.kind}`);
    assert(this.#unwatch === undefined, 'kinds are registered before the host starts');
    this.#kinds.set(kind.kind, kind);
  }

  /** What this broker announces to placement. */
  kinds(): { readonly kind: string; readonly shards: number }[] {
    return [...this.#kinds.values()].map(({ kind, shards }) => ({ kind, shards }));
  }

  /** How notices reach a broker; set by whoever carries them. */
  onNotice(notify: (nodeId: string, notice: OutgoingNotice) => void): void {
    this.#notify = notify;
  }

  /** Begins to watch the catalog, which has its first full list. */
  start(): void {
    const { catalog } = this.#options;
    this.#unwatch = catalog.onChange((change) => this.#changed(change));
    for (const kind of this.#kinds.keys()) {
      for (const entry of catalog.coordinators(kind)) this.#follow(entry);
    }
  }

  coordinators(): HostedCoordinator[] {
    return [...this.#coordinators.values()].map(({ identity, phase }) => ({
      kind: identity.kind,
      index: identity.index,
      epoch: identity.epoch,
      phase,
    }));
  }

  /** Carries out a command. An error says why it was not taken: `sink` is not called then. */
  command(
    to: { readonly kind: string; readonly index: number },
    payload: Buffer,
    caller: Caller,
    sink: Reply,
  ): OperatingError | undefined {
    const coordinator = this.#coordinators.get(nameOf(to));
    if (coordinator !== undefined) return coordinator.command(payload, caller, sink);
    const owner = this.#options.catalog.coordinator(to.kind, to.index);
    const isSelf = owner?.ownerNodeId === this.self.nodeId;
    return new OperatingError(
      'NOT_LEADER',
      `broker ${this.self.nodeId} does not run coordinator ${nameOf(to)}; ask its owner`,
      owner === undefined || owner.ownerNodeId === '' || isSelf
        ? {}
        : { nodeId: owner.ownerNodeId },
    );
  }

  /** Takes no commands any more, writes everything out and ends all coordinators. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    this.#unwatch?.();
    const drained = Promise.all([...this.#coordinators.values()].map((each) => each.drain()));
    const timeout = new AbortController();
    await Promise.race([
      drained.then(() => timeout.abort()),
      delay(this.#options.clock, drainMs, timeout.signal).catch(() => {}),
    ]);
    for (const coordinator of this.#coordinators.values()) coordinator.stop();
    this.#coordinators.clear();
  }

  #changed(change: CatalogChange): void {
    if (change.kind === 'coordinator' && change.after !== undefined) this.#follow(change.after);
    if (change.kind === 'node') this.#nodeChanged(change.before, change.after);
  }

  #nodeChanged(before: Node | undefined, after: Node | undefined): void {
    const node = after ?? before;
    if (node?.role !== NodeRole.BROKER) return;
    const gone = goneIncarnation(before, after);
    if (gone === 0) return;
    for (const coordinator of this.#coordinators.values()) coordinator.nodeGone(node.nodeId, gone);
  }

  /** Begins or ends an ownership as the catalog says. */
  #follow(entry: CoordinatorEntry): void {
    const kind = this.#kinds.get(entry.kind);
    if (kind === undefined || this.#closed.signal.aborted) return;
    const current = this.#coordinators.get(nameOf(entry));
    const isOwn =
      entry.ownerNodeId === this.self.nodeId && entry.ownerIncarnation === this.self.incarnation;
    if (isOwn && current?.identity.epoch === entry.epoch) return;
    if (current !== undefined) {
      current.stop(isOwn ? undefined : entry.ownerNodeId);
      this.#coordinators.delete(nameOf(entry));
    }
    if (isOwn) this.#begin(kind, entry);
  }

  #begin(kind: CoordinatorKind, entry: CoordinatorEntry): void {
    const { catalog, journal, placement, clock, snapshotPolicy, self } = this.#options;
    const { index, epoch } = entry;
    const coordinator = new Coordinator({
      kind,
      identity: { kind: entry.kind, index, shardId: shardId(entry.shardId), epoch, self },
      catalog,
      journal,
      placement,
      clock,
      logger: this.#logger,
      snapshotPolicy: snapshotPolicy ?? defaultSnapshotPolicy,
      nodeAlive: (nodeId, incarnation) => this.#nodeAlive(nodeId, incarnation),
      notify: (nodeId, payload) =>
        this.#notify(nodeId, { kind: entry.kind, index, epoch, payload }),
      ended: (error) => void this.#ended(coordinator, error),
    });
    this.#coordinators.set(nameOf(entry), coordinator);
  }

  /** A coordinator has ended by itself: if it is still this broker's it takes over once more. */
  async #ended(coordinator: Coordinator, error: OperatingError): Promise<void> {
    const { kind, index, epoch } = coordinator.identity;
    const fields = { kind, index, epoch, code: error.code };
    this.#logger.warn(fields, `coordinator ended: ${error.message}`);
    // With a higher epoch about the catalog will tell of another owner.
    if (error.code === 'WRITER_FENCED') return;
    const { signal } = this.#closed;
    await coordinator.idle();
    await delay(this.#options.clock, restartMs, signal).catch(() => {});
    const name = nameOf(coordinator.identity);
    if (signal.aborted || this.#coordinators.get(name) !== coordinator) return;
    this.#coordinators.delete(name);
    const entry = this.#options.catalog.coordinator(kind, index);
    if (entry !== undefined) this.#follow(entry);
  }

  /** A catalog that is behind does not know the newest brokers: they are alive. */
  #nodeAlive(nodeId: string, incarnation: number): boolean {
    const node = this.#options.catalog.node(nodeId);
    return node === undefined || goneIncarnation(undefined, node) < incarnation;
  }
}

/** The highest incarnation of a node that is gone; 0 when none is. */
function goneIncarnation(before: Node | undefined, after: Node | undefined): number {
  if (after === undefined) return before?.incarnation ?? 0;
  return after.state === NodeState.DOWN ? after.incarnation : after.incarnation - 1;
}

function nameOf({ kind, index }: { readonly kind: string; readonly index: number }): string {
  return `${kind}/${index}`;
}
