import { fault, type ProtocolFault } from '../codec/protocol-fault.ts';
import { ReasonCode } from '../codec/reason-code.ts';
import type { MqttLimits } from '../server/mqtt-limits.ts';

/** The client whose publishes are counted. */
export interface QuotaClient {
  readonly mqtt5: boolean;
  pause(): void;
  proceed(): void;
  fail(wrong: ProtocolFault): void;
}

/**
 * Bounds the QoS 1 and 2 publishes of one client that are under way. An MQTT 5 client counts them
 * itself and must not pass our Receive Maximum; an MQTT 3 client is not read while it has that many
 * unanswered (a PUBREC answers, since the PUBREL after it has to be read).
 */
export class PublishQuota {
  readonly #client: QuotaClient;
  readonly #limits: MqttLimits;
  /** Not finished by PUBACK, PUBCOMP or a refusal. */
  #inFlight = 0;
  /** Not answered by PUBACK or PUBREC. */
  #unanswered = 0;
  /** Bytes of them that are copies of their own. */
  #bytes = 0;
  #isPaused = false;

  constructor(client: QuotaClient, limits: MqttLimits) {
    this.#client = client;
    this.#limits = limits;
  }

  /** One more. False: it was too many, and the client is told. [MQTT5-3.3.4-9] */
  take(): boolean {
    const { receiveMaximum } = this.#limits;
    if (this.#client.mqtt5 && this.#inFlight >= receiveMaximum) {
      const message = `more than ${receiveMaximum} publishes are not acknowledged`;
      this.#client.fail(fault(ReasonCode.receiveMaximumExceeded, 'MQTT5-3.3.4-9', message));
      return false;
    }
    this.#inFlight++;
    this.#unanswered++;
    this.#pauseIfFull();
    return true;
  }

  /** Counts a message that the client sends again: it counts it, too. */
  takeRepeated(): void {
    this.#inFlight++;
  }

  /** It waits as a copy of so many bytes until it is answered. */
  keep(bytes: number): void {
    this.#bytes += bytes;
    this.#pauseIfFull();
  }

  /** PUBACK or PUBREC has left; its copy of `bytes` is done with. */
  answered(bytes: number): void {
    this.#unanswered--;
    this.#bytes -= bytes;
    if (!this.#isPaused) return;
    const { receiveMaximum, socketBytesMax } = this.#limits;
    if (!this.#client.mqtt5 && this.#unanswered > receiveMaximum / 2) return;
    if (this.#bytes > socketBytesMax / 2) return;
    this.#isPaused = false;
    this.#client.proceed();
  }

  /** The client does not count it any more. */
  finished(): void {
    this.#inFlight--;
  }

  #pauseIfFull(): void {
    if (this.#isPaused) return;
    const isFull = !this.#client.mqtt5 && this.#unanswered >= this.#limits.receiveMaximum;
    if (!isFull && this.#bytes <= this.#limits.socketBytesMax) return;
    this.#isPaused = true;
    this.#client.pause();
  }
}
