/** `lorasa compare`: verifies that every way to run a team gives the same actions, then measures what each costs. */
import { Command, InvalidArgumentError, Option } from "commander";
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
  readonly device: Device;
  readonly quick?: boolean;
  readonly out: string;
  readonly json?: boolean;
}

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
    .option("--modes <list>", `of ${MODES.join(",")} (default: all that the team can have)`, modes)
    .addOption(new Option("--device <name>", "device").choices(DEVICES).default("cpu"))
    .option("--quick", "fewer sizes and three short rounds")
    .option("--out <dir>", "folder of compare.json and report.html", "runs/compare")
    .addHelpText(
      "after",
      `
Modes: merged (a session an agent), stacked (all agents in one graph), factored (a backbone and a bank of adapters),
rows (the same, rows of any agents in any order). Teams of other sizes than the checkpoint's repeat its weights.

Examples:
  lorasa compare runs/lorasa/checkpoint --out runs/compare
  lorasa compare runs/lorasa/checkpoint --quick --agents 2,128 --rows 1 --json`,
    )
    .action((checkpoint: string, flags: CompareFlags) => answer(flags, () => runCompare(checkpoint, flags)));
}

async function runCompare(checkpoint: string, flags: CompareFlags): Promise<CommandAnswer> {
  const { team } = loadRun(checkpoint);
  const { agents, rows, rounds, modes: chosen, device, quick = false } = flags;
  const result = await compareTeam(team, {
    device,
    quick,
    ...(agents && { agents }),
    ...(rows && { rows }),
    ...(rounds !== undefined && { rounds }),
    ...(chosen && { modes: chosen }),
    onProgress: (line) => process.stderr.write(`compare: ${line}\n`),
  });
  const files = await writeComparison(result, flags.out, commandLine(checkpoint, flags));
  const text = [compareText(result), "", `report  ${files.report}`, `numbers ${files.json}`].join("\n");
  return { json: { ...compareJson(result), files }, text };
}

function commandLine(checkpoint: string, flags: CompareFlags): string {
  const lists = [
    ["--agents", flags.agents],
    ["--rows", flags.rows],
    ["--modes", flags.modes],
  ] as const;
  return [
    "lorasa compare",
    checkpoint,
    ...lists.filter(([, list]) => list !== undefined).map(([name, list]) => `${name} ${list!.join(",")}`),
    ...(flags.rounds === undefined ? [] : [`--rounds ${flags.rounds}`]),
    ...(flags.device === "cpu" ? [] : [`--device ${flags.device}`]),
    ...(flags.quick ? ["--quick"] : []),
    `--out ${flags.out}`,
  ].join(" ");
}

function numbers(text: string): number[] {
  return text.split(",").map((part) => wholeNumber(1)(part.trim()));
}

function modes(text: string): Mode[] {
  return text.split(",").map((part) => {
    const mode = MODES.find((known) => known === part.trim());
    if (mode) return mode;
    throw new InvalidArgumentError(`expected modes of ${MODES.join(", ")}.`);
  });
}
