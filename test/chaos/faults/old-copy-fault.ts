import { cpSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

import { type Fault, type FaultKind, nothingMissing, type Scene } from './fault.ts';

/** Between the copy and its return, and how long the copy runs. */
const laterMs = 3_000;
const copyRunsMs = 4_000;

/**
 * Placement's folder is copied while it does not run; later the copy takes its place for a while. Whoever
 * knows better has to refuse it: nothing may be lost. In the end the folder itself is back.
 */
function oldCopy({ chaos, log }: Scene): Fault {
  const victim = 'placement';
  const { root, undo, shadow } = chaos.disks.folders(victim);
  const [copy, aside] = [`${root}.copy`, `${root}.aside`];
  /** The shim's notes are about files that have gone. */
  const forgetUndo = (): void => {
    for (const folder of [undo, shadow]) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
    }
  };
  return {
    kind: 'old copy of placement',
    what: `placement runs on an old copy of its store for ${copyRunsMs} ms`,
    counts: { oldPlacement: 1, sigkill: 3 },
    victims: [victim],
    holdMs: 0,
    begin: async () => {
      await chaos.kill([victim]);
      cpSync(root, copy, { recursive: true });
      await chaos.restart([victim]);
      await delay(laterMs);
      await chaos.kill([victim]);
      renameSync(root, aside);
      renameSync(copy, root);
      forgetUndo();
      try {
        await chaos.restart([victim]);
        await delay(copyRunsMs);
        const role = chaos.cluster.role(victim);
        const last = role.log.findLast((line) => line.includes('"level":50')) ?? '';
        log(`  the copy ${role.running ? 'runs' : 'has ended'}; its last error: ${last}`);
      } catch (thrown) {
        log(`  the copy did not start: ${String(thrown).split('\n').at(-1)}`);
      }
      await chaos.kill([victim]);
      rmSync(root, { recursive: true });
      renameSync(aside, root);
      forgetUndo();
    },
    end: () => chaos.restart([victim]),
  };
}

export const oldCopyFault: FaultKind = {
  name: 'old copy of placement',
  weight: 1,
  missing: nothingMissing,
  draw: oldCopy,
};
