/** Experiments whose command is killed or stopped: who still trains, and what is told. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { runCommand } from "../helpers/command-line.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

const folder = mkdtempSync(join(tmpdir(), "lorasa-"));
const started: ChildProcess[] = [];
after(() => {
  // Nothing that a failed test has started lives on.
  for (const child of started) child.kill("SIGKILL");
  const trainer = existsSync(pidFile) ? Number(readFileSync(pidFile, "utf8")) : 0;
  if (trainer > 0 && isAlive(trainer)) process.kill(trainer, "SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** One run that fails at once and one that is long enough to be stopped in its middle. */
const { seed: _, ...base } = tinyConfig({
  envOptions: { episodeLimit: 100 },
  steps: 400_000,
  saveEvery: 4000,
});
const FILE = join(folder, "experiment.json");
writeFileSync(
  FILE,
  JSON.stringify({
    name: "stopped",
    about: "Tiny.",
    base,
    axes: { layers: { wrong: { excludeLayers: ["nose"] }, long: { sharing: "nps" } } },
    seeds: [1],
  }),
);
const out = join(folder, "out");
const pidFile = join(out, "long_seed1", "training.pid");

interface Grid {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  readonly said: { stdout: string; stderr: string };
}

function startGrid(): Grid {
  const args = ["--import", "tsx", join("src", "cli", "main.ts"), "experiment", FILE, "--out", out];
  const child = spawn(process.execPath, [...args, "--jobs", "2"], { stdio: ["ignore", "pipe", "pipe"] });
  started.push(child);
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    child[name].setEncoding("utf8").on("data", (part: string) => {
      said[name] += part;
    });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  return { child, ended, said };
}

async function until(holds: () => boolean, what: string, grid?: Grid): Promise<void> {
  for (let looks = 0; looks < 2400 && (grid?.child.exitCode ?? null) === null; looks++) {
    if (holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  assert.fail(`never: ${what}; ${grid?.said.stderr}`);
}

function isAlive(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch {
    return false;
  }
}

const hasTrained = (): boolean =>
  existsSync(join(out, "long_seed1", "metrics.jsonl")) && existsSync(join(out, "long_seed1", "checkpoint"));

test("a run that outlives its killed command is left alone by the next one, which then stops and tells what failed", async () => {
  const killed = startGrid();
  await until(() => existsSync(pidFile), "a process of the run", killed);
  const trainer = Number(readFileSync(pidFile, "utf8"));
  try {
    await until(hasTrained, "a checkpoint", killed);
    killed.child.kill("SIGKILL");
    await new Promise((resolve) => killed.child.once("exit", resolve));
    assert.ok(isAlive(trainer), "the run goes on without its command");
    const refused = runCommand(["experiment", FILE, "--out", out]);
    assert.equal(refused.status, 2, refused.stderr);
    assert.match(
      refused.stderr,
      new RegExp(`cell long_seed1: received process ${trainer} that still trains it`),
    );
  } finally {
    process.kill(trainer, "SIGKILL");
  }
  await until(() => !isAlive(trainer), "the end of the run");

  const grid = startGrid();
  await until(() => /wrong_seed1: failed/.test(grid.said.stderr), "the run that fails", grid);
  await until(() => existsSync(pidFile) && hasTrained(), "the run that goes on", grid);
  grid.child.kill("SIGINT");
  assert.equal(await grid.ended, 130, grid.said.stderr);
  assert.match(grid.said.stderr, /long_seed1: goes on/);
  assert.match(
    grid.said.stdout,
    /^stopped; 0 of 2 runs are finished.*\nfailed {2}wrong_seed1: .*nose.*\ngo on /m,
  );
  assert.ok(!existsSync(pidFile), "the ended run is nobody's");
});
