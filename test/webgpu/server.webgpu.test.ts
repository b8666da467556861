/** A server on WebGPU over HTTP, and one whose device is not there: what clients, operators and scrapers see. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { ServerClient } from "../../server/client.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { deviceFault } from "../../src/runtime/probe.ts";
import { assertClose } from "../helpers/close.ts";
import { runCommand, serveProcess } from "../helpers/command-line.ts";
import { adapterFiles, expectedAction } from "../helpers/engine-service.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { TinyPolicy, writeTinyRepository } from "../helpers/tiny-models.ts";
import { ask, serveTiny, TOKEN } from "../helpers/tiny-server.ts";
import { NO_WEBGPU } from "../helpers/webgpu.ts";

const skip = NO_WEBGPU;
/** Longer than a machine takes to send a few requests. */
const TOGETHER_US = 100_000;
const MODEL = { mode: "factored" } as const;
const OBSERVATION = [0.5, -1, 2];
const TEAM = { obs: floatTensor([1, 2, 3], [...OBSERVATION, ...OBSERVATION]) };
/** Hides every Vulkan driver from a process on Linux. */
const NO_DRIVER = { VK_ICD_FILENAMES: "/nonexistent", VK_DRIVER_FILES: "/nonexistent" };
const NO_HIDING = process.platform !== "linux" && "only on Linux can a test hide the driver";
const HAS_CUDA = !deviceFault(createRuntime("cuda")) && "ONNX Runtime's CUDA files are installed";

/** Of the metrics' text: the value of each sample by its name and labels. */
async function scrape(url: string): Promise<Map<string, number>> {
  const { status, text } = await ask(`${url}/metrics`);
  assert.equal(status, 200);
  const samples = text.split("\n").flatMap((line) => {
    const found = /^(\S+) (\S+)$/.exec(line);
    return found ? [[found[1]!, Number(found[2])] as const] : [];
  });
  return new Map(samples);
}

async function answered(client: ServerClient): Promise<readonly [action: Float32Array, versions: object]> {
  const { outputs, adapterVersions } = await client.infer("team", TEAM);
  return [outputs["action"]!.data as Float32Array, adapterVersions];
}

test("a server on WebGPU answers, takes adapters, is ready, and its metrics tell of the device's memory", {
  skip,
}, async (context) => {
  const before = createRuntime("webgpu").residentBytes;
  const server = await serveTiny(context, MODEL, { device: "webgpu", token: TOKEN });
  const { client, policy, url } = server;
  const expected = (seed: number) =>
    [0, 1].flatMap((agent) => expectedAction(policy, OBSERVATION, agent, agent === 0 ? seed : 1));
  const [action, versions] = await answered(client);
  assertClose(action, expected(0));
  assert.deepEqual(versions, { agent_0: 1, agent_1: 1 });

  const { config, tensors } = adapterFiles(policy.adapter(70));
  assert.equal((await client.pushAdapter("team", "agent_0", config, tensors)).version, "2");
  const [swapped, then] = await answered(client);
  assertClose(swapped, expected(70));
  assert.deepEqual(then, { agent_0: 2, agent_1: 1 });
  await client.rollbackAdapter("team", "agent_0");
  assertClose((await answered(client))[0], expected(0));

  assert.equal((await ask(`${url}/v2/health/ready`)).status, 200);
  const metrics = await scrape(url);
  const onDevice = (part: string) =>
    metrics.get(`lorasa_model_memory_bytes{model="team",part="${part}",place="device"}`)!;
  const took = createRuntime("webgpu").residentBytes - before;
  assert.ok(onDevice("bank") > 0);
  assert.equal(onDevice("backbone") + onDevice("bank"), took);
  assert.equal(metrics.get('lorasa_cpu_nodes{model="team"}'), 0);
  const [statistics] = await client.statistics("team");
  assert.deepEqual(
    statistics!.memory_usage.filter(({ type }) => type === "GPU"),
    [{ type: "GPU", id: 0, byte_size: took }],
  );
  const served = (await client.modelConfig("team")) as {
    readonly instance_group: readonly { readonly kind: string }[];
  };
  assert.deepEqual(
    served.instance_group.map(({ kind }) => kind),
    ["KIND_GPU"],
  );
  assert.deepEqual(server.faults, []);
  await server.close();
  assert.equal(createRuntime("webgpu").residentBytes, before);
});

