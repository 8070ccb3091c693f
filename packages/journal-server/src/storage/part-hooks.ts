import type { Replica } from './replica.ts';

/**
 * What the reader, the flusher and the space tell the storage. They exist before it, since recovery
 * uses them; it puts itself in when it is made.
 */
export interface PartHooks {
  onDamage: (replica: Replica, reason: string) => void;
  onIndexed: (replica: Replica) => void;
  onShortage: () => void;
  onFatal: (error: Error) => void;
  segmentBytesWritten: number;
}
