/**
 * Triton's load generator, unmodified, from the wheel that really holds it: `perf-analyzer` for manylinux 2.38 (the
 * package's other wheel is an empty placeholder). Where the system's C library is older, it runs on libraries that
 * are unpacked beside it, not installed.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pythonWith, VENV } from "./python-environment.ts";

export const PERF_ANALYZER_VERSION = "2.60.0";
const FOLDER = join(VENV, `perf-analyzer-${PERF_ANALYZER_VERSION}`);
const BINARY = join(FOLDER, "perf_analyzer/bin/perf_analyzer");

/** The first Debian release whose C and C++ libraries are new enough, and the packages with what `ldd` lists. */
const LIBRARIES = {
  release: "trixie",
  keyring: "/usr/share/keyrings/debian-archive-keyring.gpg",
  packages: ["libc6", "libstdc++6", "libgcc-s1", "libssl3t64", "zlib1g", "libzstd1"],
};
const ROOT = join(FOLDER, "libraries");
const LOADER = [
  join(ROOT, "root/usr/lib64/ld-linux-x86-64.so.2"),
  "--library-path",
  join(ROOT, "root/usr/lib/x86_64-linux-gnu"),
];

/** The command and its first arguments, or why it cannot be had here. */
export function perfAnalyzer(): { command: readonly string[] } | { missing: string } {
  if (process.platform !== "linux" || process.arch !== "x64")
    return { missing: `perf_analyzer is built for Linux on x64, not ${process.platform} on ${process.arch}` };
  return fetchWheel() ?? runnable([BINARY]) ?? fetchLibraries() ?? runnable([...LOADER, BINARY]) ?? FAILS;
}

const FAILS = { missing: "perf_analyzer was fetched, but does not start" };

type Missing = { readonly missing: string };

function runnable(command: readonly string[]): { command: readonly string[] } | undefined {
  if (!existsSync(command[0]!)) return undefined;
  const { status } = spawnSync(command[0]!, [...command.slice(1), "--version"]);
  return status === 0 ? { command } : undefined;
}

function fetchWheel(): Missing | undefined {
  if (existsSync(BINARY)) return undefined;
  const found = pythonWith(["pip"]);
  if ("missing" in found) return found;
  const wanted = `perf-analyzer==${PERF_ANALYZER_VERSION}`;
  const only = ["--no-deps", "--only-binary=:all:", "--platform", "manylinux_2_38_x86_64"];
  return (
    run(FOLDER, found.python, "-m", "pip", "download", "--quiet", ...only, "-d", FOLDER, wanted) ??
    run(FOLDER, found.python, "-m", "zipfile", "-e", fileIn(FOLDER, ".whl"), FOLDER) ??
    run(FOLDER, "chmod", "+x", BINARY)
  );
}

/** Debian's own packages of a newer release, through apt with lists and caches of its own: the system stays as it is. */
function fetchLibraries(): Missing | undefined {
  if (existsSync(LOADER[0]!)) return undefined;
  for (const folder of ["state/lists/partial", "cache/archives/partial"])
    mkdirSync(join(ROOT, folder), { recursive: true });
  const { release, keyring, packages } = LIBRARIES;
  const sources = join(ROOT, "sources.list");
  const archive = debianArchive();
  if (archive === undefined)
    return { missing: "perf_analyzer needs a newer C library, and apt names no Debian archive" };
  writeFileSync(sources, `deb [signed-by=${keyring}] ${archive} ${release} main\n`);
  const options = [
    `Dir::Etc::SourceList=${sources}`,
    "Dir::Etc::SourceParts=/dev/null",
    `Dir::State=${join(ROOT, "state")}`,
    `Dir::Cache=${join(ROOT, "cache")}`,
    "Acquire::Languages=none",
  ].flatMap((option) => ["-o", option]);
  return (
    run(ROOT, "apt-get", ...options, "--quiet", "update") ??
    run(ROOT, "apt-get", ...options, "--quiet", "download", ...packages) ??
    readdirSync(ROOT)
      .filter((name) => name.endsWith(".deb"))
      .map((name) => run(ROOT, "dpkg-deb", "-x", name, "root"))
      .find((failed) => failed !== undefined)
  );
}

/** Where the system's own apt gets Debian's packages from. */
function debianArchive(): string | undefined {
  const { stdout } = spawnSync("apt-get", ["indextargets", "--format", "$(REPO_URI)"], { encoding: "utf8" });
  return stdout?.split("\n").find((uri) => /\/debian\/?$/.test(uri));
}

/** Runs a command to its end; why it failed, if it did. */
function run(cwd: string, command: string, ...args: readonly string[]): Missing | undefined {
  mkdirSync(cwd, { recursive: true });
  const { status, stderr, error } = spawnSync(command, args, { cwd, encoding: "utf8", timeout: 240_000 });
  if (status === 0) return undefined;
  const why = String(error?.message ?? stderr)
    .trim()
    .split("\n")
    .at(-1);
  return { missing: `${command} ${args.at(-1)} failed: ${why}` };
}

function fileIn(folder: string, ending: string): string {
  return join(folder, readdirSync(folder).find((name) => name.endsWith(ending)) ?? `none${ending}`);
}
