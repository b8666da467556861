/** What the command line makes of pushes: folders of adapters, flags of `train --push`, and the words at the end. */
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { type TestContext, test } from "node:test";
import { describedText, listingText, statusText } from "../../src/cli/adapter/text.ts";
import { adapterFolders } from "../../src/cli/push/folders.ts";
import { type PushFlags, pushReport, pushText, startPusher } from "../../src/cli/push.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

/** Folders with an adapter's configuration in them, and others with none. */
function folders(context: TestContext, adapters: readonly string[], others: readonly string[] = []): string {
  const root = temporaryFolder(context);
  for (const folder of [...adapters, ...others]) mkdirSync(join(root, folder), { recursive: true });
  for (const folder of adapters) writeFileSync(join(root, folder, "adapter_config.json"), "{}");
  return root;
}

const TEN = ["agent_0", "agent_1", "agent_2", "agent_10"];

test("a folder of one adapter is pushed under its own name, or the one that is given", (context) => {
  const path = join(folders(context, ["agent_1"]), "agent_1");
  assert.deepEqual([...adapterFolders(path)], [["agent_1", path]]);
  assert.deepEqual([...adapterFolders(`${path}/`)], [["agent_1", `${path}/`]]);
  assert.deepEqual([...adapterFolders(path, "agent_1.blue")], [["agent_1.blue", path]]);
});

for (const within of ["", "adapters", "checkpoint/adapters"]) {
  test(`every adapter in ${within || "the folder itself"} is found, in the order of its number`, (context) => {
    const names = TEN.map((name) => join(within, name)).reverse();
    const root = folders(context, names, [join(within, "notes")]);
    const found = [...adapterFolders(root)].map(([name, path]) => [name, relative(root, path)]);
    assert.deepEqual(
      found,
      TEN.map((name) => [name, join(within, name)]),
    );
  });
}

test("one name for several adapters, and folders without any, are refused", (context) => {
  const several = folders(context, TEN);
  assert.throws(() => adapterFolders(several, "agent_0"), {
    code: "LORASA_FLAG",
    message: /as agent_0: expected the folder of one adapter, received 4/,
  });
  const none = folders(context, [], ["agent_0"]);
  assert.throws(() => adapterFolders(none), { code: "LORASA_FILE", message: /received neither/ });
  assert.throws(() => adapterFolders(join(none, "x")), { code: "LORASA_FILE", message: /no such folder/ });
});

const URL = "http://127.0.0.1:9";

/** Flags that are refused before anything is trained. */
const REFUSED: readonly (readonly [Omit<PushFlags, "out">, string, RegExp])[] = [
  [{ pushEvery: 5 }, "LORASA_FLAG", /--push-every: expected --push <url> with it/],
  [{ pushTokenFile: "token.txt" }, "LORASA_FLAG", /--push-token-file: expected --push/],
  [{ push: "localhost" }, "LORASA_FLAG", /--push: expected an address/],
  [{ push: URL, pushTokenFile: "/nowhere/token.txt" }, "LORASA_FILE", /token file/],
];

for (const [flags, code, message] of REFUSED) {
  test(`train with ${JSON.stringify(flags)} is refused`, () => {
    assert.throws(() => startPusher({ ...flags, out: "run" }, tinyConfig(), () => {}), { code, message });
  });
}

test("a way of sharing without adapters has nothing to push", () => {
  const config = tinyConfig({ sharing: "ps" });
  assert.throws(() => startPusher({ push: URL, out: "run" }, config, () => {}), {
    code: "LORASA_FLAG",
    message: /--push: expected --sharing lorasa.*received ps/,
  });
});

test("without the flag there is no pusher", () => {
  assert.equal(
    startPusher({ out: "run" }, tinyConfig(), () => {}),
    undefined,
  );
});

test("a run's summary says how many were pushed and rejected, and the last versions", () => {
  const summary = {
    pushed: 3,
    rejected: 1,
    lost: 0,
    superseded: 2,
    versions: { agent_0: "4", agent_1: "4" },
    envSteps: 1200,
    problem: "no token",
  };
  const report = pushReport({ push: URL, out: "run" }, summary);
  assert.deepEqual(report, { server: URL, model: "team", ...summary });
  assert.deepEqual(pushText(report), [
    "adapters    3 pushed, 1 rejected: http://127.0.0.1:9, team",
    "            of step 1.2k, versions agent_0 4, agent_1 4",
    "            last problem: no token",
  ]);
});

const NOW = 1_000_000_000_000;
const STATUS = {
  name: "agent_0",
  agent: "agent_0",
  version: "12",
  state: "READY",
  reason: "",
  resident: true,
  pinned: false,
  sha256: "0123456789abcdef",
  bytes: 86_528,
  loadedAtMs: NOW - 4 * 60_000,
  lastUsedMs: NOW - 2500,
  previousVersion: "11",
};
const WAITING = {
  ...STATUS,
  name: "agent_1.blue",
  version: "0",
  state: "UNAVAILABLE",
  reason: "unloaded",
  resident: false,
  sha256: "",
  bytes: 0,
  loadedAtMs: 0,
  lastUsedMs: 0,
  previousVersion: "0",
};

test("a listing is a table that says what a person asks: version, state, memory, size, age", () => {
  assert.deepEqual(listingText([STATUS, { ...WAITING, pinned: true }], NOW).split("\n"), [
    "adapter       version  state                  memory  size      loaded     used     sha256",
    "────────────  ───────  ─────────────────────  ──────  ────────  ─────────  ───────  ────────────",
    "agent_0       12       ready                  yes     84.5 KiB  4 min ago  2 s ago  0123456789ab",
    "agent_1.blue  0        unavailable: unloaded  pinned  –         never      never    –",
  ]);
  assert.equal(listingText([], NOW), "no adapters");
});

test("a description has all of an adapter and the layers that one must have", () => {
  const layers = [{ name: "mlp.0", in: 9, out: 64, rank: 8, scale: 0.5 }];
  assert.deepEqual(describedText({ ...STATUS, loadedAtMs: NOW - 3 * 86_400_000, layers }, NOW).split("\n"), [
    "agent_0",
    "  agent          agent_0",
    "  version        12",
    "  rolls back to  version 11",
    "  state          ready",
    "  memory         yes",
    "  size           84.5 KiB",
    "  loaded         3 d ago",
    "  used           2 s ago",
    "  sha256         0123456789abcdef",
    "",
    "layer  in  out  rank  scale",
    "─────  ──  ───  ────  ─────",
    "mlp.0   9   64     8    0.5",
  ]);
  assert.match(describedText({ ...WAITING, layers: [] }, NOW), /rolls back to {2}nothing/);
});

test("the line of one adapter", () => {
  assert.equal(statusText(STATUS), "agent_0: version 12, ready");
  assert.equal(statusText({ ...STATUS, pinned: true }), "agent_0: version 12, ready, pinned");
});
