import type { ClusterTls } from '@robustmq/rpc';
import { Counter, Gauge, type Registry } from 'prom-client';

/** `robustmq_tls_*`: read when they are asked for. */
export function registerTlsMetrics(
  registry: Registry,
  tls: ClusterTls,
  failedRenewals: () => number,
): void {
  const expiry = new Gauge({
    name: 'robustmq_tls_certificate_expiry_timestamp_seconds',
    help: 'When the certificate in use, and its authority, expire, in seconds since 1970.',
    labelNames: ['certificate'],
    registers: [],
    collect() {
      const { certificateUntilMs, authorityUntilMs } = tls.current;
      this.set({ certificate: 'own' }, certificateUntilMs / 1000);
      this.set({ certificate: 'authority' }, authorityUntilMs / 1000);
    },
  });
  const counters = [
    counter('renewals_failed', 'Changed TLS files that could not be used.', failedRenewals),
    counter(
      'refused_connections',
      'Connections refused for want of a certificate that is valid here.',
      () => tls.refused.connections,
    ),
    counter('refused_calls', 'Calls refused for want of a role.', () => tls.refused.calls),
  ];
  for (const metric of [expiry, ...counters]) registry.registerMetric(metric);
}

function counter(name: string, help: string, value: () => number): Counter {
  return new Counter({
    name: `robustmq_tls_${name}_total`,
    help,
    registers: [],
    collect() {
      this.reset();
      this.inc(value());
    },
  });
}
