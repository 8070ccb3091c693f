/** Calls whose messages point to memory of their sender, which may use it again. */
const carryBytes = new Set([
  'Append',
  'Read',
  'Tail',
  'Replicate',
  'Fetch',
  'ExportProducers',
  'Activate',
  'Recover',
  'StoreCatalog',
  'ReadCatalog',
]);
/** What a message that is handed over counts in a window. */
const nominalBytes = 256;

/** A message under way. */
export interface Letter<Message> {
  readonly bytes: number;
  /** May be read twice. */
  read(): Message;
}

/**
 * Messages with records are written as bytes, and read on arrival. All others are handed over as they are,
 * as within one process of the product: nobody changes a message.
 */
export function write<Message>(
  path: string,
  message: Message,
  serialize: (message: Message) => Buffer,
  deserialize: (bytes: Buffer) => Message,
): Letter<Message> {
  if (!carryBytes.has(path.slice(path.lastIndexOf('/') + 1))) {
    return { bytes: nominalBytes, read: () => message };
  }
  const bytes = serialize(message);
  return { bytes: bytes.length, read: () => deserialize(bytes) };
}
