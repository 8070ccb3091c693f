import type { Clock, OperatingError } from '@robustmq/core';
import type { CatchUp, LogReader } from '@robustmq/kernel';

import type { PacketWriter } from '../codec/packet-writer.ts';
import type { Output } from '../connection/output.ts';
import type { MqttLimits } from '../server/mqtt-limits.ts';
import type { DropReports } from '../system/drop-reports.ts';
import type { LiveReaders } from './live-readers.ts';
import type { ProgressKeeper } from './progress-keeper.ts';

/** The client at the other end, as far as delivery needs it. */
export interface DeliveryClient {
  readonly mqtt5: boolean;
  readonly packetBytesMax: number;
  readonly receiveMaximum: number;
  /** Topic aliases that it lets us set; 0: none. */
  readonly topicAliasMaximum: number;
  readonly output: Output;
  /** Owes the client a PUBREL. */
  sendPubrel(packetId: number): void;
  /** Delivery cannot go on: ends the connection; the client comes back and is served from the log. */
  failed(error: OperatingError): void;
}

/** What all sessions of a broker share. */
export interface DeliveryContext {
  readonly readers: LiveReaders;
  readonly catchUp: CatchUp;
  readonly log: LogReader;
  readonly progress: ProgressKeeper;
  readonly drops: Pick<DropReports, 'count'>;
  readonly limits: MqttLimits;
  readonly clock: Clock;
  /** For packets of one client alone. */
  readonly writer: PacketWriter;
}
