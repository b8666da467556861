/** Pushed adapters on disk: found again by the next server, whole or not at all, and a disk that refuses. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ServerClient } from "../../server/client.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { CONFIG_FILE, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { assertClose } from "../helpers/close.ts";
import {
  adapterFiles,
  ask,
  assertRejects,
  expectedAction,
  floats,
  openFolder,
  openTiny,
  push,
  type TinyEngine,
} from "../helpers/engine-service.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { TinyPolicy, writeTinyRepository } from "../helpers/tiny-models.ts";

const FACTORED = { mode: "factored" } as const;
const OBSERVATION = [0.5, -1, 2];
const OWN = { obs: floats([1, 3], OBSERVATION) };

/** Closes an engine and opens its repository again. */
async function restart(
  context: TestContext,
  engine: TinyEngine,
  options: object,
): Promise<Omit<TinyEngine, "repository">> {
  await engine.service.close();
  const { service, events } = await openFolder(context, engine.repository, options);
  return { service, events, policy: engine.policy, adapters: () => service.adapters("team") };
}

async function check(
  engine: Pick<TinyEngine, "service" | "policy">,
  name: string,
  version: number,
  seed: number,
): Promise<void> {
  const { outputs, versions } = await ask(engine, "team.agent_0", OWN, { adapter_id: name });
  assert.deepEqual(versions, { [name]: version });
  assertClose(outputs["action"]!, expectedAction(engine.policy, OBSERVATION, 0, seed), {}, name);
}

test("what was pushed is there after a restart, with its version and the one before", async (context) => {
  const options = { adapterStore: temporaryFolder(context) };
  const engine = await openTiny(context, FACTORED, options);
  await push(engine, "agent_0", 70);
  await push(engine, "agent_0", 71);
  await push(engine, "agent_1", 72);
  await push(engine, "agent_0.blue", 73);
  await push(engine, "agent_0.gone", 74);
  await engine.adapters().unload("agent_0.gone", true);
  await push(engine, "agent_1.back", 75);
  await push(engine, "agent_1.back", 76);
  await engine.adapters().rollback("agent_1.back");
  const next = await restart(context, engine, options);
  const list = next.adapters().list();
  assert.deepEqual(
    list.map(({ name, version, previousVersion, state }) => [name, version, previousVersion, state]),
    [
      ["agent_0", 3, 2, "READY"],
      // The model's own is the version before.
      ["agent_1", 2, 1, "READY"],
      ["agent_0.blue", 1, 0, "READY"],
      ["agent_1.back", 3, 2, "READY"],
    ],
  );
  await check(next, "agent_0", 3, 71);
  await check(next, "agent_0.blue", 1, 73);
  await check(next, "agent_1.back", 3, 75);
  await next.adapters().rollback("agent_0");
  await check(next, "agent_0", 4, 70);
  await next.adapters().rollback("agent_1");
  await check(next, "agent_1", 3, 1);
  await next.adapters().rollback("agent_1.back");
  await check(next, "agent_1.back", 4, 76);
});

test("the store keeps two versions of an adapter and no more", async (context) => {
  const adapterStore = temporaryFolder(context);
  const engine = await openTiny(context, FACTORED, { adapterStore });
  for (let seed = 1; seed <= 5; seed++) await push(engine, "agent_0.a", seed);
  await engine.adapters().rollback("agent_0.a");
  assert.deepEqual(readdirSync(join(adapterStore, "team/agent_0.a")).sort(), ["5", "6"]);
  assert.deepEqual(readdirSync(join(adapterStore, "team/agent_0.a/6")).sort(), [CONFIG_FILE, TENSORS_FILE]);
  await engine.adapters().unload("agent_0.a", true);
  assert.equal(existsSync(join(adapterStore, "team/agent_0.a")), false);
});

test("what an interrupted write or removal left is removed; what is not ours is passed over", async (context) => {
  const adapterStore = temporaryFolder(context);
  const options = { adapterStore };
  const engine = await openTiny(context, FACTORED, options);
  await push(engine, "agent_0", 70);
  await push(engine, "agent_0", 71);
  const folder = join(adapterStore, "team/agent_0");
  // A write that was killed before it had its name, a removal of version 1 and of version 9 half done.
  cpSync(join(folder, "3"), join(folder, "4-12345-1.tmp"), { recursive: true });
  for (const version of ["1", "9"]) {
    cpSync(join(folder, "3"), join(folder, version), { recursive: true });
    rmSync(join(folder, version, TENSORS_FILE));
  }
  writeFileSync(join(folder, "notes.txt"), "mine");
  writeFileSync(join(adapterStore, "team/README"), "mine");
  mkdirSync(join(adapterStore, "team/nobody/1"), { recursive: true });
  mkdirSync(join(adapterStore, "team/.hidden"));
  mkdirSync(join(folder, "latest"));
  const next = await restart(context, engine, options);
  await check(next, "agent_0", 3, 71);
  assert.deepEqual(readdirSync(folder).sort(), ["2", "3", "latest", "notes.txt"]);
  assert.equal((await push({ ...next }, "agent_0", 72)).version, 4);
});

