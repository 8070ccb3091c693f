import { type Clock, OperatingError } from '@robustmq/core';
import type { TraceRequest } from '@robustmq/rpc';

import type { ProtocolVersion } from '../codec/packet.ts';
import { explainTopicProblem, topicFilterProblem, TopicProblem } from '../codec/topic.ts';
import { ClientTap } from './client-tap.ts';
import { Trace, type TraceSink } from './trace.ts';

const tracesMax = 8;

/** The traces that run at a broker (DESIGN.md, "Traces"). */
export class Traces {
  readonly #clock: Clock;
  readonly #changed: () => void;
  readonly #running = new Set<Trace>();

  /** `changed`: connections have to ask for their taps again. */
  constructor(clock: Clock, changed: () => void) {
    this.#clock = clock;
    this.#changed = changed;
  }

  /** How many run. */
  get running(): number {
    return this.#running.size;
  }

  /** Throws INVALID_ARGUMENT, and RESOURCE_EXHAUSTED when too many run. */
  start(wanted: TraceRequest, sink: TraceSink): Trace {
    checkWanted(wanted);
    if (this.#running.size >= tracesMax) {
      throw new OperatingError('RESOURCE_EXHAUSTED', `${tracesMax} traces run at this broker`);
    }
    const trace = new Trace(wanted, sink, this.#clock);
    this.#running.add(trace);
    this.#changed();
    return trace;
  }

  stop(trace: Trace): void {
    if (this.#running.delete(trace)) this.#changed();
  }

  /** For a connection of that client, which had `before`; undefined: nobody looks at it. */
  tap(clientId: string, version: ProtocolVersion, before?: ClientTap): ClientTap | undefined {
    if (this.#running.size === 0) return undefined;
    const traces = [...this.#running].filter(
      ({ wanted }) => wanted.clientId === '' || wanted.clientId === clientId,
    );
    return traces.length === 0 ? undefined : new ClientTap({ clientId, version, traces, before });
  }
}

function checkWanted({ clientId, topicFilter }: TraceRequest): void {
  if (clientId === '' && topicFilter === '') {
    throw new OperatingError('INVALID_ARGUMENT', 'a trace needs a client id or a topic filter');
  }
  if (topicFilter === '') return;
  const bytes = Buffer.from(topicFilter);
  const problem = topicFilterProblem(bytes, 0, bytes.length);
  if (problem === TopicProblem.none) return;
  const message = `the topic filter ${topicFilter} ${explainTopicProblem(problem)}`;
  throw new OperatingError('INVALID_ARGUMENT', message);
}
