/** The flags of `lorasa train --push`, and its words for a person. Not what is sent and when (`push/`). */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { parseAddress } from "../../server/client/address.ts";
import { LorasaError } from "../base/errors.ts";
import { formatCount } from "../base/format.ts";
import type { TrainConfig } from "../training/config.ts";
import { wholeNumber } from "./command.ts";
import type { PushOutcome } from "./push/delivery.ts";
import { AdapterPusher, type PushSummary } from "./push/pusher.ts";
import { threadSender } from "./push/thread-sender.ts";
import { readToken } from "./serve.ts";

export interface PushFlags {
  readonly push?: string;
  readonly pushModel?: string;
  readonly pushTokenFile?: string;
  readonly pushCaFile?: string;
  readonly pushEvery?: number;
  readonly pushAlways?: boolean;
  readonly out: string;
}

/** What `--json` adds to a run's result. */
export type PushReport = PushSummary & { readonly server: string; readonly model: string };

/** A server that is starting or reloading is waited for, in the thread that sends. */
const RETRIES = 4;
/** Candidates over a whole run unless asked otherwise. */
const CANDIDATES = 20;
const NEEDS_PUSH = ["pushModel", "pushTokenFile", "pushCaFile", "pushEvery", "pushAlways"] as const;

export function addPushOptions(command: Command): Command {
  return command
    .optionsGroup("Pushing:")
    .option("--push <url>", "send adapters to a running server as they improve (below)")
    .option("--push-model <name>", "name of the served team (default: team)")
    .option("--push-token-file <file>", "file with the server's management token")
    .option("--push-ca-file <file>", "PEM file of the authorities of an https:// server's certificate")
    .option(
      "--push-every <n>",
      "environment steps between candidates (default: a twentieth of the steps)",
      wholeNumber(1),
    )
    .option("--push-always", "send every candidate, whatever its return");
}

export const PUSH_HELP = `
With --push, adapters go from memory to a server of the same backbone while they are trained. The first ones are sent;
then, every --push-every steps and at the end, those under which the mean return of the last 20 episodes is at least
that of the best sent before. Training never waits for the server, and goes on when it is away or refuses.
  lorasa train --steps 2M --switch-at 1M --out runs/lorasa        (Ctrl-C once adapters have started)
  lorasa export runs/lorasa/switch --mode factored --out repository
  lorasa serve repository --token-file token.txt
  lorasa train --resume --out runs/lorasa --push http://127.0.0.1:8000 --push-token-file token.txt`;

/** @throws LORASA_FLAG for what cannot be pushed, before anything is trained; LORASA_FILE for the token's file. */
export function startPusher(
  flags: PushFlags,
  { sharing, steps }: TrainConfig,
  warn: (line: string) => void,
): AdapterPusher | undefined {
  const { push: url } = flags;
  if (url === undefined) {
    const alone = NEEDS_PUSH.find((name) => flags[name] !== undefined);
    if (alone === undefined) return undefined;
    const flag = alone.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw refusal(`--${flag}`, "--push <url> with it", "it alone");
  }
  parseAddress(url, "--push");
  if (sharing !== "lorasa") throw refusal("--push", "--sharing lorasa, which has adapters", sharing);
  const target = {
    url,
    model: modelOf(flags),
    retries: RETRIES,
    ...(flags.pushTokenFile !== undefined && { token: readToken(flags.pushTokenFile) }),
    ...(flags.pushCaFile !== undefined && { caFile: flags.pushCaFile }),
  };
  return new AdapterPusher({
    sender: threadSender(target),
    every: flags.pushEvery ?? Math.ceil(steps / CANDIDATES),
    steps,
    always: flags.pushAlways ?? false,
    onProblem: (outcome) => warn(problemLine(outcome, flags)),
  });
}

export function pushReport(flags: PushFlags, summary: PushSummary): PushReport {
  return { server: flags.push ?? "", model: modelOf(flags), ...summary };
}

/** Lines of a run's summary. */
export function pushText({
  server,
  model,
  pushed,
  rejected,
  lost,
  versions,
  envSteps,
  problem,
}: PushReport): string[] {
  const others = [
    [rejected, "rejected"],
    [lost, "lost"],
  ] as const;
  const counts = [
    `${pushed} pushed`,
    ...others.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`),
  ];
  const made = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `adapters    ${counts.join(", ")}: ${server}, ${model}`,
    ...(envSteps === null
      ? []
      : [`            of step ${formatCount(envSteps)}, versions ${made.join(", ")}`]),
    ...(problem === null ? [] : [`            last problem: ${problem}`]),
  ];
}

function problemLine({ kind, problem }: Exclude<PushOutcome, { kind: "pushed" }>, flags: PushFlags): string {
  const line = `adapters were not pushed, training goes on: ${problem}`;
  return kind === "unfit" ? `${line}; serve the backbone of this run: ${exportLine(flags)}` : line;
}

/** The folder of the shared policy, which a run that began with adapters does not have. */
function exportLine(flags: PushFlags): string {
  const kept = join(flags.out, "switch");
  const folder = existsSync(kept) ? kept : join(flags.out, "checkpoint");
  return `lorasa export ${folder} --mode factored --name ${modelOf(flags)} --out <repository>`;
}

function modelOf({ pushModel = "team" }: PushFlags): string {
  return pushModel;
}

function refusal(asked: string, expected: string, received: string): LorasaError {
  return new LorasaError("LORASA_FLAG", { asked, expected, received });
}