test("requests that come together are one run on the device, each with its own rows", {
  skip,
}, async (context) => {
  const { client, policy, url } = await serveTiny(context, MODEL, {
    device: "webgpu",
    queueDelayUs: TOGETHER_US,
  });
  const answers = await Promise.all(
    Array.from({ length: 24 }, async (_, at) => {
      const observation = [at / 10, 1 - at / 20, 0.5];
      const agent = at % 2;
      const { outputs } = await client.infer(`team.agent_${agent}`, {
        obs: floatTensor([1, 3], observation),
      });
      return [
        outputs["action"]!.data as Float32Array,
        expectedAction(policy, observation, agent, agent),
      ] as const;
    }),
  );
  for (const [at, [actual, expected]] of answers.entries())
    assertClose(actual, expected, {}, `request ${at}`);
  const metrics = await scrape(url);
  assert.ok(
    metrics.get('lorasa_batch_requests_count{model="team"}')! < answers.length,
    "some shared a batch",
  );
});

/** Without what the driver's loader and the library write themselves. */
function ownLines(stderr: string): readonly string[] {
  return stderr.split("\n").filter((line) => line !== "" && !/^Warning: vk|^ +at Check/.test(line));
}

test("without a driver serve ends with one clear line", { skip: skip || NO_HIDING }, (context) => {
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [MODEL]);
  const { status, stderr, stdout } = runCommand(
    ["serve", repository, "--port", "0", "--device", "webgpu"],
    NO_DRIVER,
  );
  assert.deepEqual([status, stdout], [2, ""], stderr);
  const [line, ...more] = ownLines(stderr);
  assert.deepEqual(more, []);
  assert.match(
    line!,
    /device webgpu: .*received no driver or adapter; install a Vulkan.*--device cpu.*LORASA_DEVICE/,
  );
});

test("without a driver a server that may fall back serves from the CPU, and its log and metrics say so", {
  skip: skip || NO_HIDING,
}, async (context) => {
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [MODEL]);
  const flags = [repository, "--device", "webgpu", "--fallback", "cpu"];
  const server = await serveProcess(context, flags, NO_DRIVER);
  const client = new ServerClient(server.url);
  const policy = new TinyPolicy({});
  assertClose(
    (await answered(client))[0],
    [0, 1].flatMap((agent) => expectedAction(policy, OBSERVATION, agent, agent)),
  );
  client.close();
  assert.equal((await ask(`${server.url}/v2/health/ready`)).status, 200);
  const metrics = await scrape(server.url);
  assert.equal(metrics.get('lorasa_device_failures_total{model="team",result="moved"}'), 1);
  const onDevice = [...metrics].filter(
    ([name]) => name.startsWith("lorasa_model_memory_bytes") && name.includes("device"),
  );
  assert.deepEqual(onDevice, []);
  const [moved, ...more] = server.log().match(/^.*model_moved_to_cpu.*$/gm)!;
  assert.match(moved!, /"level":"warn".*received no driver or adapter/);
  assert.deepEqual(more, []);
  assert.equal(await server.stop(), 0);
});

test("without CUDA's files serve ends with one clear line that says where they come from", {
  skip: skip || HAS_CUDA,
}, (context) => {
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [MODEL]);
  const { status, stderr, stdout } = runCommand(["serve", repository, "--port", "0", "--device", "cuda"]);
  assert.deepEqual([status, stdout], [2, ""], stderr);
  const [line, ...more] = ownLines(stderr);
  assert.deepEqual(more, []);
  assert.match(line!, /device cuda: .*received none of ONNX Runtime's CUDA files.*README.*LORASA_DEVICE/);
});