test("a stored adapter that cannot be used any more is a fault of it alone, until it is pushed again", async (context) => {
  const adapterStore = temporaryFolder(context);
  const options = { adapterStore };
  const engine = await openTiny(context, FACTORED, options);
  await push(engine, "agent_0", 70);
  await push(engine, "agent_1", 71);
  await push(engine, "agent_1.blue", 72);
  writeFileSync(join(adapterStore, "team/agent_0/2", TENSORS_FILE), "broken");
  writeFileSync(join(adapterStore, "team/agent_1.blue/1", CONFIG_FILE), "broken");
  const next = await restart(context, engine, options);
  assert.equal(next.events.faults.length, 1);
  await check(next, "agent_1", 2, 71);
  for (const name of ["agent_0", "agent_1.blue"]) {
    const asked = ask(next, "team.agent_0", OWN, { adapter_id: name });
    await assertRejects(asked, "LORASA_UNAVAILABLE", new RegExp(`adapter ${name}: .*push it again`));
  }
  await push(next, "agent_0", 73);
  await check(next, "agent_0", 3, 73);
});

/** Makes every write into the store fail, whoever runs the tests. */
const OBSTACLES: Readonly<Record<string, (store: string) => void>> = {
  "a file in place of the store": (store) => {
    rmSync(store, { recursive: true });
    writeFileSync(store, "");
  },
  "a file in place of the model's folder": (store) => writeFileSync(join(store, "team"), ""),
  "a file in place of the adapter's folder": (store) => {
    mkdirSync(join(store, "team"));
    writeFileSync(join(store, "team/agent_0"), "");
  },
};

for (const [what, obstruct] of Object.entries(OBSTACLES)) {
  test(`${what}: a push is told so, nothing changes, the server goes on`, async (context) => {
    const adapterStore = join(temporaryFolder(context), "store");
    mkdirSync(adapterStore);
    const engine = await openTiny(context, FACTORED, { adapterStore });
    const before = engine.adapters().list();
    obstruct(adapterStore);
    const pushing = push(engine, "agent_0", 70);
    await assertRejects(
      pushing,
      "LORASA_DISK",
      /storing adapter agent_0: received .*; choose a folder that can be written/,
    );
    assert.deepEqual(engine.adapters().list(), before);
    await check(engine, "agent_0", 1, 0);
    rmSync(adapterStore, { recursive: true });
    assert.equal((await push(engine, "agent_0", 71)).version, 2);
    await check(engine, "agent_0", 2, 71);
  });
}

test("a store that cannot be read is told when the server starts", async (context) => {
  const adapterStore = temporaryFolder(context);
  const repository = temporaryFolder(context);
  writeTinyRepository(repository, [FACTORED]);
  writeFileSync(join(adapterStore, "team"), "");
  await assertRejects(
    openFolder(context, repository, { adapterStore }),
    "LORASA_DISK",
    /reading the adapter store/,
  );
});

test("a full disk: a push is told so, nothing is left of it, and there is room for the next", async (context) => {
  const adapterStore = smallDisk(context);
  if (adapterStore === undefined) {
    context.skip("mounting a small disk needs root");
    return;
  }
  const engine = await openTiny(context, FACTORED, { adapterStore });
  await push(engine, "agent_0", 70);
  writeFileSync(join(adapterStore, "filler"), Buffer.alloc(50 * 1024));
  const full = /storing adapter agent_0: received no space left on the device; free some space/;
  for (let attempt = 0; attempt < 3; attempt++) {
    await assertRejects(push(engine, "agent_0", 71), "LORASA_DISK", full);
    assert.deepEqual(readdirSync(join(adapterStore, "team/agent_0")), ["2"]);
  }
  await check(engine, "agent_0", 2, 70);
  rmSync(join(adapterStore, "filler"));
  await push(engine, "agent_0", 72);
  await check(engine, "agent_0", 3, 72);
});

