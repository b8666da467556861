/**
 * Kills a server again and again while adapters are pushed to it, and looks each time at what the next one finds.
 *
 * `node --import tsx test/long/server-faults.ts --rounds 100`: some two seconds a round. `--seed` brings moments back,
 * as far as a machine's timing can be. Exits with 1 when something was lost or half written.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Random } from "../../src/base/random.ts";
import { KilledServer } from "../helpers/killed-server.ts";

const { values } = parseArgs({
  options: { rounds: { type: "string", default: "100" }, seed: { type: "string", default: "1" } },
});

const random = new Random(Number(values.seed));
const folder = mkdtempSync(join(tmpdir(), "lorasa-killed-"));
try {
  const killed = new KilledServer(folder);
  for (let round = 1; round <= Number(values.rounds); round++) {
    const answered = random.integer(40);
    const delayMs = random.integer(12);
    await killed.round(answered, delayMs);
    process.stdout.write(`round ${round}: killed ${delayMs} ms after ${answered} pushes, nothing lost\n`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
