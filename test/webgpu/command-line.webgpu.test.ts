/** The command line with `--device webgpu` on a tiny run: trained, exported, evaluated, served and compared. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { ServerClient } from "../../server/client.ts";
import { elementCount, type FloatTensor, floatTensor } from "../../src/base/tensor.ts";
import { assertClose } from "../helpers/close.ts";
import { runJson, serveProcess } from "../helpers/command-line.ts";
import { ask, floats, openFolder } from "../helpers/engine-service.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

const ON_DEVICE = ["--device", "webgpu"];
const EPISODE_STEPS = 40;
const SETTINGS = [
  `envOptions={"episodeLimit":${EPISODE_STEPS}}`,
  "envs=2",
  "rolloutLength=10",
  "chunkLength=5",
  "epochs=1",
  "criticEpochs=1",
  "hidden=[8]",
  "evaluationEpisodes=1",
];
/** Each step is from what the one before made of it: rounding grows. */
const RETURNS = { atol: 1e-3, rtol: 1e-4 };

test("what is trained on the device is exported, played, served and compared there as on the CPU", {
  skip: NO_WEBGPU,
}, async (context) => {
  const folder = temporaryFolder(context);
  const [run, repository] = [join(folder, "run"), join(folder, "repository")];
  const settings = SETTINGS.flatMap((setting) => ["--set", setting]);
  const tiny = ["--preset", "lorasa-halfcheetah", "--steps", "40", ...settings, "--quiet"];
  const trained = runJson(["train", ...tiny, "--out", run, ...ON_DEVICE]);
  const checkpoint = join(run, "checkpoint");
  assert.deepEqual([trained["checkpoint"], trained["envSteps"]], [checkpoint, 40]);

  const exported = runJson(["export", checkpoint, "--out", repository, ...ON_DEVICE]);
  assert.equal(exported["device"], "webgpu");
  assert.ok((exported["maxAbsDiff"] as number) <= 1e-5, `${exported["maxAbsDiff"]}`);

  const evaluate = ["evaluate", checkpoint, "--episodes", "2", "--seed", "5"];
  const [onDevice, onCpu] = [runJson([...evaluate, ...ON_DEVICE]), runJson(evaluate)];
  assertClose(onDevice["returns"] as number[], onCpu["returns"] as number[], RETURNS, "returns");

  const server = await serveProcess(context, [repository, ...ON_DEVICE]);
  const here = await openFolder(context, repository);
  const client = new ServerClient(server.url);
  const { inputs } = here.service.endpoint("team");
  const feeds = inputs.map(({ name, shape }) => [name, counting([2, ...shape.slice(1)])] as const);
  const { outputs } = await client.infer("team", Object.fromEntries(feeds));
  client.close();
  const expected = await ask(
    here,
    "team",
    Object.fromEntries(feeds.map(([name, { dims, data }]) => [name, floats(dims, data)])),
  );
  assertClose(
    outputs["action"]!.data as Float32Array,
    expected.outputs["action"]!,
    { atol: 1e-5 },
    "actions",
  );
  assert.equal(await server.stop(), 0);

  const compare = ["--modes", "stacked,factored", "--agents", "2", "--rows", "1", "--rounds", "1", "--quick"];
  const compared = runJson([
    "compare",
    checkpoint,
    ...compare,
    "--out",
    join(folder, "compare"),
    ...ON_DEVICE,
  ]);
  assert.ok((compared["maxAbsDiff"] as number) < 1e-5);
  const rows = compared["rows"] as readonly {
    readonly mode: string;
    readonly device: string;
    readonly p50Us: number;
  }[];
  assert.deepEqual(rows.map(({ mode, device }) => [mode, device]).sort(), [
    ["factored", "webgpu"],
    ["stacked", "webgpu"],
  ]);
  for (const { p50Us } of rows) assert.ok(p50Us > 0);
});

/** Other numbers everywhere, none large. */
function counting(dims: readonly number[]): FloatTensor {
  return floatTensor(
    dims,
    Float32Array.from({ length: elementCount(dims) }, (_, at) => Math.sin(at)),
  );
}
