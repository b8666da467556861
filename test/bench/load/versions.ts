/** Which adapter each version of each agent is: written when it is pushed, read when a reply names it. */

export class Versions {
  /** Variant by version, an array an agent; version 1 is the exported adapter, variant 0. */
  readonly #variants: number[][];
  /** Newest version that the server said it has, an agent. */
  readonly acknowledged: Int32Array;
  readonly #names: ReadonlyMap<string, number>;

  constructor(agents: readonly string[]) {
    this.#variants = agents.map(() => [Number.NaN, 0]);
    this.acknowledged = new Int32Array(agents.length).fill(1);
    this.#names = new Map(agents.map((name, agent) => [name, agent]));
  }

  /** Before a push is sent: replies may name its version before the push itself is answered. */
  begin(agent: number, variant: number): void {
    this.#variants[agent]!.push(variant);
  }

  /** @returns whether the version is the one that was pushed. */
  acknowledge(agent: number, version: number): boolean {
    this.acknowledged[agent] = version;
    return version === this.#variants[agent]!.length - 1;
  }

  /** A push that the server refused took no version. */
  refused(agent: number): void {
    this.#variants[agent]!.pop();
  }

  /** Undefined for a version that was never pushed. */
  variant(agent: number, version: number): number | undefined {
    return this.#variants[agent]![version];
  }

  /** Reads `agent_0=3,agent_1=1` into versions an agent; 0 where it names none. */
  parse(text: string, into: Int32Array): void {
    into.fill(0);
    for (const pair of text.split(",")) {
      const equals = pair.indexOf("=");
      const agent = this.#names.get(pair.slice(0, equals));
      if (agent !== undefined) into[agent] = Number(pair.slice(equals + 1));
    }
  }
}
