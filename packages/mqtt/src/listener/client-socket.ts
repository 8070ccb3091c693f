/**
 * What a connection needs of the socket of its client. `net.Socket` and `TLSSocket` are ones as they are:
 * between them and a connection there is nothing that would cost something per message.
 */
export interface ClientSocket {
  readonly destroyed: boolean;
  /** Nothing can be written any more. */
  readonly writableEnded: boolean;
  /** Bytes that wait to be sent. */
  readonly writableLength: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  write(bytes: Buffer): unknown;
  /** What is written until {@link uncork} leaves together. */
  cork(): void;
  uncork(): void;
  /** Ends in order, behind what was written. */
  end(): void;
  destroy(): unknown;
  pause(): unknown;
  resume(): unknown;
  on(event: 'data', listener: (chunk: Buffer) => void): unknown;
  on(event: 'drain' | 'end' | 'error' | 'close', listener: () => void): unknown;
  once(event: 'close', listener: () => void): unknown;
}
