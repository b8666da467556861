/** Which of several devices is picked, and what is said of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { candidates, choiceText, type DeviceTime, quickest } from "../../src/runtime/choose.ts";
import { assertFails } from "../helpers/fails.ts";

const TIMES: readonly DeviceTime[] = [
  { device: "cpu", ms: 0.03 },
  { device: "webgpu", ms: 0.9 },
  { device: "cuda", fault: "no files" },
];

test("the quickest device is picked, whatever their order", () => {
  assert.equal(quickest(TIMES), "cpu");
  assert.equal(quickest([...TIMES].reverse()), "cpu");
  assert.equal(quickest([{ device: "cpu", ms: 5 }, ...TIMES.slice(1)]), "webgpu");
});

test("the reason names every device: its time, or why it has none", () => {
  assert.equal(
    choiceText("a step", TIMES),
    "cpu: a step takes 30 µs, on webgpu 900 µs; small policies are often quickest there; cuda: no files",
  );
  assert.equal(
    choiceText("a step", [{ device: "cpu", ms: 5 }, ...TIMES.slice(1)]),
    "webgpu: a step takes 900 µs, on cpu 5 ms; cuda: no files",
  );
});

test("no device at all is one line with what each said", () => {
  assertFails(
    () => quickest([{ device: "webgpu", fault: "no driver" }, TIMES[2]!]),
    "LORASA_DEVICE",
    /received webgpu: no driver, cuda: no files/,
  );
});

test("auto tries every device, a name that one alone", () => {
  assert.deepEqual(
    candidates("auto").map(({ device }) => device),
    ["cpu", "webgpu", "cuda"],
  );
  assert.deepEqual(
    candidates("cpu").map(({ device }) => device),
    ["cpu"],
  );
});
