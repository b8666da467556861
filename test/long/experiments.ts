/**
 * Runs ready experiments and keeps what they found: for each, the result of every finished run, the times measured of
 * them and the report, under `docs/results/experiments/<name>`. Runs that are kept there already are not run again, on
 * any machine.
 *
 *     npm run results:experiments -- main-halfcheetah [battles …] [--jobs 2] [--only PATTERN] [--report-only]
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bringBack, keep } from "../helpers/kept-results.ts";

const KEPT = "docs/results/experiments";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { jobs: { type: "string" }, only: { type: "string" }, "report-only": { type: "boolean" } },
});

for (const name of positionals) {
  const [runs, kept] = [join("runs", "experiments", name), join(KEPT, name)];
  bringBack(kept, runs);
  const flags = Object.entries(values).flatMap(([flag, value]) =>
    value === true ? [`--${flag}`] : [`--${flag}`, `${value}`],
  );
  const { status } = spawnSync(
    process.execPath,
    ["--import", "tsx", "src/cli/main.ts", "experiment", join("experiments", `${name}.json`), ...flags],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  keep(runs, kept);
  if (status !== 0) process.exit(status ?? 1);
}
