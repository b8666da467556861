/** A model on a device: its bank, what it takes of memory, and what becomes of requests when the device fails. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { assertClose } from "../helpers/close.ts";
import { deviceRuntime } from "../helpers/device-runtime.ts";
import { ask, floats, indices, openTiny, push } from "../helpers/engine-service.ts";

const TEAM = { obs: floats([1, 2, 3], [0.5, -1, 2, 1, 0, -0.5]) };

test("a device gives the CPU's answers, team and tagged rows, before and after a swap", async (context) => {
  const runtime = deviceRuntime();
  const [there, here] = [
    await openTiny(context, { mode: "factored" }, { runtime }),
    await openTiny(context, { mode: "factored" }),
  ];
  const rows = { obs: floats([3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]), agent: indices(1, 0, 1) };
  for (let version = 0; version < 3; version++) {
    for (const inputs of [TEAM, rows]) {
      const [actual, expected] = [await ask(there, "team", inputs), await ask(here, "team", inputs)];
      assert.deepEqual(actual.versions, expected.versions);
      // Tagged rows may take either layout, which differ in the last bits.
      assertClose(actual.outputs["action"]!, expected.outputs["action"]!, {}, `version ${version}`);
    }
    for (const engine of [there, here]) await push(engine, "agent_1", 10 + version);
  }
  assert.ok(runtime.runs > 0);
});

test("a device that is lost fails requests in one line, and the server is not ready any more", async (context) => {
  const runtime = deviceRuntime();
  const engine = await openTiny(context, { mode: "factored" }, { runtime });
  runtime.lost = true;
  await assert.rejects(ask(engine, "team", TEAM), {
    code: "LORASA_DEVICE",
    message: /a device that was lost/,
  });
  assert.equal(engine.service.isReady(), false);
  assert.deepEqual(
    engine.events.devices.map(({ model, device, moved }) => [model, device, moved]),
    [["team", "webgpu", false]],
  );
});

test("a server that may fall back loses no request and no adapter with the device", async (context) => {
  const runtime = deviceRuntime();
  const engine = await openTiny(context, { mode: "factored" }, { runtime, fallback: true });
  await push(engine, "agent_0", 7);
  const before = await ask(engine, "team", TEAM);
  runtime.lost = true;
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask(engine, "team", TEAM)));
  for (const answer of answers) assert.deepEqual(answer, before);
  assert.equal(engine.service.isReady(), true);
  assert.deepEqual(
    engine.events.devices.map(({ moved }) => moved),
    [true],
  );
  const { placed } = engine.service.repository.model("team");
  assert.equal(placed.device, "cpu");
  await push(engine, "agent_0", 8);
  const swapped = await ask(engine, "team", TEAM);
  assert.equal(swapped.versions["agent_0"], before.versions["agent_0"]! + 1);
  assert.notDeepEqual(swapped.outputs, before.outputs);
});

test("a run that the device has no room for fails alone; the model stays where it is", async (context) => {
  const runtime = deviceRuntime();
  const engine = await openTiny(context, { mode: "factored" }, { runtime, fallback: true });
  runtime.rowLimit = 8;
  const large = { obs: floats([8, 2, 3], new Float32Array(48)) };
  const [small, refused] = await Promise.allSettled([ask(engine, "team", TEAM), ask(engine, "team", large)]);
  assert.equal(small.status, "fulfilled");
  assert.match((refused as PromiseRejectedResult).reason.message, /no room in the device's memory/);
  assert.equal(engine.service.repository.model("team").placed.device, "webgpu");
  assert.equal(engine.service.isReady(), true);
});

test("a missing device is an error at the start, or the CPU where that is allowed", async (context) => {
  const runtime = deviceRuntime();
  runtime.lost = true;
  await assert.rejects(openTiny(context, { mode: "factored" }, { runtime }), { code: "LORASA_DEVICE" });
  const engine = await openTiny(context, { mode: "factored" }, { runtime, fallback: true });
  assert.deepEqual(engine.events.devices.length, 1);
  const answer = await ask(engine, "team", TEAM);
  assert.deepEqual(answer.outputs["action"]?.length, 4);
});

test("memory is told by part and place, and a device's memory apart", async (context) => {
  const engine = await openTiny(context, { mode: "factored" }, { runtime: deviceRuntime() });
  const [team] = engine.service.statistics("team");
  const { memory } = engine.service.repository.model("team");
  const bytes = (part: string, place: string) =>
    memory.find((use) => use.part === part && use.place === place)!.bytes;
  assert.deepEqual(
    memory.map(({ part, place }) => [part, place]),
    [
      ["backbone", "device"],
      ["bank", "device"],
      ["adapters", "host"],
      ["backbone", "host"],
    ],
  );
  // This device shares no weights: its graphs' are the library's.
  assert.equal(bytes("backbone", "device"), 0);
  assert.deepEqual(team!.memory_usage, [
    { type: "CPU", id: 0, byte_size: bytes("adapters", "host") + bytes("backbone", "host") },
    { type: "GPU", id: 0, byte_size: bytes("bank", "device") },
  ]);
});

test("of several devices a model stays on the quickest that works, and says why", async (context) => {
  const broken = deviceRuntime();
  broken.lost = true;
  const slow = deviceRuntime();
  slow.delayMs = 20;
  const alone = await openTiny(context, { mode: "factored" }, { otherRuntimes: [broken] });
  const { placed, why } = alone.service.repository.model("team");
  assert.equal(placed.device, "cpu");
  assert.match(why ?? "", /^cpu: a team request of 8 environments takes .*; webgpu: a device that was lost$/);
  const both = await openTiny(
    context,
    { mode: "factored" },
    { runtime: slow, otherRuntimes: [createRuntime()] },
  );
  assert.equal(both.service.repository.model("team").placed.device, "cpu");
  assert.match(both.service.repository.model("team").why ?? "", /on webgpu .* ms; small policies/);
});
