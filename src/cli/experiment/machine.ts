/** The machine that runs are made on: each run's share of it, and what is noted of it. Not how busy it is. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { coresOfProcess } from "../../base/cores.ts";
import { VERSION } from "../../base/version.ts";

/** What a run was made with, as its process started; of one that went on, its last process. */
export const making = z.object({
  lorasa: z.string(),
  /** Of a checkout of the sources: its commit, with `-dirty` where files differ from it. */
  commit: z.string().optional(),
  node: z.string(),
  processor: z.string(),
  /** Of the machine. */
  cores: z.int(),
  /** Runs at once. */
  jobs: z.int(),
});

export type Making = z.infer<typeof making>;

const GIT_LIMIT_MS = 2000;

/** Cores that each of so many runs at once may count on. */
export function coresEach(jobs: number): number {
  return Math.max(1, Math.floor(coresOfProcess() / jobs));
}

/** What a run that starts now is made with. */
export function makingNow(jobs: number): Making {
  const commit = sourceCommit();
  return { lorasa: VERSION, ...(commit && { commit }), node: process.version, ...hardware(), jobs };
}

/** One line of it. */
export function makingText({ lorasa, commit, jobs, ...machine }: Making): string {
  const version = commit === undefined ? lorasa : `${lorasa} (${commit})`;
  return `lorasa ${version}, ${machineText(machine)}, ${jobs === 1 ? "1 run" : `${jobs} runs`} at once`;
}

/** The machine of this process in one line. */
export function machineNow(): string {
  return machineText({ node: process.version, ...hardware() });
}

function machineText({ node, processor, cores }: Pick<Making, "node" | "processor" | "cores">): string {
  return `Node ${node}, ${processor}, ${cores === 1 ? "1 core" : `${cores} cores`}`;
}

function hardware(): Pick<Making, "processor" | "cores"> {
  const all = cpus();
  return { processor: all[0]?.model.trim() || "unknown processor", cores: all.length };
}

/** Undefined for an installed package, and where git says nothing. */
function sourceCommit(): string | undefined {
  const root = fileURLToPath(new URL("../../../", import.meta.url));
  if (!existsSync(join(root, ".git"))) return undefined;
  // Without optional locks, so that whoever works in the checkout is not in the way.
  const asked = ["--no-optional-locks", "-C", root, "describe", "--always", "--dirty", "--exclude", "*"];
  const { status, stdout } = spawnSync("git", asked, { encoding: "utf8", timeout: GIT_LIMIT_MS });
  return status === 0 ? stdout.trim() : undefined;
}
