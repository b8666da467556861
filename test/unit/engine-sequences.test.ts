/** Ids of sequences, and which of them are live: by a clock of the test's own. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type SequenceCall, SequenceStore, sequenceOf } from "../../server/engine/sequences.ts";
import type { ParameterValue } from "../../server/protocol/request.ts";
import { assertFails } from "../helpers/fails.ts";

const START = { id: "1", start: true, end: false };
const NEXT = { id: "1", start: false, end: false };

function storeAt(limits: { count?: number; idleMs?: number }) {
  const clock = { nowMs: 0 };
  const store = new SequenceStore({ count: 10, idleMs: 100, ...limits }, () => clock.nowMs);
  return { clock, store };
}

function named(id: string, start = true): SequenceCall {
  return { id, start, end: false };
}

test("an id of nothing, 0 or an empty text is no sequence", () => {
  for (const parameters of [{}, { sequence_id: 0 }, { sequence_id: "" }, { sequence_id: "0" }]) {
    assert.equal(sequenceOf({ ...parameters, sequence_start: true }), undefined);
  }
});

test("a number and its text are one id; 64-bit ids come as text", () => {
  const ids: readonly (readonly [ParameterValue, string])[] = [
    [7, "7"],
    ["7", "7"],
    [2 ** 53 - 1, "9007199254740991"],
    ["18446744073709551615", "18446744073709551615"],
    ["episode/7 of ö", "episode/7 of ö"],
    ["x".repeat(256), "x".repeat(256)],
  ];
  for (const [sequence_id, id] of ids) {
    assert.deepEqual(sequenceOf({ sequence_id }), { id, start: false, end: false });
  }
});

test("ids that are none, among them numbers that JSON has rounded", () => {
  for (const sequence_id of [-1, 1.5, 2 ** 53, 2 ** 64, Number.NaN, true, "x".repeat(257)]) {
    assertFails(
      () => sequenceOf({ sequence_id }),
      "LORASA_REQUEST",
      /parameters\.sequence_id: expected a whole number or a string/,
      `${sequence_id}`,
    );
  }
});

test("start and end are true or false", () => {
  const parameters = { sequence_id: 1, sequence_start: true, sequence_end: true };
  assert.deepEqual(sequenceOf(parameters), { id: "1", start: true, end: true });
  for (const name of ["sequence_start", "sequence_end"]) {
    assertFails(
      () => sequenceOf({ sequence_id: 1, [name]: 1 }),
      "LORASA_REQUEST",
      new RegExp(`parameters\\.${name}: expected true or false`),
    );
  }
});

test("what was not started, has ended or was forgotten is told apart from what is live", () => {
  const { store } = storeAt({});
  const refused = /sequence 1 of team: expected a live one, or sequence_start with its first request/;
  assertFails(() => store.open("team", NEXT), "LORASA_REQUEST", refused);
  const first = store.open("team", START);
  assert.equal(store.open("team", NEXT), first);
  assertFails(() => store.open("team.agent_0", NEXT), "LORASA_REQUEST", /of team\.agent_0/);
  store.end("team", NEXT, first);
  assertFails(() => store.open("team", NEXT), "LORASA_REQUEST", refused);
});

test("a start begins anew, and the end of the one before does not end it", () => {
  const { store } = storeAt({});
  const first = store.open("team", START);
  const second = store.open("team", START);
  assert.notEqual(first, second);
  store.end("team", NEXT, first);
  assert.equal(store.open("team", NEXT), second);
  assert.equal(store.size, 1);
});

test("one that was idle for too long is forgotten; a request keeps it, and one under way too", () => {
  const { store, clock } = storeAt({ idleMs: 100 });
  store.open("team", named("idle"));
  const busy = store.open("team", named("busy"));
  busy.waiting = 1;
  store.open("team", named("used"));
  clock.nowMs = 60;
  store.open("team", named("used", false));
  clock.nowMs = 100;
  store.sweep();
  assert.equal(store.size, 3, "not before the time is over");
  clock.nowMs = 101;
  store.sweep();
  assert.equal(store.size, 2);
  assertFails(() => store.open("team", named("idle", false)), "LORASA_REQUEST", /idle for too long/);
  clock.nowMs = 161;
  store.sweep();
  assert.equal(store.open("team", named("busy", false)), busy);
  assertFails(() => store.open("team", named("used", false)), "LORASA_REQUEST", /idle for too long/);
});

test("no more than the bound, unless some were idle; a restart takes no more room", () => {
  const { store, clock } = storeAt({ count: 2, idleMs: 100 });
  store.open("team", named("a"));
  clock.nowMs = 50;
  store.open("team", named("b"));
  const full = /sequence c of team: expected fewer than 2 live sequences, received 2; .*--sequence-limit/;
  assertFails(() => store.open("team", named("c")), "LORASA_UNAVAILABLE", full);
  store.open("team", named("b"));
  clock.nowMs = 101;
  store.open("team", named("c"));
  assertFails(() => store.open("team", named("a", false)), "LORASA_REQUEST", /sequence a/);
  store.open("team", named("b", false));
  assert.equal(store.size, 2);
});

test("a model's sequences are forgotten with its agents' and without those of others", () => {
  const { store } = storeAt({});
  for (const model of ["team", "team.agent_0", "team.agent_0.blue", "team2", "tea"]) store.open(model, START);
  store.forget("team");
  assert.equal(store.size, 2);
  for (const model of ["team2", "tea"]) store.open(model, NEXT);
});

test("states are bounded by their bytes; what ends, starts again or is forgotten gives its bytes back", () => {
  const store = new SequenceStore({ count: 10, idleMs: 100, bytes: 64 }, () => 0);
  const call = (id: string) => ({ id, start: true, end: false });
  const [a, b] = [store.open("m", call("a")), store.open("m", call("b"))];
  store.keep("m", call("a"), a, new Float32Array(8));
  store.keep("m", call("b"), b, new Float32Array(8));
  const kept = b.hidden;
  assertFails(
    () => store.keep("m", call("b"), b, new Float32Array(9)),
    "LORASA_UNAVAILABLE",
    /at most 64 bytes of states/,
  );
  assert.equal(b.hidden, kept);
  store.end("m", call("a"), a);
  store.keep("m", call("b"), b, new Float32Array(16));
  const again = store.open("m", call("b"));
  // Of a request that began before the start: it counts for nothing any more.
  store.keep("m", call("b"), b, new Float32Array(100));
  store.keep("m", call("b"), again, new Float32Array(16));
  store.forget("m");
  store.keep("m", call("c"), store.open("m", call("c")), new Float32Array(16));
});
