import { OperatingError, toOperatingError } from '@robustmq/core';
import { checkMessageSize } from '../message-size.ts';

/** What grpc-js is given as serializer and deserializer: messages reach it as bytes. */
export const raw = (bytes: Buffer): Buffer => bytes;

/**
 * Serializes for the method at `path` at once, so that nobody needs the message's buffers any more.
 * Throws BATCH_TOO_LARGE.
 */
export function serialize<Message>(
  path: string,
  serializer: (message: Message) => Buffer,
  message: Message,
): Buffer {
  const bytes = serializer(message);
  checkMessageSize(path, bytes.length);
  return bytes;
}

/** Throws INVALID_ARGUMENT when `bytes` is not a message of the method at `path`. */
export function deserialize<Message>(
  path: string,
  deserializer: (bytes: Buffer) => Message,
  bytes: Buffer,
): Message {
  try {
    return deserializer(bytes);
  } catch (thrown) {
    const reason = toOperatingError(thrown).message;
    throw new OperatingError(
      'INVALID_ARGUMENT',
      `cannot read ${bytes.length} bytes for ${path}: ${reason}`,
    );
  }
}
