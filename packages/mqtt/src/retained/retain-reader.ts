import { decodeReservedHeader, reservedHeaderAt } from '@robustmq/kernel';
import type { RecordCursor } from '@robustmq/record-batch';
import type { MqttHeader } from '@robustmq/rpc';

/** Positions of one header: name start and end, value start and end. */
const rangeNumbers = 4;

/**
 * Looks whether records set or clear a retained message. One object for all records: nothing is
 * allocated for those that do neither.
 */
export class RetainReader {
  readonly #ranges: number[] = [];
  #headers = 0;
  #buffer: Buffer = Buffer.alloc(0);
  /** Interval of the last record that was read, ms; -1: it never expires. */
  expiryMs = -1;

  /** Reads the headers of the record on which the cursor stands: whether it has `mqtt.retain`. */
  read(cursor: RecordCursor): boolean {
    this.#headers = 0;
    this.#buffer = cursor.buffer;
    this.expiryMs = -1;
    let isRetained = false;
    while (cursor.nextHeader()) {
      const { buffer, headerNameStart, headerNameEnd, headerValueStart, headerValueEnd } = cursor;
      const at = this.#headers++ * rangeNumbers;
      this.#ranges[at] = headerNameStart;
      this.#ranges[at + 1] = headerNameEnd;
      this.#ranges[at + 2] = headerValueStart;
      this.#ranges[at + 3] = headerValueEnd;
      const name = reservedHeaderAt(buffer, headerNameStart, headerNameEnd);
      if (name === 'mqtt.retain') {
        isRetained = decodeReservedHeader(name, buffer, headerValueStart, headerValueEnd) === 1;
      } else if (name === 'message-expiry') {
        const expiry = decodeReservedHeader(name, buffer, headerValueStart, headerValueEnd);
        this.expiryMs = expiry ?? -1;
      }
    }
    return isRetained;
  }

  /** Headers of the record that was read last, as views. */
  headers(): MqttHeader[] {
    return Array.from({ length: this.#headers }, (_, index) => {
      const at = index * rangeNumbers;
      const name = this.#view(at);
      return { name, value: this.#at(at + 2) < 0 ? undefined : this.#view(at + 2) };
    });
  }

  #view(at: number): Buffer {
    return this.#buffer.subarray(this.#at(at), this.#at(at + 1));
  }

  #at(index: number): number {
    return this.#ranges[index] ?? -1;
  }
}
