/**
 * Runs a server under mixed traffic for a while: every reply is checked, memory is watched. Not how it is reported, and
 * short enough runs fit into a test.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Random } from "../../src/base/random.ts";
import { Caller } from "../bench/load/exchange.ts";
import type { LorasaAnswers } from "../bench/load/lorasa-process.ts";
import { type Growth, growth } from "../bench/load/memory.ts";
import { startWorker, type Worker } from "../bench/load/processes.ts";
import { readMetrics } from "../bench/load/prometheus.ts";
import { binaryRequest, jsonRequest } from "../bench/load/requests.ts";
import { askAgent, askSequence, askTagged, askTeam, type Step } from "./server-soak-asks.ts";
import { cut, mistake, poll, pushVariant, reload, swap } from "./server-soak-trouble.ts";
import { prepareWorld, TOKEN, type World } from "./server-soak-world.ts";

interface Traffic {
  readonly step: Step;
  /** How many do it at once. */
  readonly actors: number;
  /** Between two steps of one. */
  readonly pauseMs: number;
}

const TRAFFIC = {
  "team, binary": { step: askTeam(binaryRequest), actors: 4, pauseMs: 4 },
  "team, JSON": { step: askTeam(jsonRequest), actors: 2, pauseMs: 4 },
  "one agent": { step: askAgent, actors: 3, pauseMs: 4 },
  "tagged rows": { step: askTagged, actors: 2, pauseMs: 4 },
  sequence: { step: askSequence, actors: 4, pauseMs: 4 },
  mistake: { step: mistake, actors: 1, pauseMs: 10 },
  cut: { step: cut, actors: 2, pauseMs: 10 },
  // One actor: the order of an agent's versions must be known.
  swap: { step: swap, actors: 1, pauseMs: 20 },
  variant: { step: pushVariant, actors: 1, pauseMs: 100 },
  reload: { step: reload, actors: 1, pauseMs: 1000 },
  poll: { step: poll, actors: 1, pauseMs: 500 },
} as const satisfies Record<string, Traffic>;

export type Kind = keyof typeof TRAFFIC;

export interface SoakOptions {
  readonly seconds: number;
  /** Default 1. */
  readonly seed?: number;
  /** Told each ten seconds. */
  readonly progress?: (line: string) => void;
}

export interface SoakResult {
  readonly seconds: number;
  /** Steps by kind. */
  readonly steps: Readonly<Record<Kind, number>>;
  /** Replies that were not as they must be, and lost connections. */
  readonly wrong: number;
  /** The first of them. */
  readonly examples: readonly string[];
  /** Faults that the server reported. */
  readonly faults: number;
  /** Requests that the server still had when all were answered. */
  readonly inflight: number;
  /** Each second; of memory after garbage was collected. */
  readonly samples: readonly SoakSample[];
  readonly growth: Readonly<Record<Watched, Growth>>;
}

/** Bytes resident, bytes in use, and open files of the server. */
type Watched = "resident" | "used" | "files";

type SoakSample = Readonly<Record<Watched | "seconds", number>>;

const EXAMPLES = 20;
const PROGRESS_SECONDS = 10;
const SAMPLE_MS = 1000;

/** Serves from a folder of its own and leaves nothing behind. */
export async function soak({ seconds, seed = 1, progress = () => {} }: SoakOptions): Promise<SoakResult> {
  const repository = mkdtempSync(join(tmpdir(), "lorasa-soak-"));
  const options = JSON.stringify({ token: TOKEN });
  const server = startWorker<LorasaAnswers>("server", "lorasa-process", {
    args: [repository, options],
    exposeGc: true,
  });
  try {
    const prepared = prepareWorld(repository);
    const world = { ...prepared, port: await server.ask("start") };
    return await new Soak(server, world, seconds, progress).run(seed);
  } finally {
    await server.stop();
    rmSync(repository, { recursive: true });
  }
}

class Soak {
  readonly #server: Worker<LorasaAnswers>;
  readonly #world: World;
  readonly #seconds: number;
  readonly #progress: (line: string) => void;
  readonly #steps = Object.fromEntries(Object.keys(TRAFFIC).map((kind) => [kind, 0])) as Record<Kind, number>;
  readonly #samples: SoakSample[] = [];
  readonly #examples: string[] = [];
  readonly #started = performance.now();
  #wrong = 0;

  constructor(
    server: Worker<LorasaAnswers>,
    world: World,
    seconds: number,
    progress: (line: string) => void,
  ) {
    this.#server = server;
    this.#world = world;
    this.#seconds = seconds;
    this.#progress = progress;
  }

  async run(seed: number): Promise<SoakResult> {
    const random = new Random(seed);
    const actors = (Object.keys(TRAFFIC) as Kind[]).flatMap((kind) =>
      Array.from({ length: TRAFFIC[kind].actors }, (_, at) => this.#act(kind, random.fork(at))),
    );
    await Promise.all([...actors, this.#watch()]);
    const inflight = (await readMetrics(this.#world.port, ["lorasa_inflight"]))["lorasa_inflight"]!;
    const growthOf = (of: Watched): Growth =>
      growth(this.#samples.map((sample) => ({ seconds: sample.seconds, value: sample[of] })));
    return {
      seconds: this.#elapsed(),
      steps: this.#steps,
      wrong: this.#wrong,
      examples: this.#examples,
      faults: await this.#server.ask("faults"),
      // The request that asked for it is one.
      inflight: inflight - 1,
      samples: this.#samples,
      growth: { resident: growthOf("resident"), used: growthOf("used"), files: growthOf("files") },
    };
  }

  /** One actor, until the time is over. */
  async #act(kind: Kind, random: Random): Promise<void> {
    const { step, pauseMs } = TRAFFIC[kind];
    const caller = new Caller(this.#world.port);
    const wrong = (what: string): void => this.#tell(`${kind}: ${what}`);
    while (this.#elapsed() < this.#seconds) {
      try {
        await step({ world: this.#world, random, wrong }, caller);
      } catch (error) {
        wrong(`${error}`);
      }
      this.#steps[kind] += 1;
      await pause(pauseMs);
    }
    caller.close();
  }

  async #watch(): Promise<void> {
    let said = 0;
    while (this.#elapsed() < this.#seconds) {
      const { residentBytes, usedBytes } = await this.#server.ask("usage");
      const seconds = this.#elapsed();
      const files = openFiles(this.#server.pid);
      this.#samples.push({ seconds, resident: residentBytes, used: usedBytes, files });
      if (seconds - said >= PROGRESS_SECONDS) {
        said = seconds;
        this.#say();
      }
      await pause(SAMPLE_MS);
    }
  }

  #say(): void {
    const { seconds, resident, used, files } = this.#samples.at(-1)!;
    const steps = Object.values(this.#steps).reduce((sum, count) => sum + count, 0);
    const [residentMiB, usedMiB] = [resident, used].map((bytes) => (bytes / 2 ** 20).toFixed(1));
    this.#progress(
      `${Math.round(seconds)} s: ${steps} steps, ${this.#wrong} wrong, ${residentMiB} MiB resident, ${usedMiB} MiB used, ${files} files`,
    );
  }

  #tell(what: string): void {
    this.#wrong += 1;
    if (this.#examples.length < EXAMPLES) this.#examples.push(`${this.#elapsed().toFixed(1)} s: ${what}`);
  }

  #elapsed(): number {
    return (performance.now() - this.#started) / 1000;
  }
}

/** 0 where the system does not tell. */
function openFiles(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return 0;
  }
}
