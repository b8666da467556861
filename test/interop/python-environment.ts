/** A Python with the packages that an interop test needs, in the project's `.venv`; made when it is missing. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "../../.venv");
const PYTHON = join(FOLDER, process.platform === "win32" ? "Scripts/python.exe" : "bin/python");

/** The interpreter, or why there is none with these packages (named alike for pip and for import). */
export function pythonWith(packages: readonly string[]): { python: string } | { missing: string } {
  if (!existsSync(PYTHON)) {
    const made = spawnSync("python3", ["-m", "venv", FOLDER], { encoding: "utf8" });
    if (made.status !== 0)
      return { missing: `python3 -m venv failed: ${lastLine(made.stderr ?? made.error)}` };
  }
  const imports = `import ${packages.join(", ")}`;
  if (spawnSync(PYTHON, ["-c", imports]).status === 0) return { python: PYTHON };
  const pip = spawnSync(PYTHON, ["-m", "pip", "install", "--quiet", ...packages], { encoding: "utf8" });
  if (pip.status !== 0)
    return { missing: `pip cannot install ${packages.join(", ")}: ${lastLine(pip.stderr)}` };
  return { python: PYTHON };
}

function lastLine(text: unknown): string {
  return String(text).trim().split("\n").at(-1)!;
}
