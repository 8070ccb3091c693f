import { OperatingError, toOperatingError } from '@robustmq/core';
import type { MessageStream, StreamHandlers, TraceRequest, TraceResponse } from '@robustmq/rpc';

import type { Trace } from '../trace/trace.ts';
import type { Traces } from '../trace/traces.ts';

/** One operator's trace: begins with its request, ends with the stream. */
export function traceStream(
  stream: MessageStream<TraceResponse>,
  traces: Traces | undefined,
): StreamHandlers<TraceRequest> {
  let trace: Trace | undefined;
  return {
    message(request) {
      if (traces === undefined) {
        stream.cancel(new OperatingError('UNAVAILABLE', 'this broker has no MQTT listener'));
        return;
      }
      if (trace !== undefined) {
        stream.cancel(new OperatingError('INVALID_ARGUMENT', 'a trace has one request'));
        return;
      }
      try {
        trace = traces.start(request, (lines) => stream.send(lines));
        // Says that it runs.
        stream.send({ lines: [], dropped: 0 });
      } catch (thrown) {
        stream.cancel(toOperatingError(thrown));
      }
    },
    drain: () => trace?.drained(),
    closed: () => {
      if (trace !== undefined) traces?.stop(trace);
    },
  };
}
