import { WireReader } from './wire-reader.ts';
import { WireWriter } from './wire-writer.ts';

/** The three functions that a hand-written message consists of. */
export interface MessageFields<Message> {
  /** Bytes that {@link write} writes. */
  readonly size: (message: Message) => number;
  /** Writes the fields in the order of their numbers. */
  readonly write: (writer: WireWriter, message: Message) => void;
  /** Reads fields until there are no more; those that are absent have their defaults. */
  readonly read: (reader: WireReader) => Message;
}

/** Bytes ⇔ message, as a method wants it. */
export interface MessageCodec<Message> {
  /** One allocation of the exact size; `bytes` fields are copied once. */
  readonly serialize: (message: Message) => Buffer;
  /** `bytes` fields are views on `bytes`. Throws INVALID_ARGUMENT. */
  readonly deserialize: (bytes: Buffer) => Message;
}

export function messageCodec<Message>(fields: MessageFields<Message>): MessageCodec<Message> {
  return {
    serialize(message) {
      const writer = new WireWriter(fields.size(message));
      fields.write(writer, message);
      return writer.finish();
    },
    deserialize: (bytes) => fields.read(new WireReader(bytes)),
  };
}

export const noBytes: Buffer = Buffer.alloc(0);
