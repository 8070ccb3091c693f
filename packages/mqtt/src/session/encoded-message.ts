import { OperatingError } from '@robustmq/core';

/** A protobuf message as ts-proto generates it. */
export interface MessageType<Message> {
  encode(message: Message): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Message;
}

/** The message in a buffer of its own size. */
export function encodeMessage<Message>(type: MessageType<Message>, message: Message): Buffer {
  const bytes = type.encode(message).finish();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Throws INVALID_ARGUMENT for bytes that are no such message. Nothing in it is a view of `bytes`. */
export function decodeMessage<Message>(type: MessageType<Message>, bytes: Buffer): Message {
  try {
    return type.decode(bytes);
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new OperatingError('INVALID_ARGUMENT', `${bytes.length} bytes cannot be read: ${reason}`);
  }
}

/** A copy that shares its memory with nothing, for what stays. */
export function ownBytes(bytes: Uint8Array): Buffer {
  const own = Buffer.allocUnsafeSlow(bytes.length);
  own.set(bytes);
  return own;
}
