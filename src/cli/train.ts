/** `lorasa train`: trains a team and writes its checkpoint. */
import { join } from "node:path";
import { Command, Option } from "commander";
import { LorasaError } from "../base/errors.ts";
import { readJson } from "../base/files.ts";
import { formatCount } from "../base/format.ts";
import { ALGORITHMS, parseTrainConfig, SHARING, type TrainConfig, trainConfig } from "../training/config.ts";
import { iterationMs } from "../training/device-time.ts";
import { Progress } from "../training/log/progress.ts";
import { defaultConfig, PRESETS, preset } from "../training/presets.ts";
import { type TrainResult, type TrainRunOptions, train } from "../training/run.ts";
import { loadRun } from "../training/saved-run.ts";
import { isRemote } from "../training/training-environments.ts";
import { addRuntimeOptions, type DeviceTest, openRuntime, type RuntimeFlags } from "./backend.ts";
import { answer, numberIn, wholeNumber, withJson } from "./command.ts";
import { figuresText } from "./play/figures.ts";
import { addPushOptions, PUSH_HELP, type PushFlags, pushReport, pushText, startPusher } from "./push.ts";
import { readToken } from "./serve.ts";

interface TrainFlags extends PushFlags, RuntimeFlags {
  readonly env?: string;
  readonly algo?: TrainConfig["algo"];
  readonly sharing?: TrainConfig["sharing"];
  readonly steps?: number;
  readonly switchAt?: number;
  readonly rank?: number;
  readonly alpha?: number;
  readonly seed?: number;
  readonly evaluateEvery?: number;
  readonly saveEvery?: number;
  readonly set: readonly string[];
  readonly preset?: string;
  readonly config?: string;
  readonly from?: string;
  readonly resume?: boolean;
  readonly quiet?: boolean;
  readonly listen?: string;
  readonly tokenFile?: string;
  readonly simulatorTimeout?: number;
  readonly json?: boolean;
}

/** Flags that set the configuration's field of the same name. */
const FIELDS = [
  "env",
  "algo",
  "sharing",
  "steps",
  "switchAt",
  "rank",
  "alpha",
  "seed",
  "evaluateEvery",
  "saveEvery",
] as const;

export function trainCommand(): Command {
  const presets = Object.entries(PRESETS).map(([name, { about }]) => `  ${name.padEnd(20)} ${about}`);
  const command = withJson(new Command("train"))
    .description(
      "Train a team: a shared policy, then a low-rank adapter for each agent (LoRASA), or a baseline.",
    )
    .option("--env <task>", "environment, such as mujoco/HalfCheetah-2x3")
    .addOption(new Option("--algo <name>", "algorithm").choices(ALGORITHMS))
    .addOption(new Option("--sharing <kind>", "how agents share the policy").choices(SHARING))
    .option("--steps <n>", "environment steps over all phases, such as 1M", wholeNumber(1))
    .option(
      "--switch-at <x>",
      "when adapters start: a fraction of the steps, or a step",
      numberIn(1e-9, 1e12),
    )
    .option("--rank <r>", "rank of the adapters", wholeNumber(1))
    .option("--alpha <a>", "adapters are multiplied by alpha / rank", numberIn(1e-6, 1e6))
    .option("--seed <s>", "seed of everything that is random", wholeNumber(0))
    .option("--evaluate-every <n>", "steps between deterministic evaluations", wholeNumber(0))
    .option("--save-every <n>", "steps between checkpoints", wholeNumber(0))
    .option(
      "--set <field=value>",
      "any other field of the configuration; repeatable",
      (text, all: string[]) => [...all, text],
      [],
    )
    .option("--out <dir>", "folder of the run", "runs/train")
    .option("--preset <name>", "published settings (below)")
    .option("--config <file>", "JSON file of configuration fields")
    .option(
      "--from <checkpoint>",
      "start from another run's checkpoint, for example adapters on a shared policy",
    )
    .option("--resume", "go on with the run in --out, exactly as if it had not stopped")
    .option("--listen <host:port>", "where simulators connect, with --env remote (docs/remote.md)")
    .option("--token-file <file>", "simulators must send the token in it, with --env remote")
    .option(
      "--simulator-timeout <seconds>",
      "how long a simulator's step or reset may take, with --env remote (default: 60)",
      numberIn(0.1, 86_400),
    )
    .option("--quiet", "no progress line");
  return addPushOptions(addRuntimeOptions(command))
    .addHelpText(
      "after",
      `
Presets:
${presets.join("\n")}

Fields of --set and --config:
${fieldHelp()}

Examples:
  lorasa train --env mujoco/HalfCheetah-2x3 --steps 1M --out runs/cheetah
  lorasa train --preset harl-halfcheetah --steps 1M --seed 3 --out runs/harl-3
  lorasa train --preset lorasa-halfcheetah --steps 2M --switch-at 1M --set envs=32 --out runs/lorasa
  lorasa train --preset on-policy-3s5z --steps 2M --out runs/3s5z
  lorasa train --env remote --listen 127.0.0.1:9100 --set envs=4 --out runs/remote
  lorasa train --resume --out runs/lorasa
Ctrl-C ends after the iteration under way and writes a checkpoint; a second one ends at once.
${PUSH_HELP}`,
    )
    .action((flags: TrainFlags) => answer(flags, () => runTrain(flags)));
}

