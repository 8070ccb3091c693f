const fieldBytes = 8;

/**
 * About how many bytes a message would take on the wire: its buffers and strings, and a little for
 * each field. What stays in this process has no encoding to measure.
 */
export function messageWeight(value: unknown): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null) return fieldBytes;
  if (value instanceof Uint8Array) return value.length;
  let weight = fieldBytes;
  if (Array.isArray(value)) {
    for (const item of value) weight += messageWeight(item);
    return weight;
  }
  for (const key in value) weight += messageWeight((value as Record<string, unknown>)[key]);
  return weight;
}
