/** What stands at the beginning of each payload, as four u32: run, publisher, sequence, time of sending in µs. */
export const stampOffsets = { run: 0, publisher: 4, sequence: 8, sentUs: 12 } as const;

export const payloadBytesMin = 16;

/** Microseconds of the machine's monotonic clock, the same in all threads and processes. Wraps at 2^32. */
export function nowUs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return (seconds * 1e6 + Math.floor(nanoseconds / 1000)) >>> 0;
}
