import type { Clock, Logger } from '@robustmq/core';
import type { MqttListenerOptions } from '@robustmq/mqtt';
import { Counter, Gauge, type Registry } from 'prom-client';

import { allowedMqttListeners } from '../exposure.ts';
import type { Options } from '../options.ts';
import { ListenerCertificates } from './listener-certificates.ts';
import type { ListenerConfig } from './listener-config.ts';

interface Shared {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly registry: Registry;
}

/** The listeners that `--mqtt-listen` asks for, with their certificates. */
export class MqttListeners implements Disposable {
  readonly listeners: readonly MqttListenerOptions[];
  /** By name of the listener. */
  readonly #certificates: ReadonlyMap<string, ListenerCertificates>;

  private constructor(
    listeners: readonly MqttListenerOptions[],
    certificates: ReadonlyMap<string, ListenerCertificates>,
  ) {
    this.listeners = listeners;
    this.#certificates = certificates;
  }

  /** Throws when one may not be opened to the network, or its files cannot be used. */
  static open(options: Options, shared: Shared): MqttListeners {
    const configs = allowedMqttListeners(options);
    const certificates = new Map<string, ListenerCertificates>();
    const listeners = configs.map((config) => {
      if (config.files !== undefined) {
        certificates.set(config.name, new ListenerCertificates(config.files, shared));
      }
      return toOptions(config, certificates.get(config.name));
    });
    if (certificates.size > 0) registerCertificateMetrics(shared.registry, certificates);
    return new MqttListeners(listeners, certificates);
  }

  [Symbol.dispose](): void {
    for (const certificates of this.#certificates.values()) certificates[Symbol.dispose]();
  }
}

function toOptions(
  config: ListenerConfig,
  tls: ListenerCertificates | undefined,
): MqttListenerOptions {
  const { name, kind, listen, advertise, limits, path, origins } = config;
  const { proxyNetworks, identity, authentication } = config;
  return {
    name,
    kind,
    listen,
    advertise,
    limits,
    tls,
    path,
    origins,
    proxyNetworks,
    identity,
    authentication,
  };
}

/** `robustmq_mqtt_certificate_*`: read when they are asked for. */
function registerCertificateMetrics(
  registry: Registry,
  certificates: ReadonlyMap<string, ListenerCertificates>,
): void {
  const expiry = new Gauge({
    name: 'robustmq_mqtt_certificate_expiry_timestamp_seconds',
    help: 'When the certificates of a listener expire, the first of them, in seconds since 1970.',
    labelNames: ['listener'],
    registers: [],
    collect() {
      for (const [listener, each] of certificates) {
        const first = Math.min(...each.expiries().map(({ untilMs }) => untilMs));
        this.set({ listener }, first / 1000);
      }
    },
  });
  const failed = new Counter({
    name: 'robustmq_mqtt_certificate_renewals_failed_total',
    help: 'Changed certificate files of a listener that could not be used.',
    labelNames: ['listener'],
    registers: [],
    collect() {
      this.reset();
      for (const [listener, each] of certificates) this.inc({ listener }, each.failedRenewals);
    },
  });
  registry.registerMetric(expiry);
  registry.registerMetric(failed);
}
