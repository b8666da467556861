/**
 * Which factor of an adapter should start at zero? Trains adapters from the shared policies of `learning.ts` with A = 0
 * (B Kaiming-uniform) and with B = 0, and writes `docs/results/lora-init.md`.
 *
 * `npm run results:learning -- lorasa` first, then `npm run results:lora-init`; some five minutes on two cores.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../../src/base/files.ts";
import { mean } from "../../src/base/statistics.ts";
import { loadRun } from "../../src/training/saved-run.ts";

const SEEDS = [1, 2, 3];
const ZEROS = ["loraA", "loraB"] as const;
type Zero = (typeof ZEROS)[number];

for (const seed of SEEDS) for (const zero of ZEROS) train(seed, zero);
const rows = SEEDS.map((seed) => ({
  seed,
  start: start(seed),
  loraA: final(seed, "loraA"),
  loraB: final(seed, "loraB"),
}));
const average = {
  start: mean(rows.map((row) => row.start)),
  loraA: mean(rows.map((row) => row.loraA)),
  loraB: mean(rows.map((row) => row.loraB)),
};
writeFileAtomic(
  "docs/results/lora-init.md",
  [
    "# Which factor starts at zero",
    "",
    "Written by `npm run results:lora-init`. LoRASA's HalfCheetah 2x3 preset; adapters of rank 8 trained for 250 k steps",
    "from the same shared policy of 500 k steps (`learning.md`); mean return of 8 deterministic episodes.",
    "",
    "| seed | shared policy | A = 0, B Kaiming-uniform | B = 0, A Kaiming-uniform |",
    "| ---: | ---: | ---: | ---: |",
    ...rows.map(
      ({ seed, start: from, loraA, loraB }) =>
        `| ${[seed, from, loraA, loraB].map((x) => x.toFixed(0)).join(" | ")} |`,
    ),
    `| mean | ${[average.start, average.loraA, average.loraB].map((x) => x.toFixed(0)).join(" | ")} |`,
    "",
    "Each run: `lorasa train --preset lorasa-halfcheetah --from runs/learning/lorasa-S/switch --steps 750k --switch-at 500k",
    "--seed S --set loraZero=loraA` (or `loraB`).",
    "",
  ].join("\n"),
);

function folderOf(seed: number, zero: Zero): string {
  return join("runs", "lora-init", `${zero}-${seed}`);
}

function train(seed: number, zero: Zero): void {
  const out = folderOf(seed, zero);
  if (existsSync(join(out, "checkpoint"))) return;
  const flags = [
    "--preset",
    "lorasa-halfcheetah",
    "--from",
    join("runs", "learning", `lorasa-${seed}`, "switch"),
  ];
  const sizes = ["--steps", "750k", "--switch-at", "500k", "--seed", `${seed}`, "--set", `loraZero=${zero}`];
  const command = ["--import", "tsx", "src/cli/main.ts", "train", ...flags, ...sizes, "--out", out];
  const { status } = spawnSync(process.execPath, command, { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}

function start(seed: number): number {
  return loadRun(join("runs", "learning", `lorasa-${seed}`, "switch")).saved.phases.at(-1)!.return;
}

function final(seed: number, zero: Zero): number {
  return loadRun(join(folderOf(seed, zero), "checkpoint")).saved.phases.at(-1)!.return;
}
