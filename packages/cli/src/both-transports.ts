import type { Transport } from '@robustmq/rpc';

/**
 * Calls go through `inner`; a listener takes calls from both, under the address that `outer` gave.
 * So that what runs in one process needs no sockets, and tools outside reach it all the same.
 */
export function bothTransports(inner: Transport, outer: Transport): Transport {
  return {
    connect: (address, kind) => inner.connect(address, kind),
    async listen(address, register) {
      const outside = await outer.listen(address, register);
      const inside = await inner.listen(outside.address, register);
      return {
        address: outside.address,
        async [Symbol.asyncDispose]() {
          await Promise.all([inside[Symbol.asyncDispose](), outside[Symbol.asyncDispose]()]);
        },
      };
    },
  };
}
