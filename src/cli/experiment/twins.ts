/**
 * Runs that an experiment beside this one has finished with the same configuration: they are copied, since they would
 * come out the same. Not runs that share only their beginning, which is `shared-start.ts`.
 */
import { cpSync, existsSync, readdirSync, rmSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { replaceDirectory } from "../../base/directories.ts";
import { readJson } from "../../base/files.ts";
import {
  CONFIG_FILE,
  cellState,
  changedFields,
  RESULT_FILE,
  startedFrom,
  writeConfig,
  writeResult,
} from "./cell-folder.ts";
import { type CellResult, parseCellResult } from "./cell-result.ts";
import type { Cell } from "./grid.ts";

/** A finished run of another experiment. */
export interface Twin {
  readonly folder: string;
  /** `<experiment>/<run>`. */
  readonly name: string;
  readonly result: CellResult;
}

/**
 * By the name of a run that was not begun: its twin in a folder beside `folder`, which holds the runs of an experiment. A
 * twin with a checkpoint goes before one without.
 */
export function findTwins(
  cells: readonly Cell[],
  folder: string,
  folderOf: (cell: string) => string,
): ReadonlyMap<string, Twin> {
  const begun = (cell: Cell): boolean => cellState(folderOf(cell.name), cell).kind !== "new";
  const open = cells.filter((cell) => !begun(cell));
  if (open.length === 0) return new Map();
  const finished = finishedBeside(folder);
  return new Map(
    open.flatMap((cell) => {
      const same = finished.filter(({ result }) => changedFields(cell.config, result.config).length === 0);
      const twin = same.find(hasCheckpoint) ?? same[0];
      return twin ? [[cell.name, twin] as const] : [];
    }),
  );
}

/** Makes the twin a finished run of this experiment. @throws LORASA_DISK. */
export function takeOver(cell: Cell, twin: Twin, folder: string): void {
  replaceDirectory(
    folder,
    (temporary) => {
      cpSync(twin.folder, temporary, { recursive: true });
      // Runs that went on from it would miss what came before its own start.
      if (startedFrom(temporary) !== null)
        rmSync(join(temporary, "switch"), { recursive: true, force: true });
      writeConfig(temporary, cell, null);
      const { name, group, config } = cell;
      writeResult(temporary, { ...twin.result, cell: name, group, config, takenFrom: twin.name });
    },
    { marker: CONFIG_FILE },
  );
}

function hasCheckpoint({ folder }: Twin): boolean {
  return existsSync(join(folder, "checkpoint"));
}

function finishedBeside(folder: string): Twin[] {
  const own = resolve(folder);
  const experiments = foldersIn(dirname(own)).filter((other) => other !== own);
  return experiments.flatMap(foldersIn).flatMap((run) => {
    const result = resultOf(run);
    return result ? [{ folder: run, name: `${basename(dirname(run))}/${basename(run)}`, result }] : [];
  });
}

function foldersIn(parent: string): string[] {
  if (!existsSync(parent)) return [];
  const entries = readdirSync(parent, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return entries.map(({ name }) => join(parent, name)).sort();
}

/** Undefined for a folder of anything else: what lies beside an experiment is not ours to complain about. */
function resultOf(run: string): CellResult | undefined {
  const path = join(run, RESULT_FILE);
  if (!existsSync(path)) return undefined;
  try {
    return parseCellResult(readJson(path, "result"), path);
  } catch {
    return undefined;
  }
}
