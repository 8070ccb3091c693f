import type { Operation } from '../store/metadata-store.ts';

/** All that a rebuilt store begins with. */
export interface RebuiltContent {
  /** Its revisions begin above this one: whoever watched the lost store takes the full list. */
  readonly afterRevision: number;
  readonly placementEpoch: number;
  readonly operations: readonly Operation[];
}

/** Where a rebuilt store is to be. */
export interface RebuildTarget {
  /** Throws when nothing may be written there; called before anything is asked or changed. */
  check(): void;
  /** Puts the store there as a whole. Returns where what was there before is now. */
  write(content: RebuiltContent): Promise<string | undefined>;
}
