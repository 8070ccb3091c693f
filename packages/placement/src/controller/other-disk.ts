import { OperatingError } from '@robustmq/core';
import { type Node, NodeState } from '@robustmq/rpc';

/** A journal comes with another disk than the one that is registered under its id. */
export class OtherDisk extends OperatingError {
  /** It has to make its incarnation at least this, durably. */
  readonly incarnationMin: number;

  constructor(message: string, incarnationMin: number) {
    super('CONFLICT', message);
    this.incarnationMin = incarnationMin;
  }
}

export function hasOtherDisk(before: Node | undefined, after: Node): boolean {
  return (before?.diskUuid ?? '') !== '' && before?.diskUuid !== after.diskUuid;
}

/**
 * An incarnation of an id names one life of one disk: another disk, new or an older one that comes back, is a
 * new incarnation above all that were accepted, and none while the registered one lives. Throws CONFLICT.
 */
export function checkOtherDisk(before: Node, after: Node): void {
  const { nodeId, incarnation } = after;
  if (before.state !== NodeState.DOWN) {
    const message = `journal ${nodeId} is up with another disk than this one: is its --node-id used twice?`;
    throw new OperatingError('CONFLICT', message);
  }
  if (incarnation > before.incarnation) return;
  const incarnationMin = before.incarnation + 1;
  const message = `journal ${nodeId} comes with another disk: it has to begin with incarnation ${incarnationMin}`;
  throw new OtherDisk(message, incarnationMin);
}
