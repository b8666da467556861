/** What the device benchmark has found so far, in one JSON file that a later run goes on with. */
import { existsSync } from "node:fs";
import { readJson, writeFileAtomic } from "../../../src/base/files.ts";
import type { Machine } from "./machine.ts";
import type { MemoryFigures } from "./memory.ts";
import type { LIMITS, Sizes } from "./plan.ts";
import type { StepCell, StepFigures } from "./steps.ts";
import type { SwapFigures } from "./swap.ts";
import type { TrainFigures } from "./train.ts";

/** What a case of each part finds, by the case's key; of steps a list of cells. */
export interface Findings {
  readonly date: string;
  readonly machine: Machine;
  readonly command: string;
  readonly sizes: Sizes;
  readonly limits: typeof LIMITS;
  readonly swap: Record<string, SwapFigures>;
  readonly memory: Record<string, MemoryFigures>;
  readonly train: Record<string, TrainFigures>;
  readonly steps: Record<string, (StepCell & StepFigures)[]>;
  /** Cases that ended badly, and the line they ended with. */
  readonly failed: Record<string, string>;
}

/** What a case prints of itself, a line each. */
export type Finding =
  | { readonly part: "swap"; readonly figures: SwapFigures }
  | { readonly part: "memory"; readonly figures: MemoryFigures }
  | { readonly part: "train"; readonly figures: TrainFigures }
  | { readonly part: "steps"; readonly figures: StepCell & StepFigures };

/** Those of a file whose machine and sizes are the same, else new ones. */
export function openFindings(
  path: string,
  fresh: Omit<Findings, "swap" | "memory" | "train" | "steps" | "failed">,
): Findings {
  const none = { ...fresh, swap: {}, memory: {}, train: {}, steps: {}, failed: {} };
  if (!existsSync(path)) return none;
  const known = readFindings(path);
  const same = (of: Findings): string => JSON.stringify([of.machine, of.sizes, of.limits]);
  return same(known) === same(none) ? known : none;
}

export function readFindings(path: string): Findings {
  // Written by this benchmark.
  return readJson(path, "findings") as unknown as Findings;
}

export function addFinding(findings: Findings, key: string, finding: Finding): void {
  if (finding.part === "steps") findings.steps[key] = [...(findings.steps[key] ?? []), finding.figures];
  else findings[finding.part][key] = finding.figures as never;
}

export function saveFindings(path: string, findings: Findings): void {
  writeFileAtomic(path, `${JSON.stringify(findings, null, 1)}\n`);
}
