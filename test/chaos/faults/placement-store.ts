import { cpSync, mkdirSync, renameSync, rmSync } from 'node:fs';

import type { ChaosCluster } from '../cluster/chaos-cluster.ts';

const placement = 'placement';

/** Placement's folder, to be taken away and put back while placement does not run. */
export class PlacementStore {
  readonly #chaos: ChaosCluster;
  readonly #root: string;
  readonly #copy: string;
  readonly #aside: string;

  constructor(chaos: ChaosCluster) {
    this.#chaos = chaos;
    this.#root = chaos.disks.folders(placement).root;
    this.#copy = `${this.#root}.copy`;
    this.#aside = `${this.#root}.aside`;
  }

  get folder(): string {
    return this.#root;
  }

  backUp(): void {
    cpSync(this.#root, this.#copy, { recursive: true });
  }

  /** The copy takes the place of the folder, which is kept aside. */
  restore(): void {
    renameSync(this.#root, this.#aside);
    renameSync(this.#copy, this.#root);
    this.#forgetUndo();
  }

  /** The folder itself is back. */
  takeBack(): void {
    this.lose();
    renameSync(this.#aside, this.#root);
  }

  lose(): void {
    rmSync(this.#root, { recursive: true });
    this.#forgetUndo();
  }

  /** What is not in use any more. */
  tidy(): void {
    rmSync(this.#aside, { recursive: true, force: true });
  }

  /** The shim's notes are about files that have gone. */
  #forgetUndo(): void {
    const { undo, shadow } = this.#chaos.disks.folders(placement);
    for (const folder of [undo, shadow]) {
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
    }
  }
}
