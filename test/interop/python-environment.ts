/** A Python with the packages that an interop test needs, in the project's `.venv`; made when it is missing. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** Ignored by git. */
export const VENV = join(import.meta.dirname, "../../.venv");
const PYTHON = join(VENV, process.platform === "win32" ? "Scripts/python.exe" : "bin/python");

/** What pip installs, and the modules whose import shows that it is there. */
export interface PythonPackage {
  readonly pip: string;
  readonly modules: readonly string[];
}

/** The interpreter, or why there is none with these packages; a string names pip's package and its module alike. */
export function pythonWith(
  packages: readonly (string | PythonPackage)[],
): { python: string } | { missing: string } {
  if (!existsSync(PYTHON)) {
    const made = spawnSync("python3", ["-m", "venv", VENV], { encoding: "utf8" });
    if (made.status !== 0)
      return { missing: `python3 -m venv failed: ${lastLine(made.stderr ?? made.error)}` };
  }
  const wanted = packages.map((one) => (typeof one === "string" ? { pip: one, modules: [one] } : one));
  const imports = `import ${wanted.flatMap(({ modules }) => modules).join(", ")}`;
  if (spawnSync(PYTHON, ["-c", imports]).status === 0) return { python: PYTHON };
  const names = wanted.map(({ pip }) => pip);
  const pip = spawnSync(PYTHON, ["-m", "pip", "install", "--quiet", ...names], { encoding: "utf8" });
  if (pip.status !== 0) return { missing: `pip cannot install ${names.join(", ")}: ${lastLine(pip.stderr)}` };
  return { python: PYTHON };
}

function lastLine(text: unknown): string {
  return String(text).trim().split("\n").at(-1)!;
}
