import { type Fault, type FaultKind, nothingMissing, type Scene } from './fault.ts';

const downMsMax = 4_000;
const stoppedMsMax = 8_000;

/** SIGKILL; started again after a while. */
function killed(scene: Scene, kind: string, victims: readonly string[]): Fault {
  const { chaos, random } = scene;
  const holdMs = 500 + random.below(downMsMax);
  return {
    kind,
    what: `SIGKILL ${victims.join(', ')} for ${holdMs} ms`,
    counts: { sigkill: victims.length },
    victims,
    holdMs,
    begin: () => chaos.kill(victims),
    end: () => chaos.restart(victims),
  };
}

/** SIGSTOP, SIGCONT. */
function stopped(scene: Scene, kind: string, victim: string): Fault {
  const { chaos, random } = scene;
  const holdMs = 1_000 + random.below(stoppedMsMax);
  return {
    kind,
    what: `SIGSTOP ${victim} for ${holdMs} ms`,
    counts: { sigstop: 1 },
    victims: [victim],
    holdMs,
    begin: async () => chaos.signal([victim], 'SIGSTOP'),
    end: async () => chaos.signal([victim], 'SIGCONT'),
  };
}

function several({ chaos, random }: Scene): string[] {
  const { names } = chaos;
  const count = 2 + random.below(names.length - 1);
  const victims = new Set<string>();
  while (victims.size < count) victims.add(random.pick(names));
  return [...victims];
}

/** Each is killed as soon as every shard goes on after the one before, and comes back once they go on without it. */
function oneAfterTheOther({ chaos, random, progress }: Scene): Fault {
  const { names } = chaos;
  const victims = Array.from({ length: 4 + random.below(3) }, () => {
    return random.below(2) === 0 ? random.pick(chaos.journals) : random.pick(names);
  });
  return {
    kind: 'one after the other killed',
    what: `SIGKILL ${victims.join(', then ')}`,
    counts: { sigkill: victims.length },
    victims: names,
    holdMs: 0,
    begin: async () => {
      for (const victim of victims) {
        await chaos.kill([victim]);
        // Nothing fails over without placement.
        if (victim !== 'placement') await progress();
        await chaos.restart([victim]);
        await progress();
      }
    },
    end: async () => {},
  };
}

function rollingRestart({ chaos, log }: Scene): Fault {
  const victims = [...chaos.journals];
  return {
    kind: 'rolling restart',
    what: 'SIGTERM to one journal after the other',
    counts: { rollingRestart: 1 },
    victims,
    holdMs: 0,
    begin: async () => {
      for (const name of victims) {
        const code = await chaos.cluster.role(name).stop();
        if (code !== 0) log(`${name} ended with ${code} after SIGTERM`);
        await chaos.restart([name]);
      }
    },
    end: async () => {},
  };
}

const missing = nothingMissing;

export const processFaults: readonly FaultKind[] = [
  {
    name: 'SIGKILL of a journal',
    weight: 10,
    missing,
    draw: (scene) => killed(scene, 'journal killed', [scene.random.pick(scene.chaos.journals)]),
  },
  {
    name: 'SIGKILL of placement',
    weight: 2,
    missing,
    draw: (scene) => killed(scene, 'placement killed', ['placement']),
  },
  {
    name: 'SIGKILL of a broker',
    weight: 2,
    missing,
    draw: (scene) => killed(scene, 'broker killed', [scene.random.pick(scene.chaos.brokers)]),
  },
  {
    name: 'SIGKILL of several roles',
    weight: 3,
    missing,
    draw: (scene) => killed(scene, 'several killed', several(scene)),
  },
  {
    name: 'SIGKILL of one after the other',
    weight: 2,
    missing,
    draw: oneAfterTheOther,
  },
  {
    name: 'SIGSTOP of a journal',
    weight: 5,
    missing,
    draw: (scene) => stopped(scene, 'journal stopped', scene.random.pick(scene.chaos.journals)),
  },
  {
    name: 'SIGSTOP of placement',
    weight: 1,
    missing,
    draw: (scene) => stopped(scene, 'placement stopped', 'placement'),
  },
  {
    name: 'SIGSTOP of a broker',
    weight: 1,
    missing,
    draw: (scene) => stopped(scene, 'broker stopped', scene.random.pick(scene.chaos.brokers)),
  },
  { name: 'rolling restart', weight: 1, missing, draw: rollingRestart },
];
