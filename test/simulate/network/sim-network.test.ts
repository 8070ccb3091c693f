import { expect, test } from 'vitest';
import { World } from '../world/world.ts';
import { SimNetwork } from './sim-network.ts';

const latency = { fromMs: 0.1, toMs: 18, slow: 0.5 };
const messages = 10;

/** What a stream sends while its first messages are slow, in the order of arrival. */
async function arrivalsOf(seed: number): Promise<number[]> {
  const world = new World(seed);
  const network = new SimNetwork(world, { latency, lost: 0, twice: 0 });
  const arrived: number[] = [];
  let sent = 0;
  let lastMs = 0;
  for (let at = 0; at < messages; at++) {
    world.schedule(world.between(0.1, 120), 'send', () => {
      const message = sent++;
      lastMs = network.carry('a', 'b', () => arrived.push(message), lastMs);
    });
  }
  await world.run({ ms: 1_000, steps: 1_000 });
  return arrived;
}

test('messages of a stream that arrive at one moment keep their order, whatever is rounded', async () => {
  const inOrder = Array.from({ length: messages }, (_, at) => at);
  for (let seed = 0; seed < 500; seed++) {
    expect(await arrivalsOf(seed), `seed ${seed}`).toEqual(inOrder);
  }
});
