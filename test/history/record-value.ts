/** The value of a record tells who wrote it; length and filling follow from that, so that damage shows. */
export function valueOf(writer: string, sequence: number): Buffer {
  const head = `${writer} ${sequence} `;
  const bytes = 40 + ((sequence * 7919) % 2_000);
  return Buffer.from(head.padEnd(bytes, String.fromCodePoint(97 + (sequence % 26))));
}

/** Whose value it is; undefined when no writer can have written it. */
export function parseValue(value: Buffer): { writer: string; sequence: number } | undefined {
  const [writer = '', digits = ''] = value.toString('latin1', 0, 40).split(' ', 2);
  const sequence = Number(digits);
  if (!Number.isSafeInteger(sequence) || !valueOf(writer, sequence).equals(value)) return undefined;
  return { writer, sequence };
}
