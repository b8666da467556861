/**
 * Runs ready experiments and keeps what they found: for each, the result of every finished run and the report, under
 * `docs/results/experiments/<name>`. Runs that are kept there already are not run again, on any machine.
 *
 *     npm run results:experiments -- main-halfcheetah [battles …] [--jobs 2] [--only PATTERN]
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";

const KEPT = "docs/results/experiments";
const REPORT = /^report\.(json|md)$|\.svg$/;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { jobs: { type: "string" }, only: { type: "string" } },
});

for (const name of positionals) {
  const [runs, kept] = [join("runs", "experiments", name), join(KEPT, name)];
  bringBack(join(kept, "runs"), runs);
  const flags = Object.entries(values).flatMap(([flag, value]) => [`--${flag}`, value]);
  const { status } = spawnSync(
    process.execPath,
    ["--import", "tsx", "src/cli/main.ts", "experiment", join("experiments", `${name}.json`), ...flags],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  keep(runs, kept);
  if (status !== 0) process.exit(status ?? 1);
}

/** Results that are kept become finished runs. */
function bringBack(kept: string, runs: string): void {
  for (const file of existsSync(kept) ? readdirSync(kept) : []) {
    const folder = join(runs, basename(file, ".json"));
    if (existsSync(join(folder, "result.json"))) continue;
    mkdirSync(folder, { recursive: true });
    copyFileSync(join(kept, file), join(folder, "result.json"));
  }
}

function keep(runs: string, kept: string): void {
  mkdirSync(join(kept, "runs"), { recursive: true });
  for (const entry of existsSync(runs) ? readdirSync(runs) : []) {
    const result = join(runs, entry, "result.json");
    if (existsSync(result)) copyFileSync(result, join(kept, "runs", `${entry}.json`));
    else if (REPORT.test(entry)) copyFileSync(join(runs, entry), join(kept, entry));
  }
}
