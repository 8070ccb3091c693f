/** Loaded before everything else: changes one line of one file as it is read. */
import { registerHooks } from 'node:module';
import type { Mutant } from './mutant-list.ts';

const mutant = JSON.parse(process.env['SIMULATE_MUTANT'] ?? '') as Mutant;

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!url.endsWith(`/${mutant.file}`)) return loaded;
    const { source = '' } = loaded;
    const text = typeof source === 'string' ? source : Buffer.from(source as Uint8Array).toString();
    if (text.split(mutant.find).length !== 2) {
      throw new Error(`${mutant.file} has not exactly one line "${mutant.find}"`);
    }
    return { ...loaded, source: text.replace(mutant.find, () => mutant.replace) };
  },
});
