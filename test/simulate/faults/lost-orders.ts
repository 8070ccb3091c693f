import type { SimCluster } from '../cluster/sim-cluster.ts';

/** What placement orders, and what journals ask of it. */
const orders = ['SealNotify', 'Fence', 'Prepare', 'Activate', 'Recover', 'Delete', 'StoreCatalog'];

/** For a while no order of one kind arrives at some journals, or at any, while segments end. */
export function lostOrders(cluster: SimCluster, forMs: number): void {
  const { world, network, journals } = cluster;
  const order = world.chance(0.5) ? 'SealNotify' : world.pick(orders);
  if (order === undefined) return;
  const isAll = world.chance(0.5);
  const names = journals.flatMap(({ name }) => (isAll || world.chance(0.5) ? name : []));
  network.losing(order, names);
  world.note(`${order} is lost on its way to ${names.join(' ')}`);
  cluster.sealAll();
  cluster.later(world.between(0.1, 1) * forMs, () => network.arriving(order, names));
}
