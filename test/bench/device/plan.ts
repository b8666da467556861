/** What the device benchmark measures: runners, sizes, limits and cases. Not how. */
import { availableParallelism } from "node:os";
import type { Mode, Way } from "../../../src/cli/compare/contract.ts";
import type { Device } from "../../../src/runtime/session.ts";

/** Where a graph runs, and with how many threads inside an operator. */
export interface Runner {
  readonly name: string;
  readonly device: Device;
  readonly threads: number;
}

export const PARTS = ["swap", "memory", "train", "steps"] as const;
export type Part = (typeof PARTS)[number];

/** What one fresh process measures. */
export type Case =
  | { readonly part: "steps"; readonly runner: Runner; readonly hidden: number; readonly mode: Mode }
  | { readonly part: "swap"; readonly runner: Runner; readonly hidden: number }
  | { readonly part: "memory"; readonly runner: Runner; readonly hidden: number; readonly way: Way }
  | { readonly part: "train"; readonly runner: Runner; readonly hidden: number }
  | { readonly part: "train"; readonly torch: "cuda" | "cpu"; readonly hidden: number };

/** Sizes of everything; a step is skipped where it passes a limit. */
export interface Sizes {
  readonly hidden: readonly number[];
  readonly agents: readonly number[];
  readonly rows: readonly number[];
  /** Hidden size of the swap and of many adapters. */
  readonly swapHidden: number;
  readonly adapters: number;
  /** Merged sessions that are loaded instead of `adapters`, and scaled. */
  readonly mergedSessions: number;
  readonly trainHidden: readonly number[];
  /** Of a training batch: N agents of R rows. */
  readonly trainAgents: number;
  readonly trainRows: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

export const FULL: Sizes = {
  hidden: [64, 256, 1024, 4096],
  agents: [1, 8, 64, 256, 1024],
  rows: [1, 16, 256, 4096],
  swapHidden: 1024,
  adapters: 1000,
  mergedSessions: 64,
  trainHidden: [64, 1024],
  trainAgents: 8,
  trainRows: 512,
  warmUpMs: 10,
  measureMs: 60,
};

/** Shows that everything runs, in a minute or two under a software driver; its times say nothing. */
export const QUICK: Sizes = {
  hidden: [16],
  agents: [1, 4],
  rows: [1, 4],
  swapHidden: 16,
  adapters: 40,
  mergedSessions: 8,
  trainHidden: [16],
  trainAgents: 2,
  trainRows: 16,
  warmUpMs: 1,
  measureMs: 10,
};

/** What a step may take before it is left out. */
export const LIMITS = {
  /** Of one graph's constants. */
  graphBytes: 2 ** 30,
  /** Of all constants and adapters of a mode. */
  weightBytes: 2 ** 31,
  /** Of observations, or of one layer's activations, of all agents. */
  tensorBytes: 2 ** 29,
  mergedSessions: 256,
  /** Of one step, by what a smaller one took. */
  stepMs: 1000,
} as const;

/** Graphs of a team; `rows` answers other requests. */
export const STEP_MODES = ["merged", "stacked", "factored"] as const satisfies readonly Mode[];

/** The CPU with one thread, as a server has it beside others, and with all cores; then the devices. */
export function runnersOf(devices: readonly Device[]): Runner[] {
  const cores = availableParallelism();
  return devices.flatMap((device): Runner[] => {
    if (device !== "cpu") return [{ name: device, device, threads: 1 }];
    return [
      { name: "cpu", device, threads: 1 },
      ...(cores > 1 ? [{ name: `cpu, ${cores} threads`, device, threads: cores }] : []),
    ];
  });
}

/** In the order in which they are worth their time: steps, which take the longest, come last. */
export function casesOf(
  part: Part,
  sizes: Sizes,
  runners: readonly Runner[],
  torch: readonly ("cuda" | "cpu")[],
): Case[] {
  const { hidden, swapHidden, trainHidden } = sizes;
  switch (part) {
    case "swap":
      return single(runners).map((runner) => ({ part, runner, hidden: swapHidden }));
    case "memory":
      return single(runners).flatMap((runner) =>
        (["factored", "merged"] as const).map((way) => ({ part, runner, hidden: swapHidden, way })),
      );
    case "train":
      return trainHidden.flatMap((size) => [
        ...runners.map((runner) => ({ part, runner, hidden: size })),
        ...torch.map((device) => ({ part, torch: device, hidden: size })),
      ]);
    case "steps":
      return hidden.flatMap((size) =>
        devicesFirst(runners).flatMap((runner) =>
          STEP_MODES.map((mode) => ({ part, runner, hidden: size, mode })),
        ),
      );
  }
}

/** A name for what a case finds; of a step the size is part of it. */
export function caseKey(each: Case): string {
  const who = "torch" in each ? `pytorch ${each.torch}` : each.runner.name;
  const what = "mode" in each ? ` ${each.mode}` : "way" in each ? ` ${each.way}` : "";
  return `${each.part} | ${who} | ${each.hidden}${what}`;
}

/** If the minutes end, what the CPU would take is the smaller loss. */
function devicesFirst(runners: readonly Runner[]): Runner[] {
  return runners.toSorted((a, b) => Number(a.device === "cpu") - Number(b.device === "cpu"));
}

/** Threads make no difference to what is copied and held. */
function single(runners: readonly Runner[]): Runner[] {
  return runners.filter(({ threads }) => threads === 1);
}
