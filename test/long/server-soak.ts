/**
 * Does the server stay right and small under mixed traffic for long? Requests of every kind, mistakes, broken
 * connections, swaps, models that come and go; each reply is checked, memory is read each second after a collection.
 *
 *     node --import tsx test/long/server-soak.ts [--minutes 60] [--seed 1] [--json]
 *
 * Ends with 1 when something was wrong or memory grew.
 */
import { parseArgs } from "node:util";
import { floor, formatColumns, formatFloors } from "../bench/load/floors.ts";
import { soak } from "./server-soak-run.ts";

/** Over the whole run, by the line through the samples. */
const MOST_MIB = { used: 4, resident: 24 };
const MOST_FILES = 8;

const { values } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    seed: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
  },
});

const result = await soak({
  seconds: Number(values.minutes) * 60,
  seed: Number(values.seed),
  progress: (line) => process.stderr.write(`${line}\n`),
});
const { used, resident, files } = result.growth;
const floors = [
  floor("wrong replies and lost connections", result.wrong, { most: 0 }),
  floor("faults that the server reported", result.faults, { most: 0 }),
  floor("requests left unanswered", result.inflight, { most: 0 }),
  floor("open files gained by their line", files.gained, { most: MOST_FILES }),
  floor("memory in use gained by its line, MiB", used.gained / 2 ** 20, { most: MOST_MIB.used }),
  floor("resident memory gained by its line, MiB", resident.gained / 2 ** 20, { most: MOST_MIB.resident }),
];
if (values.json) process.stdout.write(`${JSON.stringify({ ...result, floors })}\n`);
else report();
process.exitCode = floors.every(({ holds }) => holds) ? 0 : 1;

function report(): void {
  const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  const memory = Object.entries({ resident, used }).map(([what, { mean, range, perSecond }]) => [
    what,
    ...[mean, range, perSecond * 3600].map(mebibytes),
  ]);
  const lines = [
    `${(result.seconds / 60).toFixed(1)} minutes`,
    ...formatColumns([
      ["what", "times"],
      ...Object.entries(result.steps).map(([kind, count]) => [kind, `${count}`]),
    ]),
    "",
    ...formatColumns([["memory", "mean", "range", "an hour, by its line"], ...memory]),
    ...result.examples,
    "",
    ...formatFloors(floors),
  ];
  process.stdout.write(`${lines.join("\n")}\n`);
}
