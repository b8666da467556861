/** `lorasa quickstart`: the whole path on one small real task, in about three minutes: train, export, serve, swap, compare. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import type { ExportMode } from "../../exporters/contents.ts";
import { exportTeam } from "../../exporters/export-team.ts";
import { type RunningServer, startServer } from "../../server/app.ts";
import { ServerClient } from "../../server/client.ts";
import { LorasaError } from "../base/errors.ts";
import { formatBytes, formatCount, formatDuration, formatMicroseconds } from "../base/format.ts";
import { mean } from "../base/statistics.ts";
import { createRuntime } from "../runtime/onnxruntime.ts";
import { parseTrainConfig } from "../training/config.ts";
import { Progress } from "../training/log/progress.ts";
import { preset } from "../training/presets.ts";
import { type PhaseResult, type TrainResult, train } from "../training/run.ts";
import { loadRun } from "../training/saved-run.ts";
import { answer, type CommandAnswer, wholeNumber, withJson } from "./command.ts";
import { compareTeam } from "./compare/compare-team.ts";
import { compareJson, compareText, writeComparison } from "./compare/report.ts";
import { playExported } from "./evaluate.ts";
import { type SimulationResult, simulate } from "./simulate.ts";

interface QuickstartFlags {
  readonly steps: number;
  readonly seed: number;
  readonly out?: string;
  readonly json?: boolean;
}

const MODES: readonly ExportMode[] = ["merged", "stacked", "factored"];
const EPISODES = 4;

export function quickstartCommand(): Command {
  return withJson(new Command("quickstart"))
    .description(
      "Train, export, serve, simulate, swap an adapter and compare: the whole path in about three minutes.",
    )
    .option("--steps <n>", "environment steps to train", wholeNumber(20_000), preset("quickstart").steps)
    .option("--seed <s>", "seed", wholeNumber(0), 1)
    .option("--out <dir>", "folder for everything it makes (default: a new one under runs/)")
    .action((flags: QuickstartFlags) => answer(flags, () => quickstart(flags)));
}

async function quickstart(flags: QuickstartFlags): Promise<CommandAnswer> {
  const started = performance.now();
  const out = flags.out ?? newFolder();
  const repository = join(out, "repository");
  const trained = await trainTeam(flags, join(out, "train"));
  const { team } = loadRun(trained.checkpoint);
  say("3/6", "export merged, stacked and factored graphs, each verified against the trained network");
  const exports = MODES.map((mode) => exportTeam(team, { mode, repository, name: mode }));
  for (const { mode, bytes, maxAbsDiff } of exports) {
    detail(
      `${mode.padEnd(8)} ${formatBytes(bytes).padStart(8)}, largest difference ${maxAbsDiff.toExponential(1)}`,
    );
  }
  const served = await serveAndSwap(repository, trained.checkpoint, flags.seed);
  say("6/6", "compare merged, stacked and factored inference");
  const comparison = await compareTeam(team, { quick: true, onProgress: passing });
  await writeComparison(comparison, join(out, "compare"), `lorasa compare ${trained.checkpoint} --quick`);
  passing("");
  process.stderr.write(`\n${compareText(comparison)}\n`);
  const seconds = (performance.now() - started) / 1000;
  return summary({ out, trained, exports, served, comparison, seconds });
}

type Trained = TrainResult & { readonly untrained: number };

async function trainTeam(flags: QuickstartFlags, directory: string): Promise<Trained> {
  const config = parseTrainConfig({ ...preset("quickstart"), steps: flags.steps, seed: flags.seed });
  say(
    "1/6",
    `train a LoRASA team on ${config.env}: ${formatCount(config.steps)} steps, a shared policy and then adapters`,
  );
  const progress = new Progress();
  try {
    const result = await train({
      config,
      directory,
      runtime: createRuntime("cpu"),
      onProgress: (state) => progress.update(state),
    });
    progress.close();
    const [before, ...phases] = result.phases as readonly [PhaseResult, ...PhaseResult[]];
    say("2/6", "look at what was learnt");
    detail(`untrained policy   return ${before.return.toFixed(0)}`);
    for (const { phase, envSteps, return: value } of phases) {
      detail(
        `${phase === "shared" ? "shared policy" : "with adapters"}      return ${value.toFixed(0)} at step ${formatCount(envSteps)}`,
      );
    }
    detail(`${formatCount(result.envStepsPerSecond)} environment steps a second`);
    return { ...result, untrained: before.return };
  } finally {
    progress.close();
  }
}

interface Served {
  readonly returns: Readonly<Record<string, number>>;
  readonly inProcess: Readonly<Record<string, number>>;
  readonly simulation: SimulationResult;
  readonly swapUs: number;
}

/** Serves every export, plays the same episodes over HTTP and in process, and replaces an adapter under way. */
async function serveAndSwap(repository: string, checkpoint: string, seed: number): Promise<Served> {
  const token = `quickstart-${process.pid}-${Date.now()}`;
  const server = await startServer({ repository, port: 0, token });
  try {
    say("4/6", `serve them at ${server.url} and drive the simulator over HTTP`);
    const returns: Record<string, number> = {};
    const inProcess: Record<string, number> = {};
    for (const model of MODES) {
      const { mean: served, latencyUs } = await simulate({
        server: server.url,
        model,
        episodes: EPISODES,
        envs: EPISODES,
        seed,
      });
      returns[model] = served;
      inProcess[model] = mean(
        (await playExported(join(repository, model), { episodes: EPISODES, seed })).map((e) => e.return),
      );
      const equal = served === inProcess[model] ? "equal in process" : `in process ${inProcess[model]}`;
      detail(
        `${model.padEnd(8)} return ${served.toFixed(2)} (${equal}), request p50 ${formatMicroseconds(latencyUs.p50)}`,
      );
    }
    say("5/6", "replace agent_0's adapter while the simulator runs");
    const { simulation, swapUs } = await swapUnderWay(server, token, checkpoint, seed);
    const versions = Object.entries(simulation.adapterVersions).map(
      ([agent, seen]) => `${agent} ${seen.join(" → ")}`,
    );
    detail(
      `adapter versions in replies: ${versions.join(", ")}; no request failed; a push took ${formatMicroseconds(swapUs)}`,
    );
    detail(`return ${simulation.mean.toFixed(2)} with the same adapter pushed again: unchanged`);
    return { returns, inProcess, simulation, swapUs };
  } finally {
    await server.close();
  }
}

