/** The folder of one run of an experiment: how far it came, and what it left. Not how it is run. */
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { recoverDirectory } from "../../base/directories.ts";
import { LorasaError } from "../../base/errors.ts";
import { diskError, readJson, writeFileAtomic } from "../../base/files.ts";
import type { TrainConfig } from "../../training/config.ts";
import { defaultConfig } from "../../training/presets.ts";
import { type CellResult, parseCellResult } from "./cell-result.ts";
import type { Cell } from "./grid.ts";

export const CONFIG_FILE = "cell.json";
export const RESULT_FILE = "result.json";
const START_FILE = "start.json";
/** Bytes of a metrics file's end that surely hold its last whole line. */
const TAIL_BYTES = 8192;

export type CellState =
  | { readonly kind: "new" }
  /** Has a checkpoint to go on from. */
  | { readonly kind: "stopped" }
  | { readonly kind: "finished"; readonly result: CellResult };

/** Where a run is, as its metrics file tells. */
export interface CellProgress {
  readonly envSteps: number;
  readonly seconds: number;
  /** Of recent episodes; null while none has ended. */
  readonly meanReturn: number | null;
}

/** Puts back what was set aside in the moment in which its writer was killed: no run is lost to that. */
export function recoverCell(folder: string): void {
  for (const part of ["checkpoint", "switch"]) if (existsSync(folder)) recoverDirectory(join(folder, part));
}

/**
 * How far a run came.
 * @throws LORASA_EXISTS when the folder holds a run of another configuration, naming what differs.
 */
export function cellState(folder: string, cell: Cell): CellState {
  recoverCell(folder);
  const finished = existsSync(join(folder, RESULT_FILE));
  const begun = existsSync(join(folder, "checkpoint"));
  if (!finished && !begun) return { kind: "new" };
  const file = join(folder, finished ? RESULT_FILE : CONFIG_FILE);
  const json = readJson(file, `cell ${cell.name}`);
  const result = finished ? parseCellResult(json, `cell ${cell.name}, ${RESULT_FILE}`) : null;
  requireSame(cell, (result?.config ?? json) as object, folder, finished);
  return result ? { kind: "finished", result } : { kind: "stopped" };
}

/** An empty folder with the run's configuration. @throws LORASA_DISK. */
export function prepareCell(folder: string, cell: Cell, from: string | null): void {
  try {
    // What a run left that ended before its first checkpoint.
    if (existsSync(join(folder, CONFIG_FILE))) rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw diskError(`making ${folder}`, cause);
  }
  writeConfig(folder, cell, from);
}

/** @param from the run whose switch it starts from. */
export function writeConfig(folder: string, cell: Cell, from: string | null): void {
  writeFileAtomic(join(folder, START_FILE), `${JSON.stringify({ from })}\n`);
  writeFileAtomic(join(folder, CONFIG_FILE), `${JSON.stringify(cell.config, null, 2)}\n`);
}

/** The run whose switch this one started from. */
export function startedFrom(folder: string): string | null {
  if (!existsSync(join(folder, START_FILE))) return null;
  // Written by prepareCell.
  return (readJson(join(folder, START_FILE), "start of a cell") as { from: string | null }).from;
}

export function writeResult(folder: string, result: CellResult): void {
  writeFileAtomic(join(folder, RESULT_FILE), `${JSON.stringify(result)}\n`);
}

/** The last whole row of the run's metrics; null before there is one. */
export function cellProgress(folder: string): CellProgress | null {
  const lines = tail(join(folder, "metrics.jsonl")).split("\n").slice(0, -1);
  try {
    const row = JSON.parse(lines.at(-1) ?? "null") as Record<string, unknown> | null;
    const { envSteps, seconds, return: meanReturn } = row ?? {};
    if (typeof envSteps !== "number" || typeof seconds !== "number") return null;
    return { envSteps, seconds, meanReturn: typeof meanReturn === "number" ? meanReturn : null };
  } catch {
    // Half of a line that is longer than the tail: the next look finds a whole one.
    return null;
  }
}

function tail(path: string): string {
  if (!existsSync(path)) return "";
  const file = openSync(path, "r");
  try {
    const { size } = fstatSync(file);
    const bytes = Buffer.alloc(Math.min(size, TAIL_BYTES));
    readSync(file, bytes, 0, bytes.length, size - bytes.length);
    return bytes.toString("utf8");
  } finally {
    closeSync(file);
  }
}

/** What a kept configuration has otherwise: a field, its value then and its value now. */
export interface ChangedField {
  readonly field: string;
  readonly before: unknown;
  readonly now: unknown;
}

/** Fields that an older version did not have yet had the value that is the usual one now. */
export function changedFields(config: TrainConfig, kept: object): ChangedField[] {
  const before: Readonly<Record<string, unknown>> = { ...defaultConfig(config.env, config.steps), ...kept };
  // How often a run is saved changes nothing of it.
  const fields = Object.entries(config).filter(([field]) => field !== "saveEvery");
  return fields.flatMap(([field, now]) =>
    isDeepStrictEqual(now, before[field]) ? [] : [{ field, before: before[field], now }],
  );
}

function requireSame({ name, config }: Cell, kept: object, folder: string, finished: boolean): void {
  const changed = changedFields(config, kept);
  if (changed.length === 0) return;
  const tell = (when: "before" | "now"): string =>
    changed.map((each) => `${each.field} ${JSON.stringify(each[when])}`).join(", ");
  throw new LorasaError("LORASA_EXISTS", {
    asked: `cell ${name}`,
    expected: `${tell("before")} as ${finished ? "the finished run" : "the run that was stopped"} in ${folder} has it`,
    received: tell("now"),
    mend: "put the file back, give the experiment another name, or remove that folder",
  });
}

/** The configuration that a folder's run was started with; null without one. */
export function startedConfig(folder: string): TrainConfig | null {
  const path = join(folder, CONFIG_FILE);
  // Written by prepareCell from a checked one.
  return existsSync(path) ? (readJson(path, "configuration of a cell") as TrainConfig) : null;
}
