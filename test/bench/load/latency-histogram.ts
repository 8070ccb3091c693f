const subBuckets = 1024;

/**
 * Counts of latencies in µs: exact below 2,048, with a relative error under 0.1 % above, up to 2^32.
 * Lives in memory that its owner gives, which may be shared between threads; one thread records.
 */
export class LatencyHistogram {
  /** Elements of the counts array. */
  static readonly length = 23 * subBuckets;
  readonly #counts: Uint32Array;

  constructor(counts: Uint32Array = new Uint32Array(LatencyHistogram.length)) {
    this.#counts = counts;
  }

  record(latencyUs: number): void {
    const index = bucketOf(latencyUs);
    this.#counts[index] = (this.#counts[index] ?? 0) + 1;
  }

  add(other: LatencyHistogram): void {
    other.#counts.forEach((count, index) => {
      this.#counts[index] = (this.#counts[index] ?? 0) + count;
    });
  }

  /** The latency in µs that `fraction` of the recorded ones do not exceed; 0 when there are none. */
  quantile(fraction: number): number {
    const total = this.#counts.reduce((sum, count) => sum + count, 0);
    const wanted = Math.max(1, Math.ceil(total * fraction));
    let seen = 0;
    for (const [index, count] of this.#counts.entries()) {
      seen += count;
      if (seen >= wanted) return highestOf(index);
    }
    return 0;
  }
}

function bucketOf(value: number): number {
  const shift = Math.max(0, 21 - Math.clz32(value));
  return shift * subBuckets + (value >>> shift);
}

/** Largest value that falls into a bucket. */
function highestOf(bucket: number): number {
  const shift = Math.max(0, Math.floor(bucket / subBuckets) - 1);
  return (bucket - shift * subBuckets + 1) * 2 ** shift - 1;
}
