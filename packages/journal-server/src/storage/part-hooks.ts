import type { Replica } from './replica.ts';
import type { Damage } from './segment-reader.ts';

/**
 * What the reader, the flusher and the space tell the storage. They exist before it, since recovery
 * uses them; it puts itself in when it is made.
 */
export interface PartHooks {
  onDamage: (replica: Replica, damage: Damage) => void;
  onIndexed: (replica: Replica) => void;
  onShortage: () => void;
  onFatal: (error: Error) => void;
  segmentBytesWritten: number;
}