async function runTrain(flags: TrainFlags): Promise<{ json: object; text: string }> {
  const config = resolveConfig(flags);
  const remote = remoteOf(config, flags);
  const progress = new Progress({ quiet: flags.quiet ?? false });
  const warn = (line: string): void => {
    if (flags.quiet) process.stderr.write(`lorasa: ${line}\n`);
    else progress.note(line);
  };
  const runtime = await openRuntime(flags, deviceTest(config), (line) => progress.note(line));
  const pusher = startPusher(flags, config, warn);
  const stop = new AbortController();
  const onSignal = (): void => {
    if (stop.signal.aborted) process.exit(130);
    progress.note("stopping after this iteration; press Ctrl-C again to end at once");
    stop.abort();
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal);
  try {
    const result = await train({
      config,
      directory: flags.out,
      runtime,
      signal: stop.signal,
      onProgress: (state) => progress.update(state),
      onNote: (line) => progress.note(line),
      ...(pusher && { onTeam: (team, at) => pusher.offer(team, at) }),
      ...(flags.resume && { resume: true }),
      ...(flags.from !== undefined && { from: flags.from }),
      ...(remote && { remote }),
    });
    progress.close();
    const pushed = pusher && pushReport(flags, await pusher.finish());
    if (result.interrupted) process.exitCode = 130;
    return {
      json: {
        ...result,
        device: runtime.device,
        peakMemoryBytes: process.resourceUsage().maxRSS * 1024,
        ...(pushed && { push: pushed }),
      },
      text: summary(result, config, flags, pushed && pushText(pushed)),
    };
  } finally {
    progress.close();
    await pusher?.close();
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal);
  }
}

/** @throws LORASA_FLAG for an address that others reach, without a token, or for another task than simulators'. */
function remoteOf(
  config: TrainConfig,
  { listen, tokenFile, simulatorTimeout }: TrainFlags,
): TrainRunOptions["remote"] {
  if (!isRemote(config)) {
    const flags = { "--listen": listen, "--token-file": tokenFile, "--simulator-timeout": simulatorTimeout };
    const [asked] = Object.entries(flags).find(([, value]) => value !== undefined) ?? [];
    if (asked === undefined) return undefined;
    throw new LorasaError("LORASA_FLAG", { asked, expected: "--env remote", received: config.env });
  }
  if (listen === undefined) return undefined;
  if (tokenFile === undefined && !/^(127\.|localhost:|\[::1\])/.test(listen)) {
    throw new LorasaError("LORASA_FLAG", {
      asked: `--listen ${listen}`,
      expected: "an address of this machine alone, or a token",
      received: "no token",
      mend: "add --token-file FILE (lorasa token makes one), or listen on 127.0.0.1",
    });
  }
  return {
    listen,
    ...(tokenFile !== undefined && { token: readToken(tokenFile) }),
    ...(simulatorTimeout !== undefined && { timeoutSeconds: simulatorTimeout }),
  };
}

