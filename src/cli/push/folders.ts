/** The adapters that a path on the command line means. Not whether they fit a model. */
import { existsSync, readdirSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { LorasaError } from "../../base/errors.ts";
import { CONFIG_FILE } from "../../checkpoint/peft.ts";

/** Where a folder of several adapters lies in what lorasa writes: itself, a checkpoint or model, a run. */
const WITHIN = ["", "adapters", join("checkpoint", "adapters")];

/**
 * Folders of adapters by the name that they are pushed as: the folder itself when it is one, under `name` or its own
 * name; otherwise every adapter of a checkpoint, of its `adapters/`, of an exported model or of a run.
 * @throws LORASA_FILE where there is none; LORASA_FLAG for one name and several adapters.
 */
export function adapterFolders(path: string, name?: string): ReadonlyMap<string, string> {
  if (isAdapter(path)) return new Map([[name ?? basename(resolve(path)), path]]);
  for (const within of WITHIN) {
    const found = adaptersIn(join(path, within));
    if (found.size === 0) continue;
    if (name === undefined) return found;
    throw new LorasaError("LORASA_FLAG", {
      asked: `pushing ${path} as ${name}`,
      expected: "the folder of one adapter",
      received: `${found.size} of them`,
      mend: "leave the name out to push them all",
    });
  }
  throw new LorasaError("LORASA_FILE", {
    asked: `adapters of ${path}`,
    expected: `a folder with ${CONFIG_FILE}, or one of such folders`,
    received: existsSync(path) ? "neither" : "no such folder",
  });
}

function isAdapter(path: string): boolean {
  return existsSync(join(path, CONFIG_FILE));
}

/** In the order of their names, numbers in them as numbers. */
function adaptersIn(folder: string): Map<string, string> {
  if (!existsSync(folder)) return new Map();
  const names = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && isAdapter(join(folder, entry.name)))
    .map((entry) => entry.name)
    .sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  return new Map(names.map((name) => [name, join(folder, name)]));
}