async function swapUnderWay(
  server: RunningServer,
  token: string,
  checkpoint: string,
  seed: number,
): Promise<{ simulation: SimulationResult; swapUs: number }> {
  const client = new ServerClient(server.url, { token });
  let swap: Promise<number> | undefined;
  const push = async (): Promise<number> => {
    const started = performance.now();
    await client.pushAdapterFolder("factored", "agent_0", join(checkpoint, "adapters", "agent_0"));
    return (performance.now() - started) * 1000;
  };
  try {
    const simulation = await simulate({
      server: server.url,
      model: "factored",
      episodes: EPISODES,
      envs: EPISODES,
      seed,
      onStep: (requests) => {
        if (requests === 300) swap = push();
      },
    });
    if (!swap)
      throw new LorasaError("LORASA_SERVER", {
        asked: "a swap under way",
        expected: "at least 300 requests",
        received: "fewer",
      });
    return { simulation, swapUs: await swap };
  } finally {
    client.close();
  }
}

interface Findings {
  readonly out: string;
  readonly trained: Trained;
  readonly exports: readonly { readonly mode: string; readonly maxAbsDiff: number }[];
  readonly served: Served;
  readonly comparison: Awaited<ReturnType<typeof compareTeam>>;
  readonly seconds: number;
}

function summary({ out, trained, exports, served, comparison, seconds }: Findings): CommandAnswer {
  const { untrained } = trained;
  const json = { out, trained, exports, served, comparison: compareJson(comparison), seconds };
  const text = [
    "",
    `Done in ${formatDuration(seconds)}. The return went from ${untrained.toFixed(0)} to ${trained.return.mean.toFixed(0)}; merged, stacked and`,
    `factored agree to ${comparison.maxAbsDiff.toExponential(1)}; the served return equals the one in process.`,
    "",
    `  checkpoint   ${trained.checkpoint}`,
    `  repository   ${join(out, "repository")}        npm run lorasa -- serve ${join(out, "repository")}`,
    `  report       ${join(out, "compare", "report.html")}`,
    `  curves       ${join(out, "train")}            tensorboard --logdir ${join(out, "train")}`,
  ].join("\n");
  return { json, text };
}

function say(step: string, text: string): void {
  process.stderr.write(`\n[${step}] ${text}\n`);
}

function detail(text: string): void {
  process.stderr.write(`      ${text}\n`);
}

/** A line that the next one replaces; nothing where lines cannot be replaced. */
function passing(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K      ${text}\r`);
}

/** `runs/quickstart`, or with the next free number behind it. */
function newFolder(): string {
  for (let count = 1; ; count++) {
    const folder = join("runs", count === 1 ? "quickstart" : `quickstart-${count}`);
    if (!existsSync(folder)) return folder;
  }
}
