/** What is measured of finished runs: sizes with shared adapters, times of acting, and what of both is kept. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Sharing } from "../../models/policy.ts";
import { inferenceTimes } from "../../src/cli/experiment/inference-times.ts";
import { parameterCounts, teamSizes } from "../../src/cli/experiment/team-sizes.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { train } from "../../src/training/run.ts";
import { loadRun } from "../../src/training/saved-run.ts";
import { bringBack, keep } from "../helpers/kept-results.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

const folder = mkdtempSync(join(tmpdir(), "lorasa-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const runtime = createRuntime();
const checkpoint = join(folder, "checkpoint");
await train({
  // Two stalkers and three zealots, an adapter for each kind.
  config: tinyConfig({ env: "smac/2s3z", sharing: "lorasa", adapterKey: "type" }),
  directory: folder,
  runtime,
});

test("an adapter that units of a type share is counted once, in parameters and in bytes, and is nobody's own", () => {
  const { team, saved } = loadRun(checkpoint);
  const adapter = team.parameters.adapters!.size;
  const sizes = teamSizes(team, saved, checkpoint);
  assert.equal(sizes.agents, 5);
  assert.equal(sizes.actorParameters, team.backbone.length + 2 * adapter);
  const bytes = (...path: string[]) => statSync(join(checkpoint, ...path)).size;
  const [stalker, zealot] = [team.agents[0]!.name, team.agents[4]!.name];
  const adapters = [stalker, zealot].map((name) => bytes("adapters", name, "adapter_model.safetensors"));
  assert.equal(sizes.actorBytes, bytes("backbone.safetensors") + adapters[0]! + adapters[1]!);
  assert.equal(sizes.ownParameters, 0);
});

test("own parameters are those of agents that are alone in a row: the mean over agents", () => {
  const { team } = loadRun(checkpoint);
  const [adapter, network] = [team.parameters.adapters!.size, team.parameters.backbone.size];
  const own = (sharing: Sharing) => parameterCounts({ ...team, sharing }).ownParameters;
  const { sharing } = team;
  assert.ok(sharing.kind === "low-rank");
  assert.equal(own({ kind: "low-rank", lora: sharing.lora }), adapter);
  assert.equal(own({ ...sharing, adapterOf: [0, 0, 0, 0, 1] }), Math.round(adapter / 5));
  const { parameters, adapters: _, ...bare } = team;
  const without = { ...bare, parameters: { backbone: parameters.backbone, layers: [] } };
  const backboneOwn = (other: Sharing) => parameterCounts({ ...without, sharing: other }).ownParameters;
  assert.equal(backboneOwn({ kind: "shared" }), 0);
  assert.equal(backboneOwn({ kind: "individual" }), network);
  assert.equal(backboneOwn({ kind: "clustered", clusterOf: [0, 0, 1, 1, 2] }), Math.round(network / 5));
});

test("times that were taken beside other work are taken again when there is none, and quiet ones stay", () => {
  const groups = [{ name: "team", checkpoint }];
  let asked = 0;
  const times = (busy: boolean) =>
    inferenceTimes(groups, folder, runtime, () => {
      asked++;
      return busy;
    }).get("team")!;
  assert.equal(times(true).busy, true);
  const quiet = times(false);
  assert.equal(quiet.busy, undefined);
  assert.match(quiet.machine!, /^Node v.*, \d+ cores?$/);
  asked = 0;
  assert.deepEqual(times(true), quiet);
  assert.equal(asked, 0, "nothing is measured again");
  // As it was kept before machines were noted.
  const { checkpoint: identity, microseconds } = quiet;
  writeFileSync(
    join(folder, "inference.json"),
    JSON.stringify({ team: { checkpoint: identity, microseconds } }),
  );
  assert.ok(times(false).machine);
});

test("results are kept with the times that were measured of them, and both come back where there are none", (context) => {
  const [runs, kept, elsewhere] = ["runs", "kept", "elsewhere"].map((name) =>
    join(temporaryFolder(context), name),
  ) as [string, string, string];
  mkdirSync(join(runs, "ps_seed1"), { recursive: true });
  writeFileSync(join(runs, "ps_seed1", "result.json"), "1");
  for (const name of ["inference.json", "report.md", "final-return.svg", "report.html"])
    writeFileSync(join(runs, name), name);
  keep(runs, kept);
  assert.ok(!existsSync(join(kept, "report.html")));
  bringBack(kept, elsewhere);
  assert.equal(readFileSync(join(elsewhere, "ps_seed1", "result.json"), "utf8"), "1");
  assert.equal(readFileSync(join(elsewhere, "inference.json"), "utf8"), "inference.json");
  assert.ok(!existsSync(join(elsewhere, "report.md")));
  // What is newer there stays.
  writeFileSync(join(kept, "inference.json"), "older");
  bringBack(kept, elsewhere);
  assert.equal(readFileSync(join(elsewhere, "inference.json"), "utf8"), "inference.json");
});
