import type { PerRole } from '../measure/process-usage.ts';

export type SystemName = 'ours' | 'mosquitto';

/** A running broker with everything behind it, as separate processes. */
export interface BrokerSystem extends AsyncDisposable {
  readonly name: SystemName;
  /** Where MQTT clients connect. */
  readonly host: string;
  readonly port: number;
  /** Pids of all its processes by role; `broker` is the one that clients speak to. */
  readonly processes: PerRole & { readonly broker: number };
}

/** Settings that a system runs with, for the report. */
export const systemSettings: Readonly<Record<SystemName, string>> = {
  ours: 'one placement, one journal (fdatasync before every acknowledgement), one broker; shipped default configuration',
  mosquitto:
    'max_inflight_messages 0, max_queued_messages 0, set_tcp_nodelay true, persistence false (in memory)',
};
