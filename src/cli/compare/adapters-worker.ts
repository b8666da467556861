/**
 * A process of its own that loads many adapters in one way and prints what they take as JSON. Started with
 * `--expose-gc` and the path of its task; not used from other modules.
 */
import { readFileSync } from "node:fs";
import { createRuntime } from "../../runtime/onnxruntime.ts";
import type { AdaptersTask, LoadedBytes } from "./contract.ts";
import { ADAPTER_LOADERS } from "./load-adapters.ts";
import { readTeamFiles } from "./mode-bytes.ts";
import { settledBytes } from "./settled-bytes.ts";

// Written by the comparing process a moment ago.
const task = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as AdaptersTask;
process.stdout.write(`${JSON.stringify(measure(task))}\n`);

/** What the library takes once is not counted: it is there when the same was loaded with a single adapter. */
function measure({ device, precision, way, count, teams }: AdaptersTask): LoadedBytes {
  const runtime = createRuntime(device);
  const files = teams.map((each) => readTeamFiles(each, precision));
  const load = (adapters: number) => ADAPTER_LOADERS[way](runtime, files, adapters);
  load(1)();
  const before = { host: settledBytes(), device: runtime.residentBytes };
  const dispose = load(count);
  const taken = {
    hostBytes: Math.max(0, settledBytes() - before.host),
    deviceBytes: runtime.residentBytes - before.device,
  };
  // Until here all is held.
  dispose();
  return taken;
}
