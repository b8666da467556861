/**
 * Runs the benchmarks of training one after another and writes `docs/results/benchmarks.md`: run it on a machine that
 * does nothing else. Not those of the server: see `server-results.ts`.
 *
 * `npm run results:benchmarks`; some fifteen minutes on two cores.
 */
import { type Benchmark, writeResultsPage } from "../helpers/results-page.ts";

const BENCHMARKS: readonly Benchmark[] = [
  {
    title: "Training, end to end",
    command: ["test/bench/training.ts"],
    about:
      "Environment steps a second of the `lorasa-halfcheetah` preset (recurrent actor and critic of 64, 16 environments, " +
      "rollouts of 250 steps, 5 epochs). The update bounds it: products of 8,000 × 64 by 64 × 64 to 192 matrices and the " +
      "passes over memory between them, one core for the actor and one for the critic.",
  },
  ...[
    preset(
      "lorasa-ant",
      "Ant 4x2: the simulator bounds it (95 % and more of its threads' time is MuJoCo's own step), so both cores simulate.",
    ),
    preset("lorasa-humanoid", "Humanoid 9|8, full observations: bounded by the simulator too."),
    preset(
      "lorasa-3s5z",
      "The battle 3s5z, eight agents, each with a state and a value: bounded by the updates.",
    ),
    preset(
      "lorasa-mmm2",
      "The battle MMM2, ten agents: the slowest of all, bounded by the updates. Of an actor's step two fifths are matrix " +
        "products, the rest passes over memory (ONNX Runtime's profile of the step).",
    ),
  ],
  {
    title: "One training step against TensorFlow.js",
    command: ["test/bench/train-step.ts"],
    about:
      "The same network, loss, clipping and Adam, one thread each; both losses are compared first. Each figure is the " +
      "median of its rounds, in fresh processes, order reversed each round.",
  },
  {
    title: "MuJoCo alone",
    command: ["test/bench/simulation.ts"],
    about: "HalfCheetah 2x3, 16 environments in two groups, random actions and no inference.",
  },
  {
    title: "Robots, one core each",
    command: [
      "test/bench/simulation.ts",
      "--rounds",
      "3",
      ...["HalfCheetah-2x3", "Walker2d-2x3", "Ant-4x2", "Hopper-3x1", "Swimmer-2x1", "Humanoid-9|8"].flatMap(
        (name) => ["--env", `mujoco/${name}`],
      ),
    ],
    about: "Environment steps a second of one environment on one core, random actions.",
  },
  {
    title: "Battles, one core each",
    command: [
      "test/bench/smac.ts",
      "--tasks",
      ["3m", "2s3z", "3s5z", "1c3s5z", "3s5z_vs_3s6z", "MMM2", "corridor", "27m_vs_30m"]
        .map((name) => `smac/${name}`)
        .join(","),
      "--rounds",
      "3",
    ],
    about:
      "Environment steps a second of one battle on one core with observations, state and masks, random actions.",
  },
];

function preset(name: string, about: string): Benchmark {
  return {
    title: `Training ${name}`,
    command: ["test/bench/training.ts", "--preset", name, "--iterations", "3"],
    about,
  };
}

writeResultsPage(
  {
    path: "docs/results/benchmarks.md",
    title: "Benchmarks",
    command: "npm run results:benchmarks",
    about: "The machine is shared: read ratios, not times.",
  },
  BENCHMARKS,
);
