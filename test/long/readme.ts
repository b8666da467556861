/**
 * Copies the headline figures of `docs/results` into the README, between its `measured` and `sharing` marks.
 *
 * `npm run results:readme`, after the other results commands.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { writeFileAtomic } from "../../src/base/files.ts";
import { formatBytes, formatMicroseconds } from "../../src/base/format.ts";
import type { ExperimentReport, GroupReport } from "../../src/cli/experiment/report-data.ts";

interface CompareRow {
  readonly mode: string;
  readonly agents: number;
  readonly rows: number;
  readonly p50Us: number;
  readonly residentBytes: number;
  readonly swapMs: number;
}

const EXPERIMENTS = "docs/results/experiments";
/** The paper's comparison: ways of sharing, side by side, in a table of their own. */
const SHARING = { cheetah: "main-halfcheetah", battle: "main-3s5z" };
/** Presets whose speed is told, and the tasks as a person names them. */
const TRAINED = [
  ["lorasa-ant", "Ant 4x2"],
  ["lorasa-humanoid", "Humanoid 9\\|8"],
  ["lorasa-3s5z", "3s5z"],
  ["lorasa-mmm2", "MMM2"],
] as const;
const BATTLES = ["3m", "3s5z", "MMM2", "27m_vs_30m"];
const WAYS = ["ps", "nps", "seps", "mtl", "lorasa"];

const benchmarks = readFileSync("docs/results/benchmarks.md", "utf8");
const serving = readFileSync("docs/results/serving.md", "utf8");
const learning = readFileSync("docs/results/learning.md", "utf8");
const compared = JSON.parse(readFileSync("docs/results/compare/compare.json", "utf8")) as {
  rows: CompareRow[];
};

/** The first group of a pattern that must be there. */
function figure(text: string, pattern: RegExp): string {
  const found = pattern.exec(text)?.[1];
  if (found === undefined) throw new Error(`no figure ${pattern}`);
  return found;
}

function modes(agents: number, rows: number, show: (row: CompareRow) => string): string {
  return ["merged", "stacked", "factored"]
    .map((mode) => {
      const row = compared.rows.find((r) => r.mode === mode && r.agents === agents && r.rows === rows);
      if (!row) throw new Error(`no comparison of ${mode} at ${agents} × ${rows}`);
      return `${mode} ${show(row)}`;
    })
    .join(", ");
}

/** Environment steps a second of a preset in both phases. */
function both(preset: string): string {
  const section = figure(benchmarks, new RegExp(`## Training ${preset}\n([\\s\\S]*?)\n## `));
  return `${figure(section, /shared: (\d+) /)} and ${figure(section, /adapters: (\d+) /)}`;
}

/** The report of an experiment that is kept; nothing where there is none. */
function experiment(name: string): ExperimentReport | undefined {
  const path = join(EXPERIMENTS, name, "report.json");
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as ExperimentReport) : undefined;
}

/** What a group reached at the end: the share won where battles are won, else the return. */
function reached({ won, ...group }: GroupReport): string {
  const [scale, unit] = won ? [100, " %"] : [1, ""];
  const { mean, std } = won ?? group.return;
  const value = (scale * mean).toFixed(0);
  return std === null ? `${value}${unit} (one seed)` : `${value} ± ${(scale * std).toFixed(0)}${unit}`;
}

/** A row an experiment that is kept: what each of its groups reached. */
function experimentRows(): string[][] {
  return readdirSync(EXPERIMENTS)
    .filter((name) => !Object.values(SHARING).includes(name))
    .flatMap((name) => experiment(name) ?? [])
    .map(({ name, about, groups }) => [
      about,
      groups.map((group) => `${group.title} ${reached(group)}`).join(", "),
      `experiments/${name}/report.md`,
    ]);
}

/** Ways of sharing side by side: what they reached, parameters, bytes and time. */
function sharingTable(): string[] {
  const cheetah = experiment(SHARING.cheetah)?.groups ?? [];
  const battle = experiment(SHARING.battle)?.groups ?? [];
  const of = (groups: readonly GroupReport[], sharing: string, algo?: string) =>
    groups.find(
      ({ labels }) => labels["sharing"] === sharing && (algo === undefined || labels["algo"] === algo),
    );
  const cells = (group: GroupReport | undefined, show: (group: GroupReport) => string) =>
    group ? show(group) : "–";
  const size = ({ sizes }: GroupReport) =>
    `${sizes.actorParameters.toLocaleString("en")}, ${formatBytes(sizes.actorBytes)}`;
  const time = ({ times }: GroupReport) => `${(times.trainingSeconds / 60).toFixed(0)} min`;
  return [
    "| sharing | HalfCheetah 2x3, MAPPO | A2PO | actor | training | 3s5z won, MAPPO | actor | training |",
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ...WAYS.map((sharing) => {
      const [mappo, a2po] = [of(cheetah, sharing, "mappo"), of(cheetah, sharing, "a2po")];
      const fight = of(battle, sharing);
      const row = [
        `\`${sharing}\``,
        cells(mappo, reached),
        cells(a2po, reached),
        cells(mappo, size),
        [mappo, a2po].map((group) => cells(group, time)).join(", "),
        cells(fight, reached),
        cells(fight, size),
        cells(fight, time),
      ];
      return `| ${row.join(" | ")} |`;
    }),
  ];
}

