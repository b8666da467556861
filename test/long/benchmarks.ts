/**
 * Runs the benchmarks of training one after another and writes `docs/results/benchmarks.md`: run it on a machine that
 * does nothing else. Not those of the server: see `server-results.ts`.
 *
 * `npm run results:benchmarks`; some ten minutes on two cores.
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
  {
    title: "One training step against TensorFlow.js",
    command: ["test/bench/train-step.ts"],
    about:
      "The same network, loss, clipping and Adam, one thread each; both losses are compared first. Each figure is the " +
      "median of its rounds, in fresh processes, order reversed each round.",
  },
  {
    title: "The simulator alone",
    command: ["test/bench/simulation.ts"],
    about: "HalfCheetah 2x3, 16 environments in two groups, random actions and no inference.",
  },
];

writeResultsPage(
  {
    path: "docs/results/benchmarks.md",
    title: "Benchmarks",
    command: "npm run results:benchmarks",
    about: "The machine is shared: read ratios, not times.",
  },
  BENCHMARKS,
);
