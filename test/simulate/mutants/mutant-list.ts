/** A change of one line of the shipped code that breaks one of its rules. */
export interface Mutant {
  readonly name: string;
  /** From the repository's root. */
  readonly file: string;
  /** Stands once in the file. */
  readonly find: string;
  readonly replace: string;
}

const core = 'packages/journal-server/src/core';
const node = 'packages/journal-server/src/node';
const storage = 'packages/journal-server/src/storage';
const placement = 'packages/placement/src';

/** Those of the model, and what else would lose, repeat or mix up records. */
export const mutants: readonly Mutant[] = [
  {
    name: 'a new leader starts without the producers',
    file: `${node}/activate-order.ts`,
    find: 'if (order.previousSegmentId.length === 0) {',
    replace: 'if (order.previousSegmentId.length >= 0) {',
  },
  {
    name: 'the end is the shortest log',
    file: `${placement}/core/seal-decision.ts`,
    find: 'const length = Math.max(...usable.map((reply) => reply.length));',
    replace: 'const length = Math.min(...usable.map((reply) => reply.length));',
  },
  {
    name: 'one reply less is enough to seal',
    file: `${placement}/core/seal-decision.ts`,
    find: 'const needed = quorum.replicas - quorum.ackQuorum + 1;',
    replace: 'const needed = Math.max(1, quorum.replicas - quorum.ackQuorum);',
  },
  {
    name: 'a replica that has lost its segment answers that it is empty',
    file: `${placement}/controller/sealer.ts`,
    find: "    : { kind: 'unusable', nodeId };",
    replace:
      "    : { kind: 'usable', nodeId, length: 0, chain: 0, sizeBytes: 0, maxTimestampMs: 0 };",
  },
  {
    name: 'a damaged replica counts as intact',
    file: `${node}/fence-order.ts`,
    find: 'status: stored.damaged ? damaged(stored.manifest.segmentId) : okStatus,',
    replace: 'status: okStatus,',
  },
  {
    name: 'a seal without copies',
    file: `${placement}/core/seal-decision.ts`,
    find: 'if (full.length < wanted && length > 0) {',
    replace: 'if (full.length < 1) {',
  },
  {
    name: 'the commit passes over replicas without progress',
    file: `${core}/commit.ts`,
    find: 'const descending = durableLengths.toSorted((left, right) => right - left);',
    replace:
      'const descending = durableLengths.filter((length) => length > 0).toSorted((left, right) => right - left); if (descending.length > 0) return descending[Math.min(ackQuorum, descending.length) - 1] ?? 0;',
  },
  {
    name: 'one durable copy less commits',
    file: `${core}/commit.ts`,
    find: 'return descending[ackQuorum - 1] ?? 0;',
    replace: 'return descending[Math.max(0, ackQuorum - 2)] ?? 0;',
  },
  {
    name: 'a follower confirms what is not durable',
    file: `${node}/replicate-stream.ts`,
    find: 'durableLength: isFenced ? 0 : Math.min(stored.durableLength, state.length),',
    replace: 'durableLength: isFenced ? 0 : state.length,',
  },
  {
    name: 'a follower ignores a fence',
    file: `${core}/follower-step.ts`,
    find: 'if (fencedEpoch > identity.epoch || event.epoch !== identity.epoch) {',
    replace: 'if (event.epoch !== identity.epoch) {',
  },
  {
    name: 'a leader ignores its fence',
    file: `${core}/replica-step.ts`,
    find: "assert(epoch >= state.fencedEpoch, 'a fence never goes down (I11)');",
    replace: "if (state.role === 'leader') return;",
  },
  {
    name: 'a fence is not written to the log',
    file: `${storage}/file-storage.ts`,
    find: 'this.#writer.control(recordType.fence, named, fencePayload(epoch, named.length));',
    replace: 'void fencePayload(epoch, named.length);',
  },
  {
    name: 'the answer to a fence does not wait for the sync',
    file: `${node}/fence-order.ts`,
    find: 'await port.storage.fence(items);',
    replace: 'void port.storage.fence(items);',
  },
  {
    name: 'a group counts as durable before its sync',
    file: `${storage}/wal/wal-writer.ts`,
    find: 'if (error === undefined) this.#sync(group, bytes);',
    replace:
      'if (error === undefined) { current.position += bytes; current.firstLsn ??= group.lsn; current.lastLsn = group.lsn; this.#complete(group); }',
  },
  {
    name: 'a torn block is taken',
    file: `${storage}/wal/wal-scan.ts`,
    find: 'if (end > window.buffer.length || crc32c(window.buffer, start, end) !== header.bodyCrc) {',
    replace: 'if (end > window.buffer.length) {',
  },
  {
    name: 'the last block is not written again at the start',
    file: `${storage}/recovery.ts`,
    find: 'await writeLastBlockAgain(handle, file);',
    replace: 'await syncFile(handle);',
  },
  {
    name: 'a log file is used again while a checkpoint needs it',
    file: `${storage}/relief.ts`,
    find: 'await files.recycle(checkpointer.neededFrom, filesMax);',
    replace: 'await files.recycle(Number.MAX_SAFE_INTEGER, filesMax);',
  },
  {
    name: 'a segment file is not synced before the log lets go of it',
    file: `${storage}/flusher.ts`,
    find: '      await syncOnce(file);',
    replace: '      void syncOnce;',
  },
  {
    name: 'a checkpoint forgets fences',
    file: `${storage}/checkpoint.ts`,
    find: 'replica.fencedEpoch = fencedEpoch;',
    replace: 'void fencedEpoch;',
  },
  {
    name: 'lost blocks damage nobody',
    file: `${storage}/replay.ts`,
    find: 'this.#suspects.add(replica);',
    replace: '',
  },
  {
    name: 'damage that the start finds is forgotten',
    file: `${storage}/replay.ts`,
    find: '  damage(replica: Replica, reason: string): void {',
    replace: '  damage(replica: Replica, reason: string): void { if (reason.length > 0) return;',
  },
  {
    name: 'readers see what is not committed',
    file: `${node}/frame-reader.ts`,
    find: 'return isReadCommitted ? this.#transactions.limit(replica) : replica.highWatermark;',
    replace: 'return isReadCommitted ? this.#transactions.limit(replica) : replica.endOffset;',
  },
  {
    name: 'a retry is not recognised',
    file: `${core}/producer-state.ts`,
    find: 'return judgeSequence(facts, entry);',
    replace: 'return APPEND;',
  },
  {
    name: 'a frozen leader goes on',
    file: `${core}/leader-append.ts`,
    find: 'if (leading.isFrozen) {',
    replace: 'if (leading.isFrozen && state.length < 0) {',
  },
  {
    name: 'the next segment begins before the end of the last',
    file: `${placement}/core/chain.ts`,
    find: '    baseOffset: shard.endOffset,\n    endOffset: 0,',
    replace: '    baseOffset: Math.max(0, shard.endOffset - 1),\n    endOffset: 0,',
  },
  {
    name: 'a checkpoint lets go of a log that segment files do not have yet',
    file: `${storage}/checkpointer.ts`,
    find: 'oldestLsn = Math.min(oldestLsn, replica.firstUnsyncedLsn);',
    replace: 'void replica.firstUnsyncedLsn;',
  },
  {
    name: 'seal notices are given once',
    file: `${placement}/controller/seal-notices.ts`,
    find: 'if (outcome === undefined || !notTold.has(outcome.code)) return;',
    replace: 'if (outcome === undefined || notTold.size > 0) return;',
  },
  {
    name: 'the log goes on over its last block',
    file: `${storage}/recovery.ts`,
    find: 'position: Math.max(file.end, FIRST_BLOCK_POSITION),',
    replace: 'position: Math.max(file.lastStart, FIRST_BLOCK_POSITION),',
  },
];
