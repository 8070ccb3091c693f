/**
 * Turns of the event loop as part of the virtual world. What the code under test schedules with
 * `setImmediate` is taken here, so that an event is over when nothing is left, and not a moment later.
 */
const realSetImmediate = globalThis.setImmediate;
const turns: (() => void)[] = [];

/** From now on every `setImmediate` of this process belongs to the simulation. */
export function takeTurns(): void {
  const take = (work: (...args: unknown[]) => void, ...args: unknown[]): object => {
    turns.push(() => work(...args));
    return {};
  };
  globalThis.setImmediate = take as typeof setImmediate;
}

/** Until no microtask and no turn is left. */
export async function settleTurn(): Promise<void> {
  await microtasks();
  while (turns.length > 0) {
    for (const turn of turns.splice(0)) {
      turn();
      await microtasks();
    }
  }
}

/** Lets the real event loop go round once. */
export function yieldToLoop(): Promise<void> {
  return new Promise((resolve) => {
    realSetImmediate(resolve);
  });
}

/** A tick comes when the queue of microtasks is empty. */
function microtasks(): Promise<void> {
  return new Promise((resolve) => {
    process.nextTick(resolve);
  });
}
