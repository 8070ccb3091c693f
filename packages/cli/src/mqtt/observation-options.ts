import { clientEventKinds, type MqttObservation } from '@robustmq/mqtt';
import { z } from 'zod';

import { duration, type OptionRow } from '../option-row.ts';

const roles = ['start', 'broker'] as const;

const eventKind = z.enum(
  clientEventKinds,
  `must be "off" or some of ${clientEventKinds.join(', ')}`,
);
const eventKinds = z
  .string()
  .transform((list) => (list === 'off' ? [] : list.split(',').map((item) => item.trim())))
  .pipe(z.array(eventKind));

/** Options for what operators see of the MQTT clients. */
export const observationOptionTable = {
  'mqtt-sys-interval': {
    roles,
    value: 'TIME',
    schema: duration,
    default: '10s',
    help: 'how often the values below $SYS/ are published; 0: there are none',
  },
  'mqtt-events': {
    roles,
    value: 'EVENT[,...]',
    schema: eventKinds,
    default: 'connected,disconnected',
    help: `events of clients that are published below $SYS/: ${clientEventKinds.join(', ')}, or "off"`,
  },
} as const satisfies Record<string, OptionRow>;

/** What the options say of it. */
export function mqttObservation(options: {
  readonly 'mqtt-sys-interval'?: number | undefined;
  readonly 'mqtt-events'?: MqttObservation['events'] | undefined;
}): Partial<MqttObservation> {
  const { 'mqtt-sys-interval': sysIntervalMs, 'mqtt-events': events } = options;
  return {
    ...(sysIntervalMs !== undefined && { sysIntervalMs }),
    ...(events !== undefined && { events }),
  };
}
