import { setFlagsFromString } from 'node:v8';
import { runInThisContext } from 'node:vm';

/**
 * Turns of the event loop as part of the virtual world. What the code under test schedules with
 * `setImmediate` is taken here, so that an event is over when nothing is left, and not a moment later.
 */
const realSetImmediate = globalThis.setImmediate;
let turns: (() => void)[] = [];

/** From now on every `setImmediate` of this process belongs to the simulation. */
export function takeTurns(): void {
  const take = (work: (...args: unknown[]) => void, ...args: unknown[]): object => {
    turns.push(args.length === 0 ? work : (): void => work(...args));
    return {};
  };
  globalThis.setImmediate = take as typeof setImmediate;
  AbortSignal.any = anyOf;
}

/** Node.js keeps each joint signal that somebody listens to until it is aborted, and with it a dead world. */
function anyOf(signals: Iterable<AbortSignal>): AbortSignal {
  const joint = new AbortController();
  for (const signal of signals) {
    const abort = (): void => joint.abort(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  }
  return joint.signal;
}

/**
 * Until no microtask and no turn is left. Only within {@link onLoop}: microtasks do not nest. Throws what a
 * turn throws, which would end its process: what was to follow in this turn is dropped.
 */
export function settleTurn(): void {
  runMicrotasks();
  while (turns.length > 0) {
    const now = turns;
    turns = [];
    try {
      for (const turn of now) {
        turn();
        runMicrotasks();
      }
    } catch (thrown) {
      turns = [];
      throw thrown;
    }
  }
}

/** Runs `work` as a turn of the real event loop, which then reports rejections that nobody handles. */
export function onLoop<T>(work: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    realSetImmediate(() => {
      try {
        resolve(work());
      } catch (thrown) {
        reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
      }
    });
  });
}

const runMicrotasks = microtaskCheckpoint();

/** V8's own: a tick of the event loop for each event costs several times as much. */
function microtaskCheckpoint(): () => void {
  setFlagsFromString('--allow-natives-syntax');
  const checkpoint = runInThisContext('(() => { %PerformMicrotaskCheckpoint(); })') as () => void;
  setFlagsFromString('--no-allow-natives-syntax');
  return checkpoint;
}
