#!/usr/bin/env node
/** The command line: one file a command, put together here. */
import { Command, CommanderError } from "commander";
import { VERSION } from "../base/version.ts";
import { adapterCommand } from "./adapter.ts";
import { report } from "./command.ts";
import { compareCommand } from "./compare.ts";
import { evaluateCommand } from "./evaluate.ts";
import { experimentCommand } from "./experiment.ts";
import { exportCommand } from "./export.ts";
import { inspectCommand } from "./inspect.ts";
import { quickstartCommand } from "./quickstart.ts";
import { serveCommand } from "./serve.ts";
import { simulateCommand } from "./simulate.ts";
import { tokenCommand } from "./token.ts";
import { trainCommand } from "./train.ts";

const program = new Command("lorasa")
  .description(
    "Train teams of agents on one shared policy with per-agent low-rank adapters, export them and serve them.",
  )
  .version(VERSION)
  .showHelpAfterError("(add --help for the flags and examples)");

for (const command of [
  quickstartCommand(),
  trainCommand(),
  evaluateCommand(),
  exportCommand(),
  serveCommand(),
  tokenCommand(),
  simulateCommand(),
  adapterCommand(),
  compareCommand(),
  experimentCommand(),
  inspectCommand(),
])
  program.addCommand(command);

for (const command of [program, ...program.commands]) {
  command.exitOverride().configureHelp({ showGlobalOptions: false });
}

try {
  await program.parseAsync();
} catch (error) {
  // Commander has printed what is wrong; its own code is 1 for a mistake.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else process.exitCode = report(error, process.argv.includes("--json"));
}
