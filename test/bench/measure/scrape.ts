/** The samples of a Prometheus endpoint at HOST:PORT, by name, of metrics whose only label is the role. */
export async function scrape(address: string): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(`http://${address}/metrics`);
  if (!response.ok) throw new Error(`http://${address}/metrics answers ${response.status}`);
  const samples = (await response.text()).matchAll(/^(\w+)\{role="\w+"\} (\S+)$/gm);
  return new Map(Array.from(samples, ([, name = '', value]) => [name, Number(value)]));
}
