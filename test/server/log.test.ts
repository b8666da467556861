/** The log: its JSON, its lines for a person, what it leaves out. Not when the server calls it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { createLog, type LogOptions } from "../../server/operations/log.ts";
import { LorasaError } from "../../src/base/errors.ts";
import { assertFails } from "../helpers/fails.ts";

const ADAPTER = { model: "team", adapter: "agent_0", version: 3, sha256: "0123456789abcdef0123" };
const FAILURE = { code: "LORASA_NAME", route: "POST /v2/models/:model/infer", status: 400 };

function collect(options: LogOptions = {}) {
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  return { lines, log: createLog({ destination, level: "info", ...options }) };
}

function parse(line: string): Record<string, unknown> {
  return JSON.parse(line) as Record<string, unknown>;
}

test("an event is one line of JSON with time, level, name and its fields, and nothing of the machine", () => {
  const { lines, log } = collect();
  log.write("adapter_replaced", ADAPTER);
  assert.equal(lines.length, 1);
  const { time, ...entry } = parse(lines[0]!);
  assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.deepEqual(entry, { level: "info", event: "adapter_replaced", ...ADAPTER, sha256: "0123456789ab" });
});

test("what is below the level is not written", () => {
  const { lines, log } = collect({ level: "warn" });
  log.write("server_ready", { models: 1, ms: 2 });
  assert.equal(lines.length, 0);
  log.requestFailed(FAILURE);
  log.fault(new Error("broken"));
  assert.deepEqual(
    lines.map((line) => parse(line)["level"]),
    ["warn", "error"],
  );
  const silent = collect({ level: "silent" });
  silent.log.fault(new Error("broken"));
  assert.equal(silent.lines.length, 0);
});

test("evictions are written only for debugging: there may be one a request", () => {
  const { lines, log } = collect();
  log.write("adapter_evicted", ADAPTER);
  assert.equal(lines.length, 0);
  const debug = collect({ level: "debug" });
  debug.log.write("adapter_evicted", ADAPTER);
  assert.equal(parse(debug.lines[0]!)["event"], "adapter_evicted");
});

test("a flood of bad requests is ten lines a code in ten seconds, and one that says how many were left out", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { lines, log } = collect();
  for (let i = 0; i < 1000; i++) log.requestFailed(FAILURE);
  log.requestFailed({ ...FAILURE, code: "LORASA_SHAPE" });
  assert.equal(lines.length, 11);
  context.mock.timers.tick(10_000);
  assert.equal(lines.length, 12);
  const { time: _, ...told } = parse(lines[11]!);
  assert.deepEqual(told, { level: "warn", event: "left_out", code: "LORASA_NAME", lines: 990 });
  log.requestFailed(FAILURE);
  context.mock.timers.tick(10_000);
  assert.equal(lines.length, 13, "a window without a flood says nothing of one");
  assert.equal(parse(lines[12]!)["event"], "request_failed");
});

test("closing tells what was left out", () => {
  const { lines, log } = collect();
  for (let i = 0; i < 12; i++) log.requestFailed(FAILURE);
  log.close();
  assert.equal(parse(lines.at(-1)!)["lines"], 2);
});

test("codes without end cannot fill the memory or the disk", () => {
  const { lines, log } = collect();
  for (let i = 0; i < 5000; i++) log.requestFailed({ ...FAILURE, code: `code ${i}` });
  log.close();
  assert.ok(lines.length < 120, `${lines.length}`);
  assert.deepEqual(parse(lines.at(-1)!)["code"], "others");
});

test("a fault is written with its stack and its cause's, and is limited too", () => {
  const { lines, log } = collect();
  const cause = new TypeError("inner");
  log.fault(new LorasaError("LORASA_GRAPH", { asked: "outer", cause }));
  const { code, stack } = parse(lines[0]!);
  assert.equal(code, "LORASA_GRAPH");
  assert.match(String(stack), /LorasaError: outer\n.*log\.test\.ts.*caused by TypeError: inner\n/s);
  for (let i = 0; i < 50; i++) log.fault(new Error("again"));
  assert.equal(lines.length, 11);
});

test("only an event's own failure fields are written, whatever a caller's object holds besides", () => {
  const { lines, log } = collect();
  const more = { ...FAILURE, token: "secret", body: "x" };
  log.requestFailed(more);
  assert.deepEqual(Object.keys(parse(lines[0]!)), ["level", "time", "code", "route", "status", "event"]);
});

test("at a terminal a line is for a person, and no name can move the cursor or start a line", () => {
  const { lines, log } = collect({ human: true });
  log.write("adapter_loaded", { ...ADAPTER, adapter: "a\u001b[2J\nb\u202e\u009b" });
  assert.match(
    lines[0]!,
    /^\d\d:\d\d:\d\d\.\d{3} info {2}adapter loaded model=team adapter="a\\u001b\[2J\\nb\\u202e\\u009b" version=3 sha256=0123456789ab\n$/,
  );
  log.fault(new Error("broken"));
  assert.match(lines[1]!, / error fault code=internal\n {4}Error: broken\n {4}at /);
});

test("a wrong level is told by name", () => {
  assertFails(() => createLog({ level: "loud" }), "LORASA_FLAG", /log level: expected debug, info, warn/);
});

test("LORASA_LOG sets the level, and lines go to standard error as JSON when it is no terminal", () => {
  const { stderr, stdout, status } = logFromProcess("warn");
  assert.deepEqual([status, stdout], [0, ""]);
  const events = stderr.trim().split("\n").map(parse);
  assert.deepEqual(
    events.map(({ event }) => event),
    ["request_failed"],
  );
});

function logFromProcess(level: string) {
  const script = `
    import { createLog } from ${JSON.stringify(new URL("../../server/operations/log.ts", import.meta.url).href)};
    const log = createLog();
    log.write("server_ready", { models: 1, ms: 1 });
    log.requestFailed(${JSON.stringify(FAILURE)});`;
  const args = ["--import", "tsx", "--input-type=module", "-e", script];
  return spawnSync(process.execPath, args, { encoding: "utf8", env: { ...process.env, LORASA_LOG: level } });
}
