import { journalControlMethods } from '@robustmq/rpc';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Cluster } from '../cluster.fixture.ts';
import type { ReportedSegment } from '../core/rebuild/reported-segment.ts';
import { fenceUnused } from './fence-unused.ts';
import type { SurveyedJournal } from './journal-survey.ts';

describe('a segment that one of three journals was prepared for', () => {
  let cluster: Cluster;
  beforeEach(async () => {
    cluster = await Cluster.start();
  });
  afterEach(() => cluster[Symbol.asyncDispose]());

  /** Losses that are found when only the journals `whole` are started from the disks that a copy names. */
  async function lossesWith(whole: readonly string[]): Promise<number> {
    const { nodeId, address } = await cluster.journal('j1');
    await using client = cluster.transport.connect(address, 'control');
    const clusterId = cluster.placement.clusterId ?? '';
    const authority = { clusterId, placementEpoch: 1, lineage: [] };
    const replicaNodeIds = ['j1', 'j2', 'j3'];
    const manifest = { segmentId: Buffer.alloc(16, 9), shardId: 1, epoch: 1, ackQuorum: 2 };
    const replicas = [{ ...manifest, replicaNodeIds }];
    await client.call(journalControlMethods.prepare, { authority, replicas });
    const report = { nodeId, baseOffset: undefined, length: 0, sealed: false, fencedEpoch: 0 };
    const segment: ReportedSegment = {
      ...manifest,
      replicaNodeIds,
      isAgreed: true,
      reports: [{ ...report, damaged: false, sizeBytes: 0, maxTimestampMs: 0 }],
    };
    const journal: SurveyedJournal = {
      nodeId,
      address,
      client,
      clusterId,
      placementEpoch: 1,
      diskUuid: '',
      kept: undefined,
    };
    const survey = {
      journals: new Map([[nodeId, journal]]),
      isWhole: (id: string): boolean => whole.includes(id),
    };
    return (await fenceUnused(survey, authority, [segment])).findings.length;
  }

  it('may have been opened where two are missing', async () => {
    expect(await lossesWith([])).toBe(1);
  });

  it('is empty where one is missing, also when no copy names the one that is empty', async () => {
    expect(await lossesWith(['j3'])).toBe(0);
  });
});
