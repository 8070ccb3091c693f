import { connectAsync, type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt';

import type { Address } from './packet-client.ts';

/** MQTT.js, connected once and never again by itself. */
export async function connectMqtt(
  { host, port }: Address,
  options: IClientOptions = {},
): Promise<MqttClient> {
  const protocolId = options.protocolVersion === 3 ? 'MQIsdp' : 'MQTT';
  return connectAsync({ protocolId, host, port, reconnectPeriod: 0, ...options });
}

export interface Message {
  readonly topic: string;
  readonly payload: string;
  readonly packet: IPublishPacket;
}

/** What a client receives, in order, to be waited for. */
export class Inbox {
  readonly messages: Message[] = [];
  #wake: (() => void) | undefined;

  constructor(client: MqttClient) {
    client.on('message', (topic, payload, packet) => {
      this.messages.push({ topic, payload: payload.toString(), packet });
      this.#wake?.();
    });
  }

  /** Resolves with everything received once that are `count` messages. */
  async waitFor(count: number): Promise<readonly Message[]> {
    while (this.messages.length < count) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.messages;
  }

  get payloads(): string[] {
    return this.messages.map(({ payload }) => payload);
  }
}
