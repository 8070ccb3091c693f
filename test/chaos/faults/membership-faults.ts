import { setTimeout as delay } from 'node:timers/promises';

import { OperatingError } from '@robustmq/core';

import { type Fault, type FaultKind, nothingMissing, type Scene } from './fault.ts';

const removeWithinMs = 30_000;
const removeEachMs = 500;

function journalAdded({ chaos }: Scene): Fault {
  return {
    kind: 'journal added',
    what: 'one more journal',
    counts: { journalAdded: 1 },
    victims: [],
    holdMs: 2_000,
    begin: async () => {
      await chaos.addJournal();
    },
    end: async () => {},
  };
}

/** It leads and follows nothing new for a while. */
function journalDrained({ chaos, random, placement }: Scene): Fault {
  const victim = random.pick(chaos.journals);
  const holdMs = 1_000 + random.below(5_000);
  return {
    kind: 'journal drained',
    what: `${victim} is drained for ${holdMs} ms and stays`,
    counts: { journalDrained: 1 },
    victims: [victim],
    holdMs,
    begin: () => untilAnswered(() => placement.drainNode(victim)),
    end: () => untilAnswered(() => placement.drainNode(victim, true)),
  };
}

/** Only one that was added: the others are needed. It stays when placement does not let it go. */
function journalRemoved({ chaos, placement, log }: Scene): Fault {
  const victim = chaos.added[0];
  if (victim === undefined) throw new Error('no journal was added');
  const counts: Fault['counts'] = {};
  return {
    kind: 'journal removed',
    what: `${victim} is drained and removed`,
    counts,
    victims: [victim],
    holdMs: 500,
    begin: () => untilAnswered(() => placement.drainNode(victim)),
    end: async () => {
      const refusal = await refusalOf(() => placement.removeNode(victim));
      if (refusal === undefined) {
        counts.journalRemoved = 1;
        await chaos.forget(victim);
        return;
      }
      log(`  ${victim} stays: ${refusal.message}`);
      await untilAnswered(() => placement.drainNode(victim, true));
    },
  };
}

/** An order that an operator repeats: placement may be killed under it by another fault. */
async function untilAnswered(order: () => Promise<void>): Promise<void> {
  const refusal = await refusalOf(order);
  if (refusal !== undefined) throw refusal;
}

/** Tries for a while: what only the journal has is copied first. */
async function refusalOf(remove: () => Promise<void>): Promise<OperatingError | undefined> {
  const deadline = performance.now() + removeWithinMs;
  for (;;) {
    try {
      await remove();
      return undefined;
    } catch (thrown) {
      if (!(thrown instanceof OperatingError)) throw thrown;
      if (performance.now() > deadline) return thrown;
    }
    await delay(removeEachMs);
  }
}

export const membershipFaults: readonly FaultKind[] = [
  {
    name: 'adding a journal',
    weight: 2,
    missing: (chaos) => (chaos.canAddJournal ? undefined : 'no more journals are added'),
    draw: journalAdded,
  },
  { name: 'draining a journal', weight: 1, missing: nothingMissing, draw: journalDrained },
  {
    name: 'removing a journal',
    weight: 2,
    missing: (chaos) => (chaos.added.length > 0 ? undefined : 'none was added'),
    draw: journalRemoved,
  },
];