const [harl, lorasa] = learning.split("## LoRASA's") as [string, string];
const atSwitch = [...lorasa.matchAll(/^\| \d \| \S+ \| (\d+) \|/gm)].map((match) => Number(match[1]));
const average = atSwitch.reduce((sum, value) => sum + value, 0) / atSwitch.length;
const rows = [
  [
    "Training HalfCheetah 2x3 end to end, recurrent LoRASA preset",
    `${figure(benchmarks, /shared: (\d+) /)} environment steps a second, ${figure(benchmarks, /adapters: (\d+) /)} with adapters`,
    "benchmarks.md",
  ],
  [
    "The same of other LoRASA presets, shared and with adapters",
    TRAINED.map(([preset, title]) => `${title} ${both(preset)}`).join(", "),
    "benchmarks.md",
  ],
  [
    "Battles alone, steps a second on one core, observations and masks included",
    BATTLES.map((name) => `${name} ${figure(benchmarks, new RegExp(`smac/${name} +(\\d+) `))}`).join(", "),
    "benchmarks.md",
  ],
  [
    "One training step against TensorFlow.js on WASM, same network and loss",
    `${figure(benchmarks, /recurrent:[\s\S]*?tensorflow-wasm.*?([\d.]+) × onnxruntime/)} times as fast (recurrent), ${figure(benchmarks, /mlp:[\s\S]*?tensorflow-wasm.*?([\d.]+) × onnxruntime/)} (MLP)`,
    "benchmarks.md",
  ],
  [
    "HARL's preset at 1 M steps, mean of three seeds",
    `return ${figure(harl, /end: \*\*(\d+)/)}`,
    "learning.md",
  ],
  [
    "LoRASA's preset, three seeds",
    `return ${average.toFixed(0)} at the switch (500 k), ${figure(lorasa, /end: \*\*(\d+)/)} with adapters at 1 M (${figure(lorasa, /(\d+) shared throughout/)} shared throughout)`,
    "learning.md",
  ],
  ...experimentRows(),
  [
    "Serving a team request of 8 agents, 16 connections, against a bare `node:http` handler of the same bytes and graph",
    `${figure(serving, /binary over bare: ([\d.]+)/)} times as many requests (binary), ${figure(serving, /JSON over bare: ([\d.]+)/)} (JSON); ${figure(serving, /binary over Express: ([\d.]+)/)} and ${figure(serving, /JSON over Express: ([\d.]+)/)} times an Express route`,
    "serving.md",
  ],
  [
    "A swap every 10 ms at half of the highest load",
    `${figure(serving, /failed requests and pushes: (\d+)/)} failed, ${figure(serving, /mixed replies: (\d+)/)} mixed replies, p99 ${figure(serving, /p99 with swaps over without.*?: ([\d.]+)/)} times that without swaps`,
    "serving.md",
  ],
  [
    "1,000 adapters in memory of 10,000 on one backbone",
    `${figure(serving, /1000 of them in memory\s+([\d.]+)/)} MiB, against ${figure(serving, /1000 merged sessions\s+([\d.]+)/)} MiB of merged sessions; one from disk in ${figure(serving, /cold adapter\s+([\d.]+)/)} ms`,
    "serving.md",
  ],
  [
    "A team step, 27 agents of one row",
    modes(27, 1, (row) => formatMicroseconds(row.p50Us)),
    "compare/compare.json",
  ],
  ["Memory of 64 agents", modes(64, 1, (row) => formatBytes(row.residentBytes)), "compare/compare.json"],
  [
    "A new adapter for one of 27 agents",
    modes(27, 1, (row) => formatMicroseconds(row.swapMs * 1000)),
    "compare/compare.json",
  ],
];
const table = [
  "| what | measured | page |",
  "| --- | --- | --- |",
  ...rows.map(([what, value, page]) => `| ${what} | ${value} | [${page}](docs/results/${page}) |`),
];

/** Text with other lines between its marks of a name. */
function between(text: string, name: string, lines: readonly string[]): string {
  const marked = new RegExp(`<!-- ${name} -->[\\s\\S]*?<!-- /${name} -->`);
  if (!marked.test(text)) throw new Error(`README.md has no marks ${name}`);
  return text.replace(marked, () => [`<!-- ${name} -->`, ...lines, `<!-- /${name} -->`].join("\n"));
}

const readme = readFileSync("README.md", "utf8");
writeFileAtomic("README.md", between(between(readme, "measured", table), "sharing", sharingTable()));
