/** Pushes adapters over HTTP at a given rate, agent after agent, while others ask. Not who asks. */
import { Connection, type RawReply } from "./connection.ts";
import type { Latencies } from "./latencies.ts";
import type { Versions } from "./versions.ts";

export interface SwapPlan {
  readonly port: number;
  readonly everyMs: number;
  /** Prepared pushes, by agent and variant. */
  readonly pushes: readonly (readonly Uint8Array[])[];
}

/** One connection an agent, so that an agent's versions come in the order of its pushes. Ends with `stop`. */
export class Swapper {
  readonly #plan: SwapPlan;
  readonly #versions: Versions;
  /** Times from the moment at which a swap was due to its answer. */
  readonly #latencies: Latencies;
  readonly #failed: (what: string) => void;
  readonly #lanes: readonly Lane[];
  #timer: NodeJS.Timeout | undefined;
  #swaps = 0;
  #due = 0;

  constructor(plan: SwapPlan, versions: Versions, latencies: Latencies, failed: (what: string) => void) {
    this.#plan = plan;
    this.#versions = versions;
    this.#latencies = latencies;
    this.#failed = failed;
    this.#lanes = plan.pushes.map((_, agent) => this.#lane(agent));
  }

  start(): void {
    this.#due = performance.now() + this.#plan.everyMs;
    this.#schedule();
  }

  /** Resolves when every push is answered. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    while (this.#lanes.some((lane) => lane.waiting.length > 0)) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    for (const { connection } of this.#lanes) connection.destroy();
  }

  #schedule(): void {
    this.#timer = setTimeout(() => this.#push(), Math.max(0, this.#due - performance.now()));
  }

  #push(): void {
    const lane = this.#lanes[this.#swaps % this.#lanes.length]!;
    lane.waiting.push(this.#due);
    if (lane.waiting.length === 1) this.#send(lane);
    this.#swaps += 1;
    this.#due += this.#plan.everyMs;
    this.#schedule();
  }

  #send(lane: Lane): void {
    const bodies = this.#plan.pushes[lane.agent]!;
    lane.variant = (lane.variant + 1) % bodies.length;
    this.#versions.begin(lane.agent, lane.variant);
    const body = bodies[lane.variant]!;
    lane.connection.send(Buffer.from(body.buffer, body.byteOffset, body.byteLength));
  }

  #answered(lane: Lane, { status, body }: RawReply): void {
    this.#latencies.add(performance.now() - lane.waiting.shift()!);
    if (status === 200) {
      const { version } = JSON.parse(body.toString("utf8")) as { version: string };
      if (!this.#versions.acknowledge(lane.agent, Number(version)))
        this.#failed(`push became version ${version}`);
    } else {
      this.#versions.refused(lane.agent);
      this.#failed(`push ${status}: ${body.toString("utf8", 0, 300)}`);
    }
    if (lane.waiting.length > 0) this.#send(lane);
  }

  #lane(agent: number): Lane {
    const lane: Lane = {
      agent,
      variant: 0,
      waiting: [],
      connection: new Connection(this.#plan.port, {
        reply: (reply) => this.#answered(lane, reply),
        lost: (reason) => {
          lane.waiting.length = 0;
          this.#failed(`push: connection ${reason}`);
        },
      }),
    };
    return lane;
  }
}

interface Lane {
  readonly agent: number;
  readonly connection: Connection;
  variant: number;
  /** Moments at which swaps were due that are not answered yet; the first is under way. */
  readonly waiting: number[];
}
