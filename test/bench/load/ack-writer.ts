import { ackBytes, writeAck } from './control-packets.ts';
import type { LoadConnection } from './load-connection.ts';

const areaBytes = 16 * 1024;

/** Gathers the acknowledgements of a chunk into one write, in memory that is used again. */
export class AckWriter {
  readonly #connection: LoadConnection;
  #area = Buffer.alloc(areaBytes);
  #begin = 0;
  #end = 0;

  constructor(connection: LoadConnection) {
    this.#connection = connection;
  }

  add(header: number, packetId: number): void {
    if (this.#end + ackBytes > this.#area.length) this.#startOver();
    this.#end = writeAck(this.#area, this.#end, header, packetId);
  }

  /** Sends what was gathered. */
  flush(): void {
    if (this.#begin === this.#end) return;
    this.#connection.write(this.#area.subarray(this.#begin, this.#end));
    this.#begin = this.#end;
    if (this.#connection.unsentBytes === 0) this.#begin = this.#end = 0;
  }

  /** The area is full: its end goes out, and new memory serves while the socket still has the old. */
  #startOver(): void {
    this.flush();
    if (this.#end !== 0) this.#area = Buffer.alloc(areaBytes);
    this.#begin = this.#end = 0;
  }
}
