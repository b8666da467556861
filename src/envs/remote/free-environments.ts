/** The environments that no simulator runs, and which of them one is given. Not who is given them, nor when. */

/** Environments of a group: the group, and which of its own. */
export type Given = readonly [group: number, own: readonly number[]];

export class FreeEnvironments {
  /** For each group, in order. */
  readonly #free: number[][];

  /** At first all are free: `envs` in each group. */
  constructor(groups: number, envs: number) {
    this.#free = Array.from({ length: groups }, () => Array.from({ length: envs }, (_, e) => e));
  }

  get count(): number {
    return this.#free.reduce((sum, own) => sum + own.length, 0);
  }

  /** Takes up to `most`: of one group where they fit, else of one group after another. */
  take(most: number): Given[] {
    const fits = this.#free.findIndex((own) => own.length >= most);
    const groups = fits >= 0 ? [fits] : [...this.#free.keys()];
    const given: Given[] = [];
    let left = most;
    for (const group of groups) {
      const own = this.#free[group]!.splice(0, left);
      left -= own.length;
      if (own.length > 0) given.push([group, own]);
    }
    return given;
  }

  giveBack(group: number, own: readonly number[]): void {
    this.#free[group] = [...this.#free[group]!, ...own].sort((a, b) => a - b);
  }
}
