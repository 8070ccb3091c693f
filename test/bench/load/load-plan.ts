export type Qos = 0 | 1 | 2;

/** Who talks to whom in a run. Publisher j sends to topic j mod `topics`; subscriber i reads topic i mod `topics`. */
export interface LoadShape {
  readonly publishers: number;
  readonly subscribers: number;
  readonly topics: number;
  readonly qos: Qos;
  /** Bytes of each payload, at least `payloadBytesMin` of message-stamp.ts. */
  readonly payloadBytes: number;
  /** Most messages of one publisher that are not yet delivered to all its subscribers, and acknowledged at QoS above 0. */
  readonly window: number;
}

/** One run of the load generator. Plain data: it travels to another process and its threads. */
export interface LoadPlan extends LoadShape {
  readonly host: string;
  readonly port: number;
  /** Stands in every message, so that one of another run is noticed. 32 bits. */
  readonly runId: number;
  readonly topicPrefix: string;
  readonly warmUpSeconds: number;
  readonly measuredSeconds: number;
  /** Threads that the connections are spread over. */
  readonly threads: number;
}

/** What a run found. Rates count the measured time only, the totals everything. */
export interface LoadResult {
  readonly seconds: number;
  readonly publishedPerSecond: number;
  readonly deliveredPerSecond: number;
  /** From the write of a message to the read of its delivery, in µs. */
  readonly latencyUs: { readonly p50: number; readonly p99: number; readonly p999: number };
  readonly sent: number;
  readonly deliveries: DeliveryTotals;
}

/** The check of a whole run, warm-up included. */
export interface DeliveryTotals {
  /** Messages sent, times the subscribers that each should reach. */
  readonly expected: number;
  readonly delivered: number;
  /** Deliveries of something that its subscriber had already got. */
  readonly duplicates: number;
  /** Deliveries skipped by a later one of the same publisher. */
  readonly skipped: number;
  /** Deliveries of a message that this run never sent. */
  readonly foreign: number;
  /** Messages that the broker should have acknowledged and did not. */
  readonly unacknowledged: number;
}

/** Why a run does not count; undefined when everything sent was delivered once. */
export function lossOf(totals: DeliveryTotals): string | undefined {
  const { expected, delivered, duplicates, skipped, foreign, unacknowledged } = totals;
  const sound =
    expected === delivered && duplicates + skipped + foreign + unacknowledged === 0 && expected > 0;
  if (sound) return undefined;
  return (
    `expected ${expected} deliveries, got ${delivered} ` +
    `(${duplicates} duplicates, ${skipped} skipped, ${foreign} foreign, ${unacknowledged} unacknowledged)`
  );
}

/** Publishers whose messages a subscriber gets. */
export function publishersOf(shape: LoadShape, subscriber: number): number[] {
  const topic = subscriber % shape.topics;
  return range(shape.publishers).filter((publisher) => publisher % shape.topics === topic);
}

/** Subscribers that a publisher's messages go to. */
export function subscribersOf(shape: LoadShape, publisher: number): number[] {
  const topic = publisher % shape.topics;
  return range(shape.subscribers).filter((subscriber) => subscriber % shape.topics === topic);
}

/** Which thread has the publisher or the subscriber of that number. Pairs share a thread. */
export function threadOf(plan: LoadPlan, index: number): number {
  return index % plan.threads;
}

export function topicOf(plan: LoadPlan, index: number): string {
  return `${plan.topicPrefix}/${index % plan.topics}`;
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
