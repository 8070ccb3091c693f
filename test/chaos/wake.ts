/** Whoever waits looks again after each piece of progress. */
export class Wake {
  #looks = new Set<() => void>();

  now(): void {
    for (const look of this.#looks) look();
  }

  async until(holds: () => boolean): Promise<void> {
    const looks = this.#looks;
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (!holds()) return;
        looks.delete(look);
        resolve();
      };
      looks.add(look);
      look();
    });
  }
}
