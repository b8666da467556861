/** `lorasa compare`: verifies that every way to run a team gives the same actions, then measures what each costs. */
import { Command, InvalidArgumentError, Option } from "commander";
import { ADAPTER_DTYPES, type Precision } from "../checkpoint/repository.ts";
import { DEVICES, type Device } from "../runtime/session.ts";
import { loadRun } from "../training/saved-run.ts";
import { answer, type CommandAnswer, wholeNumber, withJson } from "./command.ts";
import { compareTeam } from "./compare/compare-team.ts";
import { MODES, type Mode } from "./compare/contract.ts";
import { compareJson, compareText, writeComparison } from "./compare/report.ts";

interface CompareFlags {
  readonly agents?: readonly number[];
  readonly rows?: readonly number[];
  readonly rounds?: number;
  readonly modes?: readonly Mode[];
  readonly device: readonly Device[];
  readonly precision: readonly Precision[];
  readonly adapters?: number;
  readonly quick?: boolean;
  readonly out: string;
  readonly json?: boolean;
}

// A table's own keys.
const PRECISIONS = Object.keys(ADAPTER_DTYPES) as Precision[];

export function compareCommand(): Command {
  return withJson(new Command("compare"))
    .description("Verify that merged, stacked and factored exports agree, measure them and say which to use.")
    .argument("<checkpoint>", "folder with lorasa.json")
    .option("--agents <list>", "sizes of the team, such as 2,8,27 (default: its own, 8, 27 and 64)", numbers)
    .option("--rows <list>", "rows that each agent sends a step (default: 1,8,64)", numbers)
    .option(
      "--rounds <n>",
      "times that everything is measured in fresh processes (default: 5)",
      wholeNumber(1),
    )
    .option("--modes <list>", `of ${MODES.join(",")} (default: all that the team can have)`, listOf(MODES))
    .addOption(
      new Option("--device <list>", `of ${DEVICES.join(",")}, measured side by side`)
        .argParser(listOf(DEVICES))
        .default(["cpu"], "cpu"),
    )
    .addOption(
      new Option("--precision <list>", `of ${PRECISIONS.join(",")}`)
        .argParser(listOf(PRECISIONS))
        .default(["fp32"], "fp32"),
    )
    .option(
      "--adapters <n>",
      "compare the memory of so many adapters too: on one backbone, and as merged graphs",
      wholeNumber(1),
    )
    .option("--quick", "fewer sizes and three short rounds")
    .option("--out <dir>", "folder of compare.json and report.html", "runs/compare")
    .addHelpText(
      "after",
      `
Modes: merged (a session an agent), stacked (all agents in one graph), factored (a backbone and a bank of adapters),
rows (the same, rows of any agents in any order). Teams of other sizes than the checkpoint's repeat its weights.
A device that cannot be used is named and left out where another one can.

Examples:
  lorasa compare runs/lorasa/checkpoint --out runs/compare
  lorasa compare runs/lorasa/checkpoint --quick --agents 2,128 --rows 1 --json
  lorasa compare runs/lorasa/checkpoint --device cpu,webgpu --precision fp32,fp16 --adapters 1000`,
    )
    .action((checkpoint: string, flags: CompareFlags) => answer(flags, () => runCompare(checkpoint, flags)));
}

async function runCompare(checkpoint: string, flags: CompareFlags): Promise<CommandAnswer> {
  const { team } = loadRun(checkpoint);
  const { agents, rows, rounds, modes, adapters, quick = false } = flags;
  const result = await compareTeam(team, {
    devices: flags.device,
    precisions: flags.precision,
    quick,
    ...(agents && { agents }),
    ...(rows && { rows }),
    ...(rounds !== undefined && { rounds }),
    ...(modes && { modes }),
    ...(adapters !== undefined && { adapters }),
    onProgress: (line) => process.stderr.write(`compare: ${line}\n`),
  });
  const files = await writeComparison(result, flags.out, commandLine(checkpoint, flags));
  const text = [compareText(result), "", `report  ${files.report}`, `numbers ${files.json}`].join("\n");
  return { json: { ...compareJson(result), files }, text };
}

/** What does it again, defaults left out. */
function commandLine(checkpoint: string, flags: CompareFlags): string {
  const given: readonly (readonly [flag: string, value: string | undefined])[] = [
    ["agents", flags.agents?.join(",")],
    ["rows", flags.rows?.join(",")],
    ["modes", flags.modes?.join(",")],
    ["rounds", flags.rounds?.toString()],
    ["device", unless("cpu", flags.device.join(","))],
    ["precision", unless("fp32", flags.precision.join(","))],
    ["adapters", flags.adapters?.toString()],
  ];
  return [
    "lorasa compare",
    checkpoint,
    ...given.flatMap(([flag, value]) => (value === undefined ? [] : [`--${flag} ${value}`])),
    ...(flags.quick ? ["--quick"] : []),
    `--out ${flags.out}`,
  ].join(" ");
}

function unless(usual: string, value: string): string | undefined {
  return value === usual ? undefined : value;
}

function numbers(text: string): number[] {
  return text.split(",").map((part) => wholeNumber(1)(part.trim()));
}

/** Reads names that are known, each once. */
function listOf<Name extends string>(known: readonly Name[]): (text: string) => Name[] {
  return (text) => {
    const names = text.split(",").map((part) => {
      const name = known.find((each) => each === part.trim());
      if (name) return name;
      throw new InvalidArgumentError(`expected names of ${known.join(", ")}, with commas between them.`);
    });
    return [...new Set(names)];
  };
}
