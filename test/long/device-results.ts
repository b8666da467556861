/**
 * Writes `docs/results/devices.md` from what `npm run bench:device` found on a machine with a GPU. It measures nothing
 * itself, and refuses what a software driver gave: that shows correctness, never speed.
 *
 *     node --import tsx test/long/device-results.ts [--from runs/device/device.json] [--to docs/results/devices.md]
 */
import { parseArgs } from "node:util";
import { writeFileAtomic } from "../../src/base/files.ts";
import { formatBytes } from "../../src/base/format.ts";
import { type Findings, readFindings } from "../bench/device/findings.ts";
import {
  crossoverTable,
  deviceFloors,
  memoryTable,
  stepTable,
  swapTable,
  trainTable,
} from "../bench/device/tables.ts";
import { formatFloors } from "../bench/load/floors.ts";

const { values } = parseArgs({
  options: {
    from: { type: "string", default: "runs/device/device.json" },
    to: { type: "string", default: "docs/results/devices.md" },
  },
});

const found = readFindings(values.from);
const { machine, sizes, limits } = found;
if (machine.software) {
  process.stderr.write(
    `${values.from} was measured on a software driver: its times say nothing, and no page is written\n`,
  );
  process.exit(1);
}
writeFileAtomic(values.to, `${page(found).join("\n")}\n`);

function page(findings: Findings): string[] {
  return [
    "# Devices",
    "",
    `Measured by \`${findings.command}\` on ${machine.gpu ?? "a machine without NVIDIA's tools"}` +
      `${machine.driver ? `, driver ${machine.driver}` : ""}, beside ${machine.processor}, ${machine.cores} cores, Node ` +
      `${machine.node}, ${findings.date}; written by \`npm run results:devices\`. Networks of 64 observations, two hidden ` +
      "layers with tanh and LayerNorm, 8 actions, adapters of rank 8, fp32. `cpu` is one thread, as a server has it.",
    "",
    "```",
    ...formatFloors(deviceFloors(findings)),
    "```",
    "",
    ...crossoverSection(findings),
    ...stepSections(findings),
    ...moreSections(findings),
    ...failedSection(findings),
  ];
}

function crossoverSection(findings: Findings): string[] {
  return [
    "## Where a device takes over",
    "",
    "The fastest mode of each for every number of agents and of rows that each sends; a step begins with observations in " +
      "the host's memory and ends with actions there. `from` is the smallest step that the device wins.",
    "",
    ...crossoverTable(findings),
    "",
  ];
}

function stepSections(findings: Findings): string[] {
  const left =
    `–: left out, since a graph would pass ${formatBytes(limits.graphBytes)}, all weights ${formatBytes(limits.weightBytes)}, ` +
    `one tensor ${formatBytes(limits.tensorBytes)}, merged sessions ${limits.mergedSessions}, or a step ${limits.stepMs} ms ` +
    "by what smaller ones took. Empty: not measured in the time there was. Medians; a step of over 300 ms was timed once.";
  return [
    "## Team steps",
    "",
    left,
    "",
    ...sizes.hidden.flatMap((hidden) => [
      `### Hidden size ${hidden}`,
      "",
      ...stepTable(findings, hidden),
      "",
    ]),
  ];
}

function moreSections(findings: Findings): string[] {
  return [
    `## Swapping an adapter, hidden size ${sizes.swapHidden}`,
    "",
    "From values in the host's memory until the slot was read from again, so that the device is done; 64 slots.",
    "",
    ...swapTable(findings),
    "",
    `## Memory of ${sizes.adapters} adapters, hidden size ${sizes.swapHidden}`,
    "",
    "factored: one backbone for teams and rows and a bank of all of them. merged: a session each, of which so many were " +
      "loaded and their bytes scaled. On the device: weights and bank; in use: growth of what the GPU's driver reports, with " +
      "what libraries keep aside.",
    "",
    ...memoryTable(findings),
    "",
    "## A training step",
    "",
    `MAPPO's actor step of ${sizes.trainAgents} agents with ${sizes.trainRows} rows each: forward, clipped surrogate, ` +
      "entropy, backward, clipping by norm, Adam; parameters, moments and batch stay on the device, metrics come down each " +
      "step. PyTorch runs the same numbers eagerly in float32.",
    "",
    ...trainTable(findings),
    "",
  ];
}

function failedSection({ failed }: Findings): string[] {
  const entries = Object.entries(failed);
  if (entries.length === 0) return [];
  return ["## What failed", "", ...entries.map(([key, line]) => `- ${key}: ${line}`), ""];
}
