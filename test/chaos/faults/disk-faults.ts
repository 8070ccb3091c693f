import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import type { SeededRandom } from '../kill/seeded-random.ts';
import { within } from '../within.ts';
import type { Fault, FaultKind, Scene } from './fault.ts';

const failsWithinMs = 30_000;
/** Half of what a journal keeps in reserve. */
const halfReserveBytes = 8 * 1024 * 1024;

/** SIGKILL, what was not synced is undone, and a new start. */
function powerLost(scene: Scene, kind: string, victims: readonly string[]): Fault {
  const { chaos, random, log } = scene;
  const holdMs = random.below(3_000);
  const loss = random.below(2) === 0 ? 'everything' : 'sectors';
  const own = random.fork();
  return {
    kind,
    what: `power lost (${loss}) at ${victims.join(', ')} for ${holdMs} ms`,
    counts: { powerLoss: 1 },
    victims,
    holdMs,
    begin: async () => {
      await chaos.kill(victims);
      log(`  ${chaos.losePower(victims, own, loss)}`);
    },
    end: () => chaos.restart(victims),
  };
}

function slowSyncs({ chaos, random }: Scene): Fault {
  const victim = random.pick(chaos.journals);
  const ms = [20, 200, 3_000][random.below(3)] ?? 20;
  const holdMs = 1_000 + random.below(6_000);
  return {
    kind: `syncs of ${ms} ms`,
    what: `each sync of ${victim} takes ${ms} ms longer, for ${holdMs} ms`,
    counts: { slowSync: 1 },
    victims: [victim],
    holdMs,
    begin: async () => chaos.disks.setSync(victim, ms),
    end: async () => chaos.disks.setSync(victim, 0),
  };
}

/** The role has to end by itself; what it could not sync is lost, or not. */
function failedSync({ chaos, random, log }: Scene): Fault {
  const victim = random.below(5) === 0 ? 'placement' : random.pick(chaos.journals);
  const loses = random.below(2) === 0;
  const own = random.fork();
  return {
    kind: victim === 'placement' ? 'placement: a sync fails' : 'a sync fails',
    what: `a sync of ${victim} fails${loses ? ', and what was not synced is lost' : ''}`,
    counts: { failedSync: 1 },
    victims: [victim],
    holdMs: 0,
    begin: async () => {
      chaos.disks.setSync(victim, 'fail');
      const role = chaos.cluster.role(victim);
      // Placement may have nothing to store for long.
      if (victim === 'placement') await chaos.kill([victim]);
      else await within(failsWithinMs, `the end of ${victim} after a failed sync`, role.exited());
      if (loses) log(`  ${chaos.losePower([victim], own, 'sectors')}`);
      chaos.disks.setSync(victim, 0);
    },
    end: () => chaos.restart([victim]),
  };
}

function fullDisk({ chaos, random }: Scene): Fault {
  const victims = random.below(4) === 0 ? [...chaos.journals] : [random.pick(chaos.journals)];
  const freeBytes = random.below(2) === 0 ? 0 : halfReserveBytes;
  const holdMs = 1_000 + random.below(5_000);
  return {
    kind: 'full disk',
    what: `${freeBytes} bytes free at ${victims.join(', ')} for ${holdMs} ms`,
    counts: { fullDisk: 1 },
    victims,
    holdMs,
    begin: async () => {
      for (const victim of victims) chaos.disks.fill(victim, freeBytes);
    },
    end: async () => {
      for (const victim of victims) chaos.disks.empty(victim);
      // A role may end of it: a checkpoint or a catalog that cannot be written is not lost.
      await chaos.restart(victims);
    },
  };
}

/**
 * Damage in the files of a journal that is stopped. After a kill the end of the log is spared: damage in
 * the last block cannot be told from a torn write (docs/journal.md, amendment 8).
 */
function corruption({ chaos, random, corruptible: victim, log }: Scene): Fault {
  const clean = random.below(2) === 0;
  const own = random.fork();
  const counts: Fault['counts'] = clean ? {} : { sigkill: 1 };
  return {
    kind: 'files damaged',
    what: `files of ${victim} damaged after ${clean ? 'SIGTERM' : 'SIGKILL'}`,
    counts,
    victims: [victim],
    holdMs: 0,
    begin: async () => {
      if (clean) await chaos.cluster.role(victim).stop();
      else await chaos.kill([victim]);
      const { root } = chaos.disks.folders(victim);
      for (let count = 1 + own.below(3); count > 0; count--) {
        const done = damage(root, clean, own);
        log(`  ${done ?? 'there is nothing to damage'}`);
        if (done !== undefined) counts.corruption = 1;
      }
    },
    end: () => chaos.restart([victim]),
  };
}

/** Flips a bit of a file, or cuts it; says which. */
function damage(root: string, withLog: boolean, random: SeededRandom): string | undefined {
  const folders = withLog ? ['seg', 'wal'] : ['seg'];
  const files = folders.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.endsWith('.new'))
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => statSync(path).size > 0),
  );
  if (files.length === 0) return undefined;
  const path = random.pick(files);
  const { size } = statSync(path);
  const name = path.slice(root.length + 1);
  const at = random.below(size);
  if (random.below(3) === 0) {
    truncateSync(path, at);
    return `${name} cut from ${size} to ${at} bytes`;
  }
  const bytes = readFileSync(path);
  const bit = random.below(8);
  bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << bit), at);
  writeFileSync(path, bytes);
  return `bit ${bit} of byte ${at} of ${name} (${size} bytes) flipped`;
}

const needsShim: FaultKind['missing'] = ({ missing }) => missing.shim;

export const diskFaults: readonly FaultKind[] = [
  {
    name: 'power lost at one',
    weight: 3,
    missing: needsShim,
    draw: (scene) => {
      const stateful = ['placement', ...scene.chaos.journals];
      return powerLost(scene, 'power lost at one', [scene.random.pick(stateful)]);
    },
  },
  {
    name: 'power lost at all',
    weight: 2,
    missing: needsShim,
    draw: (scene) => powerLost(scene, 'power lost at all', scene.chaos.names),
  },
  { name: 'slow syncs', weight: 2, missing: needsShim, draw: slowSyncs },
  { name: 'a failed sync', weight: 2, missing: needsShim, draw: failedSync },
  {
    name: 'full disk',
    weight: 2,
    missing: ({ missing }) => missing.smallDisks,
    draw: fullDisk,
  },
  {
    name: 'damaged files',
    weight: 2,
    missing: () => undefined,
    draw: corruption,
  },
];