/** A folder of 64 KiB of memory, where that may be had. */
function smallDisk(context: TestContext): string | undefined {
  const folder = mkdtempSync(join(tmpdir(), "lorasa-"));
  try {
    execFileSync("/bin/mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], { stdio: "ignore" });
  } catch {
    rmSync(folder, { recursive: true });
    return undefined;
  }
  context.after(() => {
    execFileSync("/bin/umount", ["-l", folder], { stdio: "ignore" });
    rmSync(folder, { recursive: true });
  });
  return folder;
}

const TOKEN = "a token for this test alone";
const SEEDS = 6;

test("a server that is killed in the middle of pushes starts again with a version that it had told of", async (context) => {
  const folder = temporaryFolder(context);
  const repository = join(folder, "repository");
  const store = join(folder, "store");
  mkdirSync(repository);
  writeTinyRepository(repository, [FACTORED]);
  writeFileSync(join(folder, "token"), TOKEN);
  const policy = new TinyPolicy({});
  const files = Array.from({ length: SEEDS }, (_, seed) => adapterFiles(policy.adapter(seed)));
  let told = 1;
  for (const acknowledged of [3, 20, 0]) {
    const server = await startProcess(context, folder, repository, store);
    const { adapterVersions, outputs } = await server.client.infer("team.agent_0", {
      obs: floatTensor([1, 3], OBSERVATION),
    });
    const version = adapterVersions["agent_0"]!;
    // The push under way when it was killed may have been stored.
    assert.ok(version === told || version === told + 1, `told of ${told}, serves ${version}`);
    const seed = version === 1 ? 0 : version % SEEDS;
    assertClose(
      outputs["action"]!.data as Float32Array,
      expectedAction(policy, OBSERVATION, 0, seed),
      {},
      `${version}`,
    );
    const left = existsSync(store) ? readdirSync(store, { recursive: true }) : [];
    assert.deepEqual(
      left.filter((path) => `${path}`.endsWith(".tmp")),
      [],
    );
    told = version;
    while (told < version + acknowledged) told = await pushNext(server.client, files, told);
    if (acknowledged === 0) {
      server.client.close();
      server.child.kill("SIGKILL");
      continue;
    }
    const last = pushNext(server.client, files, told).catch(() => told);
    // Somewhere in the middle of it: each round at another place.
    for (let turn = 0; turn < acknowledged; turn++) await new Promise((resolve) => setImmediate(resolve));
    server.child.kill("SIGKILL");
    told = await last;
    server.client.close();
  }
});

/** The seed of a version is its number, round and round. */
async function pushNext(
  client: ServerClient,
  files: ReturnType<typeof adapterFiles>[],
  told: number,
): Promise<number> {
  const { config, tensors } = files[(told + 1) % SEEDS]!;
  return Number((await client.pushAdapter("team", "agent_0", config, tensors)).version);
}

async function startProcess(
  context: TestContext,
  folder: string,
  repository: string,
  store: string,
): Promise<{ child: ChildProcess; client: ServerClient }> {
  const flags = [
    "serve",
    repository,
    "--port",
    "0",
    "--json",
    "--token-file",
    join(folder, "token"),
    "--adapter-store",
    store,
  ];
  const child = spawn(process.execPath, ["--import", "tsx", "src/cli/main.ts", ...flags], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  context.after(() => child.kill("SIGKILL"));
  let text = "";
  for await (const chunk of child.stderr!) {
    text += chunk;
    const line = text.split("\n").find((each) => each.startsWith('{"url"'));
    if (line)
      return {
        child,
        client: new ServerClient((JSON.parse(line) as { url: string }).url, { token: TOKEN, retries: 0 }),
      };
  }
  throw new Error(`the server did not start: ${text}`);
}

test("what was pushed stays when the model is loaded again, without a store as well, and numbers go on", async (context) => {
  const engine = await openTiny(context, FACTORED, {});
  await push(engine, "agent_0", 70);
  await push(engine, "agent_0.blue", 71);
  await engine.service.load("team");
  await check(engine, "agent_0", 2, 70);
  await check(engine, "agent_0.blue", 1, 71);
  // The model's own may have been exported again: it counts as loaded once more.
  assert.equal(engine.adapters().status("agent_1").version, 2);
  await engine.service.unload("team");
  await engine.service.load("team");
  await check(engine, "agent_0", 2, 70);
  assert.equal((await push(engine, "agent_1", 72)).version, 4);
});

test("what was pushed for another backbone gives way to the model's own, under a number that meant nothing else", async (context) => {
  const options = { adapterStore: temporaryFolder(context) };
  const engine = await openTiny(context, FACTORED, options);
  await push(engine, "agent_0", 70);
  await push(engine, "agent_0", 71);
  await push(engine, "agent_1", 72);
  const config = join(options.adapterStore, "team/agent_0/3", CONFIG_FILE);
  const other = readFileSync(config, "utf8").replace(
    /"revision": "[0-9a-f]{64}"/,
    `"revision": "${"0".repeat(64)}"`,
  );
  assert.notEqual(other, readFileSync(config, "utf8"));
  writeFileSync(config, other);
  const next = await restart(context, engine, options);
  await check(next, "agent_0", 4, 0);
  await check(next, "agent_1", 2, 72);
  assert.equal((await push(next, "agent_0", 73)).version, 5);
});
