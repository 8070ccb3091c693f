import type { Status } from '../generated/robustmq/v1/common.ts';
import type { MessageFields } from './message-codec.ts';
import { statusFields } from './status-codec.ts';
import { messageSize, type WireWriter } from './wire-writer.ts';

/** Bytes of a repeated message field. */
export function listSize<Item>(fields: MessageFields<Item>, items: readonly Item[]): number {
  let size = 0;
  for (const item of items) size += messageSize(fields.size(item));
  return size;
}

/** Writes a repeated message field. */
export function writeList<Item>(
  writer: WireWriter,
  field: number,
  fields: MessageFields<Item>,
  items: readonly Item[],
): void {
  for (const item of items) {
    writer.message(field, fields.size(item));
    fields.write(writer, item);
  }
}

/** Writes a status field when there is a status. */
export function writeStatus(writer: WireWriter, field: number, status: Status | undefined): void {
  if (status === undefined) return;
  writer.message(field, statusFields.size(status));
  statusFields.write(writer, status);
}
