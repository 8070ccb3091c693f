import { setTimeout as delay } from 'node:timers/promises';

import { robustmq } from '../../integration/command.ts';
import type { ChaosCluster } from '../cluster/chaos-cluster.ts';
import { type Fault, type FaultKind, nothingMissing, type Scene } from './fault.ts';
import { PlacementStore } from './placement-store.ts';

const placement = 'placement';
const awayMsMax = 3_000;
const refusedWithinMs = 30_000;
const askEachMs = 100;

/** The folder is lost, and made anew of what the journals have, which all have to answer. */
function rebuilt(scene: Scene): Fault {
  const { chaos, random } = scene;
  const holdMs = random.below(awayMsMax);
  const store = new PlacementStore(chaos);
  return {
    kind: 'placement rebuilt',
    what: `placement's folder is lost for ${holdMs} ms, and rebuilt`,
    counts: { sigkill: 1, placementRebuilt: 1 },
    victims: [placement, ...chaos.journals],
    holdMs,
    begin: async () => {
      await chaos.kill([placement]);
      store.lose();
    },
    end: async () => {
      await rebuild(scene, store);
      await chaos.restart([placement]);
    },
  };
}

/**
 * An old copy of the folder is restored, after segments were opened that it does not know. The journals have to
 * refuse it; in the end the folder itself is back, or is rebuilt.
 */
function oldCopy(scene: Scene): Fault {
  const { chaos, random, progress } = scene;
  const store = new PlacementStore(chaos);
  const isRebuilt = random.below(2) === 0;
  return {
    kind: 'old copy of placement',
    what: `placement runs on an old copy of its folder, which ${isRebuilt ? 'is rebuilt' : 'comes back'} then`,
    counts: { oldPlacement: 1, sigkill: 3, ...(isRebuilt && { placementRebuilt: 1 }) },
    victims: [placement, ...chaos.journals],
    holdMs: 0,
    begin: async () => {
      await chaos.kill([placement]);
      store.backUp();
      await chaos.restart([placement]);
      await openAnother(scene);
      await progress();
      await chaos.kill([placement]);
      store.restore();
      await chaos.restart([placement]);
      await untilRefused(scene);
      await chaos.kill([placement]);
      if (isRebuilt) await rebuild(scene, store);
      else store.takeBack();
      store.tidy();
    },
    end: () => chaos.restart([placement]),
  };
}

/** Ends a shard's segment: its next append opens one that the copy does not know. */
async function openAnother({ chaos, random, violations }: Scene): Promise<void> {
  const shard = `chaos/${random.below(6)}`;
  const address = chaos.cluster.role(placement).address('grpc');
  const flags = ['--placement', address, ...tlsOf(chaos, 'chaos')];
  const { code, stderr } = await robustmq('shard', 'seal', shard, ...flags);
  if (code !== 0) violations.add('failed', `shard seal ${shard}: ${stderr}`);
}

/** Until a journal has told placement that its store is an old copy. */
async function untilRefused({ chaos, violations, log }: Scene): Promise<void> {
  const begin = performance.now();
  const url = `http://${chaos.cluster.role(placement).address('http')}/health/ready`;
  while (performance.now() - begin < refusedWithinMs) {
    const page = await (await fetch(url)).text();
    if (page.includes('old copy')) {
      log(`  refused after ${(performance.now() - begin).toFixed(0)} ms: ${page.trim()}`);
      return;
    }
    await delay(askEachMs);
  }
  violations.add('failed', `an old copy of placement was not refused in ${refusedWithinMs} ms`);
}

/**
 * `robustmq placement rebuild`, which must not miss anything. Where placement was killed while it prepared or
 * deleted segments that it never opened, some of their journals lack them, which is no proof that those are
 * empty: the command refuses, and is told to go on. The history says whether that was right.
 */
async function rebuild({ chaos, random, violations, log }: Scene, store: PlacementStore) {
  const journal = chaos.cluster.role(random.pick(chaos.journals)).address('grpc');
  const flags = ['--journal', journal, '--force', ...tlsOf(chaos, placement)];
  const order = ['placement', 'rebuild', '--data-dir', store.folder, ...flags];
  let done = await robustmq(...order);
  if (done.code !== 0 && isUnsure(done.stderr)) {
    log(`  not sure, told to go on: ${done.stderr.trim()}`);
    done = await robustmq(...order, '--accept-loss', '--yes');
  }
  if (done.code !== 0) {
    const kind = done.stderr.includes('lost:') ? 'lost' : 'failed';
    violations.add(kind, `placement rebuild: ${done.stderr}`);
    throw new Error(`placement rebuild: ${done.stderr}`);
  }
  log(`  rebuilt: ${done.stderr.trim().split('\n').at(-1)}`);
}

/** Whether all that a rebuild says to miss are segments that may have been opened. */
function isUnsure(stderr: string): boolean {
  const reasons = stderr.trim().split('\n').at(-1)?.split('; ') ?? [];
  const harmless = / may have been opened: |^and \d+ more$|^name or start the journals /;
  return !stderr.includes('lost:') && reasons.every((reason) => harmless.test(reason));
}

function tlsOf({ tlsDir }: ChaosCluster, holder: string): string[] {
  return tlsDir === undefined ? [] : ['--cluster-tls-dir', `${tlsDir}/${holder}`];
}

export const placementFaults: readonly FaultKind[] = [
  { name: 'old copy of placement', weight: 1, missing: nothingMissing, draw: oldCopy },
  { name: 'rebuilt placement', weight: 1, missing: nothingMissing, draw: rebuilt },
];