function deviceTest(config: TrainConfig): DeviceTest {
  return {
    what: "an iteration without its simulator",
    measure: (runtime) => iterationMs(runtime, config),
  };
}

/** Preset or run to resume, then the file, then flags: later ones win. */
function resolveConfig(flags: TrainFlags): TrainConfig {
  const base = flags.resume
    ? loadRun(join(flags.out, "checkpoint")).saved.config
    : flags.preset !== undefined
      ? preset(flags.preset)
      : defaultConfig(flags.env ?? "mujoco/HalfCheetah-2x3", flags.steps ?? 1_000_000);
  const file = flags.config === undefined ? {} : (readJson(flags.config, "configuration") as object);
  const fromFlags = Object.fromEntries(
    FIELDS.filter((name) => flags[name] !== undefined).map((name) => [name, flags[name]]),
  );
  return parseTrainConfig({
    ...base,
    ...file,
    ...fromFlags,
    ...Object.fromEntries(flags.set.map(assignment)),
  });
}

/** `field=value`, the value as JSON where it is, else as text. */
function assignment(text: string): [string, unknown] {
  const at = text.indexOf("=");
  if (at < 1)
    throw new LorasaError("LORASA_FLAG", { asked: `--set ${text}`, expected: "field=value", received: text });
  const value = text.slice(at + 1);
  try {
    return [text.slice(0, at), JSON.parse(value)];
  } catch {
    return [text.slice(0, at), value];
  }
}

function fieldHelp(): string {
  return Object.entries(trainConfig.shape)
    .map(([name, field]) => `  ${name.padEnd(20)} ${field.description ?? ""}`.trimEnd())
    .join("\n");
}

function summary(
  result: TrainResult,
  config: TrainConfig,
  flags: TrainFlags,
  pushed: readonly string[] = [],
): string {
  const phases = result.phases.map(
    ({ phase, envSteps, return: value }) =>
      `  ${phase.padEnd(9)} to step ${formatCount(envSteps)}: return ${value.toFixed(1)}`,
  );
  const { mean, std } = result.return;
  const told = figuresText(result.figures);
  const reached = Number.isFinite(mean) ? `return ${mean.toFixed(1)} ± ${std.toFixed(1)}` : "return –";
  return [
    result.interrupted ? "interrupted; a checkpoint was written" : "finished",
    ...phases,
    `${reached}${told && `, ${told}`}, ${formatCount(result.envStepsPerSecond)} environment steps a second`,
    `checkpoint  ${result.checkpoint}`,
    ...pushed,
    ...(result.interrupted ? [`go on       ${resumeLine(flags)}`] : nextLines(result.checkpoint, config)),
  ].join("\n");
}

function resumeLine({ out, listen, tokenFile }: TrainFlags): string {
  const token = tokenFile === undefined ? "" : ` --token-file ${tokenFile}`;
  return `lorasa train --resume --out ${out}${listen === undefined ? "" : ` --listen ${listen}${token}`}`;
}

/** Tasks of simulators that connect cannot be played without them. */
function nextLines(checkpoint: string, config: TrainConfig): string[] {
  const exported = `lorasa export ${checkpoint} --mode factored --out models-repository`;
  const lines = isRemote(config)
    ? [exported, "lorasa serve models-repository"]
    : [`lorasa evaluate ${checkpoint}`, exported];
  return lines.map((line, index) => (index === 0 ? "next" : "").padEnd(12) + line);
}
