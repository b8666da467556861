/**
 * How many environment steps a second does training make from end to end, in both phases of a preset, and where does
 * the time go? Simulation in its threads, inference, waiting for simulation, and the updates of actor and critic.
 *
 *     node --import tsx test/bench/training.ts [--preset lorasa-halfcheetah] [--iterations 5] [--json]
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { median } from "../../src/base/statistics.ts";
import { createVectorEnvBeside } from "../../src/envs/vector-beside.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import type { Runtime, Session } from "../../src/runtime/session.ts";
import type { Phase, TrainConfig } from "../../src/training/config.ts";
import { preset } from "../../src/training/presets.ts";
import { Trainer } from "../../src/training/trainer.ts";

const { values } = parseArgs({
  options: {
    preset: { type: "string", default: "lorasa-halfcheetah" },
    iterations: { type: "string", default: "5" },
    json: { type: "boolean", default: false },
  },
});

const iterations = Number(values.iterations);
const base = preset(values.preset);
const rollout = base.envs * base.rolloutLength;
/** The first iteration of a phase warms up and is not counted. */
const config: TrainConfig = {
  ...base,
  steps: 2 * (iterations + 1) * rollout,
  ...(base.sharing === "lorasa" && { switchAt: (iterations + 1) * rollout }),
};

/** Milliseconds of an iteration. */
interface Times {
  readonly whole: number;
  /** Wall time of the rollout: of it inference, and what is left is waiting for simulation and copying. */
  readonly collect: number;
  readonly inference: number;
  /** Summed over the simulating threads. */
  readonly simulation: number;
  /** Wall time of the update, actor and critic side by side. */
  readonly update: number;
}

interface PhaseRow {
  readonly phase: Phase;
  readonly stepsPerSecond: number;
  readonly rounds: readonly number[];
  /** Medians. */
  readonly ms: Times;
  /** Milliseconds an iteration of each kind of graph in the training thread, the critic's in that thread too. */
  readonly graphs: Readonly<Record<string, number>>;
}

/** Milliseconds of bound runs of this iteration, by kind of graph. */
const spent = new Map<string, number>();
const threaded = await trainPhases(createRuntime(), true);
const alone = await trainPhases(timing(createRuntime(), spent), false);
const rows: PhaseRow[] = threaded.map(({ phase, times }, index) => {
  const rounds = times.map(({ whole }) => Math.round((rollout * 1000) / whole));
  const ms = Object.fromEntries(
    (["whole", "collect", "inference", "simulation", "update"] as const).map((name) => [
      name,
      rounded(median(times.map((time) => time[name]))),
    ]),
  ) as unknown as Times;
  return { phase, stepsPerSecond: median(rounds), rounds, ms, graphs: alone[index]!.graphs };
});
report();

/** Trains both phases; the times of each iteration after the first of a phase. */
async function trainPhases(
  runtime: Runtime,
  criticThread: boolean,
): Promise<{ phase: Phase; times: Times[]; graphs: Record<string, number> }[]> {
  const { env, envOptions, envs } = config;
  const vectorEnv = await createVectorEnvBeside({ name: env, options: envOptions, envs });
  const trainer = new Trainer({ config, runtime, vectorEnv, criticThread });
  const phases = new Map<Phase, { times: Times[]; graphs: Map<string, number> }>();
  while (!trainer.done) {
    vectorEnv.takeSimulationNanoseconds();
    spent.clear();
    const start = performance.now();
    const { phase, ms } = await trainer.iterate();
    const whole = performance.now() - start;
    const simulation = vectorEnv.takeSimulationNanoseconds() / 1e6;
    const known = phases.get(phase);
    if (!known) {
      phases.set(phase, { times: [], graphs: new Map() });
      continue;
    }
    known.times.push({ whole, simulation, ...ms });
    for (const [name, time] of spent) known.graphs.set(name, (known.graphs.get(name) ?? 0) + time);
    process.stderr.write(`${phase.padEnd(9)} ${Math.round((rollout * 1000) / whole)} steps/s\n`);
  }
  await trainer.close();
  await vectorEnv.close();
  return [...phases].map(([phase, { times, graphs }]) => ({
    phase,
    times,
    graphs: Object.fromEntries([...graphs].map(([name, time]) => [name, rounded(time / times.length)])),
  }));
}

/** A runtime that adds up, by kind of graph, how long runs take. */
function timing(runtime: Runtime, sums: Map<string, number>): Runtime {
  return {
    ...runtime,
    createSession: (model, options) => {
      const session = runtime.createSession(model, options);
      const kind = kindOf(session);
      return {
        device: session.device,
        inputs: session.inputs,
        outputs: session.outputs,
        cpuNodes: session.cpuNodes,
        sharedWeights: session.sharedWeights,
        run: (feeds, fetches) => {
          const start = performance.now();
          const results = session.run(feeds, fetches);
          sums.set(kind, (sums.get(kind) ?? 0) + performance.now() - start);
          return results;
        },
        dispose: () => session.dispose(),
        bind: (feeds, fetches) => {
          const bound = session.bind(feeds, fetches);
          return {
            run: () => {
              const start = performance.now();
              bound.run();
              sums.set(kind, (sums.get(kind) ?? 0) + performance.now() - start);
            },
          };
        },
      };
    },
  };
}

function kindOf({ inputs }: Session): string {
  const names = new Set(inputs.map(({ name }) => name));
  if (names.has("advantage")) return "actorSteps";
  if (names.has("returns")) return "criticSteps";
  return names.has("adapters") ? "merging" : "inference";
}

function report(): void {
  if (values.json) {
    const about = { preset: values.preset, envs: config.envs, rolloutLength: config.rolloutLength };
    process.stdout.write(`${JSON.stringify({ ...about, cores: availableParallelism(), phases: rows })}\n`);
    return;
  }
  for (const { phase, stepsPerSecond, rounds, ms, graphs } of rows) {
    const waiting = rounded(ms.collect - ms.inference);
    process.stdout.write(
      `${phase}: ${stepsPerSecond} environment steps a second (${Math.min(...rounds)} to ${Math.max(...rounds)})\n` +
        `  an iteration of ${rollout} steps: ${ms.whole} ms\n` +
        `  rollout ${ms.collect} ms: inference ${ms.inference}, waiting and copying ${waiting}; simulation ${ms.simulation} ms over all threads\n` +
        `  update ${ms.update} ms, actor and critic side by side\n` +
        `  graphs one after another: ${Object.entries(graphs)
          .map(([name, time]) => `${name} ${time} ms`)
          .join(", ")}\n`,
    );
  }
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}
