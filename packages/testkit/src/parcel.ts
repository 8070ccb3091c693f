import { OperatingError } from '@robustmq/core';
import type { Method } from '@robustmq/rpc';

/** A message for tests of transports. */
export interface Parcel {
  readonly id: number;
  readonly data: Buffer;
}

export function parcel(id: number, data: Buffer = Buffer.alloc(0)): Parcel {
  return { id, data };
}

const idBytes = 4;

function serialize(value: Parcel): Buffer {
  const bytes = Buffer.alloc(idBytes + value.data.length);
  bytes.writeUInt32BE(value.id);
  bytes.set(value.data, idBytes);
  return bytes;
}

function deserialize(bytes: Buffer): Parcel {
  if (bytes.length < idBytes) throw new OperatingError('INVALID_ARGUMENT', 'not a parcel');
  return { id: bytes.readUInt32BE(), data: bytes.subarray(idBytes) };
}

function parcelMethod(path: string, streams: boolean): Method<Parcel, Parcel> {
  return {
    path,
    requestStream: streams,
    responseStream: streams,
    requestSerialize: serialize,
    requestDeserialize: deserialize,
    responseSerialize: serialize,
    responseDeserialize: deserialize,
  };
}

export const askParcel = parcelMethod('/robustmq.test.Parcels/Ask', false);
export const exchangeParcels = parcelMethod('/robustmq.test.Parcels/Exchange', true);
