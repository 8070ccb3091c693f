import { assert, OperatingError } from '@robustmq/core';
import { entitiesOf, type Entity } from '@robustmq/kernel';
import {
  MqttEpochsReserved,
  MqttInboundImage,
  MqttSessionImage,
  MqttStoreInbound,
} from '@robustmq/rpc';
import { decodeMessage, encodeMessage } from './encoded-message.ts';
import {
  type InboundPublish,
  newSession,
  type Session,
  subscriptionBytes,
} from './session-state.ts';
import { SnapshotJoiner, snapshotChunks, snapshotChunksOf } from './snapshot-chunk.ts';
import { messageBytes, ownMessage } from './stored-message.ts';

/** A stored QoS 2 publish. */
export interface StoredInbound extends Entity, InboundPublish {
  readonly clientId: string;
  readonly packetId: number;
  /** `MqttStoreInbound`, in a buffer of its own. */
  readonly encoded: Buffer;
}

/** Takes what a snapshot holds: the sessions before their stored publishes. */
export interface SessionImageSink {
  restoreEpochs(until: number): void;
  restoreSession(session: Session): void;
  restoreInbound(stored: StoredInbound): void;
  restoreOwedLeave(image: Buffer): void;
}

/** Kinds of chunks. */
const chunkKinds = { epochs: 0, sessions: 1, inbound: 2, owedLeave: 3 } as const;

/** A session's piece of a snapshot. */
export function encodeSession(session: Session): Buffer {
  const { clientId, granted, disconnected, subscriptions, positions, window, releases } = session;
  return encodeMessage(MqttSessionImage, {
    clientId,
    granted,
    disconnected,
    subscriptions: [...subscriptions.values()],
    progress: {
      positions: [...positions].map(([shardId, offset]) => ({ shardId, offset })),
      window,
      complete: true,
      trimmed: session.trimmed,
      replays: [...session.replays.values()],
    },
    releases: [...releases].map(([packetId, releaseId]) => ({ packetId, releaseId })),
  });
}

function decodeSession(bytes: Buffer): Session {
  const image = decodeMessage(MqttSessionImage, bytes);
  const { clientId, granted, disconnected, subscriptions, progress, releases } = image;
  assert(granted !== undefined, 'a session in a snapshot was granted once');
  if (granted.will?.message !== undefined) {
    granted.will.message = ownMessage(granted.will.message);
  }
  const session = newSession(clientId, granted);
  session.disconnected = disconnected;
  for (const subscription of subscriptions) {
    session.subscriptions.set(subscription.filter, subscription);
    session.subscriptionBytes += subscriptionBytes(subscription);
  }
  for (const { shardId, offset } of progress?.positions ?? []) {
    session.positions.set(shardId, offset);
  }
  session.window = progress?.window ?? [];
  session.trimmed = progress?.trimmed;
  for (const replay of progress?.replays ?? []) session.replays.set(replay.filter, replay);
  for (const { packetId, releaseId } of releases) session.releases.set(packetId, releaseId);
  return session;
}

/** A stored publish's piece of a snapshot. */
export function encodeInbound({ clientId, encoded }: StoredInbound): Buffer {
  return encodeMessage(MqttInboundImage, { clientId, inbound: encoded });
}

function decodeInbound(bytes: Buffer): StoredInbound {
  const { clientId, inbound } = decodeMessage(MqttInboundImage, bytes);
  return newStoredInbound(clientId, decodeMessage(MqttStoreInbound, inbound));
}

export function newStoredInbound(clientId: string, inbound: MqttStoreInbound): StoredInbound {
  const { packetId, message } = inbound;
  assert(message !== undefined, 'what is stored is a message');
  return {
    snapshotMark: 0,
    clientId,
    packetId,
    topic: message.topic,
    bytes: messageBytes(message),
    encoded: encodeMessage(MqttStoreInbound, inbound),
  };
}

/** A snapshot's chunks, of the two tables' chunks and of what share groups have to hear. */
export function* sessionSnapshot(
  reservedEpochs: number,
  sessions: Iterator<Buffer>,
  inbound: Iterator<Buffer>,
  owedLeaves: readonly Buffer[],
): Generator<Buffer, undefined> {
  const epochs = encodeMessage(MqttEpochsReserved, { until: reservedEpochs });
  yield* snapshotChunks(chunkKinds.epochs, epochs);
  yield* snapshotChunksOf(chunkKinds.sessions, sessions);
  yield* snapshotChunksOf(chunkKinds.inbound, inbound);
  for (const image of owedLeaves) yield* snapshotChunks(chunkKinds.owedLeave, image);
  return undefined;
}

/** Puts the chunks of a snapshot together again. */
export class SnapshotReader {
  readonly #sink: SessionImageSink;
  readonly #joiner = new SnapshotJoiner();

  constructor(sink: SessionImageSink) {
    this.#sink = sink;
  }

  /** `chunk` is a view. */
  chunk(chunk: Buffer): void {
    const joined = this.#joiner.join(chunk);
    if (joined !== undefined) this.#restore(joined.kind, joined.bytes);
  }

  #restore(kind: number, bytes: Buffer): void {
    switch (kind) {
      case chunkKinds.epochs:
        this.#sink.restoreEpochs(decodeMessage(MqttEpochsReserved, bytes).until);
        return;
      case chunkKinds.sessions:
        for (const piece of entitiesOf(bytes)) this.#sink.restoreSession(decodeSession(piece));
        return;
      case chunkKinds.inbound:
        for (const piece of entitiesOf(bytes)) this.#sink.restoreInbound(decodeInbound(piece));
        return;
      case chunkKinds.owedLeave:
        this.#sink.restoreOwedLeave(bytes);
        return;
      default:
        throw new OperatingError(
          'UNSUPPORTED',
          `a snapshot of sessions has a chunk of kind ${kind}; it was written by a newer version`,
        );
    }
  }
}
