/** What of an experiment's runs is kept in the repository, and how it becomes finished runs again. Not who runs them. */
import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";

/** Files of the experiment's own folder; times are carried with the results, whose checkpoints are not. */
const BESIDE = /^(report\.(json|md)|inference\.json)$|\.svg$/;
const TIMES = "inference.json";

/** Results that are kept become finished runs, and times measured of them theirs; what is in `runs` is left as it is. */
export function bringBack(kept: string, runs: string): void {
  const results = join(kept, "runs");
  for (const file of existsSync(results) ? readdirSync(results) : [])
    copyMissing(join(results, file), join(runs, basename(file, ".json")), "result.json");
  if (existsSync(join(kept, TIMES))) copyMissing(join(kept, TIMES), runs, TIMES);
}

/** Copies results and the report. */
export function keep(runs: string, kept: string): void {
  mkdirSync(join(kept, "runs"), { recursive: true });
  for (const entry of existsSync(runs) ? readdirSync(runs) : []) {
    const result = join(runs, entry, "result.json");
    if (existsSync(result)) copyFileSync(result, join(kept, "runs", `${entry}.json`));
    else if (BESIDE.test(entry)) copyFileSync(join(runs, entry), join(kept, entry));
  }
}

function copyMissing(from: string, folder: string, name: string): void {
  if (existsSync(join(folder, name))) return;
  mkdirSync(folder, { recursive: true });
  copyFileSync(from, join(folder, name));
}
