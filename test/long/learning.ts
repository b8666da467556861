/**
 * Do the presets learn what they should? Trains HARL's and LoRASA's HalfCheetah presets over three seeds and writes
 * `docs/results/learning.md` with its curves. Runs under `runs/learning` that are finished are read, others resumed.
 *
 * `npm run results:learning [-- harl|lorasa]`; some ten minutes for each preset on two cores.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../../src/base/files.ts";
import { mean } from "../../src/base/statistics.ts";
import { bandOverRuns } from "../../src/report/curves.ts";
import { lineChart } from "../../src/report/plot.ts";
import { readMetrics } from "../../src/training/log/metrics-file.ts";
import { loadRun } from "../../src/training/saved-run.ts";

const SEEDS = [1, 2, 3];
const STUDIES = {
  harl: {
    title: "HARL's HalfCheetah 2x3 preset, MAPPO",
    flags: ["--preset", "harl-halfcheetah", "--steps", "1M"],
    about:
      "One shared policy on full observations with HARL's tuned settings. HARL's own curve is at about 1,700 after 1 M " +
      "steps (read off its published plot, Gym's v2 task); the floor here is 1,500.",
  },
  lorasa: {
    title: "LoRASA's HalfCheetah 2x3 preset, MAPPO",
    flags: ["--preset", "lorasa-halfcheetah", "--steps", "1M", "--switch-at", "500k"],
    about:
      "Local observations (one hop, no global numbers), a recurrent actor of 64 and ratios a dimension, as the released " +
      "code has them. A shared policy up to 500 k steps; then it is frozen and each agent trains an adapter of rank 8.",
  },
} as const;
type Study = keyof typeof STUDIES;

interface Run {
  readonly seed: number;
  readonly curve: readonly { readonly x: number; readonly y: number }[];
  readonly phases: readonly { readonly phase: string; readonly envSteps: number; readonly return: number }[];
}

const asked = process.argv.slice(2) as Study[];
const studies = (Object.keys(STUDIES) as Study[]).filter(
  (study) => asked.length === 0 || asked.includes(study),
);
for (const study of studies) for (const seed of SEEDS) train(study, seed);
const sections = await Promise.all(studies.map((study) => section(study)));
writeFileAtomic(
  "docs/results/learning.md",
  [
    "# Learning",
    "",
    `Written by \`npm run results:learning${asked.length > 0 ? ` -- ${asked.join(" ")}` : ""}\`. Returns are means over`,
    "8 deterministic episodes of 1,000 steps, other episodes than those trained on.",
    "",
    ...sections,
  ].join("\n"),
);

function folderOf(study: Study, seed: number): string {
  return join("runs", "learning", `${study}-${seed}`);
}

function train(study: Study, seed: number): void {
  const out = folderOf(study, seed);
  const checkpoint = join(out, "checkpoint");
  const known = existsSync(checkpoint) ? loadRun(checkpoint).saved : undefined;
  if (known && known.counters.envSteps >= known.config.steps) return;
  const flags = known
    ? ["--resume"]
    : [...STUDIES[study].flags, "--seed", `${seed}`, "--evaluate-every", "50k", "--save-every", "200k"];
  const command = ["--import", "tsx", "src/cli/main.ts", "train", ...flags, "--out", out];
  const { status } = spawnSync(process.execPath, command, { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}

async function section(study: Study): Promise<string> {
  const { title, flags, about } = STUDIES[study];
  const runs = SEEDS.map((seed) => readRun(study, seed));
  const switchAt = runs[0]!.phases.find(
    ({ phase, envSteps }) => phase === "shared" && envSteps > 0 && envSteps < 1e6,
  );
  const svg = await lineChart({
    title,
    subtitle: `Evaluated return, mean and range of ${SEEDS.length} seeds`,
    x: { title: "environment steps", format: "count" },
    y: { title: "return", format: "count" },
    series: [
      {
        name: "mean of seeds",
        points: bandOverRuns(
          runs.map(({ curve }) => curve),
          "min-max",
        ),
      },
    ],
    ...(switchAt && { markers: [{ x: switchAt.envSteps, label: "adapters start" }] }),
  });
  writeFileAtomic(`docs/results/learning-${study}.svg`, svg);
  const finals = runs.map(({ phases }) => phases.at(-1)!.return);
  return [
    `## ${title}`,
    "",
    about,
    "",
    `![${title}](learning-${study}.svg)`,
    "",
    ...table(runs, switchAt !== undefined),
    "",
    `Mean over seeds at the end: **${mean(finals).toFixed(0)}**.`,
    "",
    `Each run: \`lorasa train ${flags.join(" ")} --seed S --evaluate-every 50k\`.`,
    "",
  ].join("\n");
}

function table(runs: readonly Run[], switched: boolean): string[] {
  const shared = (run: Run): number => run.phases.filter(({ phase }) => phase === "shared").at(-1)!.return;
  const rows = runs.map((run) => {
    const final = run.phases.at(-1)!.return;
    const before = run.phases[0]!.return;
    const cells = [
      run.seed,
      before.toFixed(0),
      ...(switched ? [shared(run).toFixed(0)] : []),
      final.toFixed(0),
    ];
    return `| ${cells.join(" | ")} |`;
  });
  const head = ["seed", "untrained", ...(switched ? ["at the switch (500 k)"] : []), "at the end (1 M)"];
  return [`| ${head.join(" | ")} |`, `| ${head.map(() => "---:").join(" | ")} |`, ...rows];
}

/** The curve with the evaluations at the start, at the switch and at the end. */
function readRun(study: Study, seed: number): Run {
  const folder = folderOf(study, seed);
  const { saved } = loadRun(join(folder, "checkpoint"));
  const rows = readMetrics(join(folder, "metrics.jsonl")).filter((row) => "evaluationReturn" in row.metrics);
  const evaluated = rows.map((row) => ({ x: row.envSteps, y: row.metrics["evaluationReturn"]! }));
  const first = saved.phases[0]!;
  return {
    seed,
    curve: [{ x: first.envSteps, y: first.return }, ...evaluated],
    phases: saved.phases,
  };
}
