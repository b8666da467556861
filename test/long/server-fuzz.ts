/**
 * Attacks one server with as many hostile cases as asked, from a seed, and reports what did not hold.
 *
 * `node --import tsx test/long/server-fuzz.ts --cases 100000`: some five minutes on two cores. `--seed` and `--only`
 * bring a failure back; `--json` prints the report for a program. Exits with 1 when anything failed.
 */
import { parseArgs } from "node:util";
import {
  ATTACK_NAMES,
  ATTACKS,
  type AttackName,
  type AttackOutcome,
  runAttack,
} from "../helpers/fuzz-attacks.ts";
import { FuzzWorld } from "../helpers/fuzz-world.ts";

const { values } = parseArgs({
  options: {
    cases: { type: "string", default: "100000" },
    seed: { type: "string", default: `${Date.now() % 2 ** 31}` },
    only: { type: "string", default: ATTACK_NAMES.join(",") },
    json: { type: "boolean", default: false },
  },
});

/** Of all attacks together; between rounds it is looked whether the process holds more. */
const ROUND_CASES = 5000;
/** Rounds until the caches are full and the memory is what it will be. */
const WARM_ROUNDS = 3;
const GROWTH_LIMIT_BYTES = 192 * 2 ** 20;
const FILES_LIMIT = 8;
/** More are not told: they will be of the same kind. */
const FAILURE_LIMIT = 20;

const cases = Number(values.cases);
const seed = Number(values.seed);
const only = values.only.split(",") as AttackName[];
const unknown = only.find((name) => !ATTACK_NAMES.includes(name));
if (!(cases > 0) || !Number.isInteger(seed) || unknown !== undefined) {
  process.stderr.write(`--cases and --seed are whole numbers, --only some of ${ATTACK_NAMES.join(",")}\n`);
  process.exit(2);
}

const started = performance.now();
const world = await FuzzWorld.open();
const failures: string[] = [];
const ran = new Map<AttackName, number>();
const held: { readonly rssBytes: number; readonly files: number }[] = [];
const rounds = Math.ceil(cases / ROUND_CASES);
for (let round = 0; round < rounds && failures.length < FAILURE_LIMIT; round++) {
  const share = Math.min(ROUND_CASES, cases - round * ROUND_CASES) / totalShare();
  for (const name of only)
    note(name, await attacked(name, Math.max(1, Math.round(ATTACKS[name].share * share)), round));
  held.push(await world.held());
  progress(round);
}
checkGrowth();
await world.close();
report();
process.exitCode = failures.length === 0 ? 0 : 1;

function totalShare(): number {
  return only.reduce((sum, name) => sum + ATTACKS[name].share, 0);
}

/** A server that does not come back after a case is a failure too. */
async function attacked(name: AttackName, count: number, round: number): Promise<AttackOutcome> {
  try {
    return await runAttack(world, name, { cases: count, seed: seed + round });
  } catch (error) {
    return {
      cases: count,
      failure: `${name}: seed ${seed + round}: ${error instanceof Error ? error.stack : error}`,
    };
  }
}

function note(name: AttackName, { cases: count, failure }: AttackOutcome): void {
  ran.set(name, (ran.get(name) ?? 0) + count);
  if (failure !== undefined) failures.push(failure);
}

function progress(round: number): void {
  const seconds = Math.round((performance.now() - started) / 1000);
  const { rssBytes, files } = held.at(-1)!;
  process.stderr.write(
    `round ${round + 1} of ${rounds}, ${seconds} s: ${totalCases()} cases, ${failures.length} failures, ` +
      `${Math.round(rssBytes / 2 ** 20)} MiB, ${files} files\n`,
  );
}

function totalCases(): number {
  return [...ran.values()].reduce((sum, count) => sum + count, 0);
}

/** From the round after which nothing should be new to the server, to the last. */
function checkGrowth(): void {
  const warm = held[WARM_ROUNDS - 1];
  const last = held.at(-1);
  if (!warm || !last) return;
  const bytes = last.rssBytes - warm.rssBytes;
  if (bytes > GROWTH_LIMIT_BYTES) failures.push(`memory grew by ${Math.round(bytes / 2 ** 20)} MiB`);
  const files = last.files - warm.files;
  if (files > FILES_LIMIT) failures.push(`${files} more files are open`);
}

function report(): void {
  const summary = {
    cases: totalCases(),
    seed,
    seconds: Math.round((performance.now() - started) / 1000),
    attacks: Object.fromEntries(ran),
    answers: Object.fromEntries([...world.answers].sort(([, a], [, b]) => b - a)),
    rssMiB: held.map(({ rssBytes }) => Math.round(rssBytes / 2 ** 20)),
    files: held.map((each) => each.files),
    failures,
  };
  process.stdout.write(values.json ? `${JSON.stringify(summary, null, 2)}\n` : asText(summary));
}

function asText(summary: Readonly<Record<string, unknown>>): string {
  const lines = Object.entries(summary).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
  return `${lines.slice(0, -1).join("\n")}\n${failures.length === 0 ? "nothing failed" : failures.join("\n\n")}\n`;
}
