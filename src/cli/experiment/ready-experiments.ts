/** The experiments that come with lorasa, by name. Not what a file of one holds, which is `experiment-file.ts`. */
import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { LorasaError } from "../../base/errors.ts";

/**
 * The file that is meant: a path, or the bare name of a ready experiment such as `rank-halfcheetah`.
 * @throws LORASA_FILE for a bare name that is neither a file nor ready, naming those that are.
 */
export function experimentPath(asked: string): string {
  if (existsSync(asked) || asked.endsWith(".json") || basename(asked) !== asked) return asked;
  const folder = readyFolder();
  const ready = join(folder, `${asked}.json`);
  if (existsSync(ready)) return ready;
  const names = readdirSync(folder).filter((name) => name.endsWith(".json"));
  throw new LorasaError("LORASA_FILE", {
    asked: `experiment ${asked}`,
    expected: "a file, or the name of a ready experiment",
    received: "neither",
    mend: `ready: ${names.map((name) => basename(name, ".json")).join(", ")}`,
  });
}

/** Beside the package's `package.json`, from the sources and from `dist` alike. */
function readyFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) folder = dirname(folder);
  return join(folder, "experiments");
}
