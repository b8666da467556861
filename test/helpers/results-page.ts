/** Writes a page of `docs/results`: the output of benchmarks, each under its command. Not what they measure. */
import { spawnSync } from "node:child_process";
import { cpus } from "node:os";
import { writeFileAtomic } from "../../src/base/files.ts";

export interface Benchmark {
  readonly title: string;
  readonly command: readonly string[];
  /** What bounds it, and how to read it. */
  readonly about: string;
}

export interface ResultsPage {
  readonly path: string;
  readonly title: string;
  /** That writes the page, such as `npm run results:serving`. */
  readonly command: string;
  /** How its figures are to be read. */
  readonly about: string;
}

/** Runs them one after another. One that misses a bound is reported all the same; one without output ends the process. */
export function writeResultsPage(
  { path, title, command, about }: ResultsPage,
  benchmarks: readonly Benchmark[],
): void {
  const day = new Date().toISOString().slice(0, 10);
  const machine = `${cpus()[0]!.model.trim()}, ${cpus().length} cores, Node ${process.version}, ${day}`;
  const head = [`# ${title}`, "", `Written by \`${command}\` on ${machine}. ${about}`, ""];
  writeFileAtomic(path, [...head, ...benchmarks.flatMap(section)].join("\n"));
}

function section({ title, command, about }: Benchmark): string[] {
  const { stdout } = spawnSync(process.execPath, ["--import", "tsx", ...command], {
    stdio: ["ignore", "pipe", "inherit"],
    encoding: "utf8",
  });
  if (stdout.trim() === "") process.exit(1);
  const words = command.map((word) => (/^[\w./,:=@-]+$/.test(word) ? word : `"${word}"`));
  const shown = `$ node --import tsx ${words.join(" ")}`;
  const lines = [`## ${title}`, "", about, "", "```", shown, stdout.trimEnd(), "```", ""];
  // Should a later one fail, this was not measured in vain.
  process.stdout.write(`${lines.join("\n")}\n`);
  return lines;
}
