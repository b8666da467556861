/**
 * `lorasa train --push` against a real server: what is served at the end is what was trained, and training is the same
 * to the last bit with and without it.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { exportTeam } from "../../exporters/export-team.ts";
import { type RunningServer, startServer } from "../../server/app.ts";
import { type InferAnswer, ServerClient } from "../../server/client.ts";
import { sha256 } from "../../src/base/files.ts";
import { Random } from "../../src/base/random.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { train } from "../../src/training/run.ts";
import { loadRun, withStartedAdapters } from "../../src/training/saved-run.ts";
import { assertClose } from "../helpers/close.ts";
import { tinyConfig } from "../helpers/tiny-run.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
const AGENTS = ["agent_0", "agent_1"];
/** Six rollouts of shared training, then six with adapters. */
const CONFIG = tinyConfig({ envs: 2, steps: 480, switchAt: 240, evaluationEpisodes: 1, epochs: 1 });
const folder = mkdtempSync(join(tmpdir(), "lorasa-push-"));
const shared = join(folder, "shared");
const repository = join(folder, "repository");
let server: RunningServer;
let client: ServerClient;

before(async () => {
  const stop = new AbortController();
  const onProgress = ({ done }: { done: number }): void => {
    if (done >= 240) stop.abort();
  };
  const runtime = createRuntime();
  await train({ config: CONFIG, directory: shared, runtime, signal: stop.signal, onProgress });
  const { team, saved } = loadRun(join(shared, "switch"));
  exportTeam(withStartedAdapters(team, saved.config), { mode: "factored", repository });
  exportTeam(team, { mode: "merged", repository, name: "shared" });
  server = await startServer({ repository, port: 0, token: TOKEN });
  client = new ServerClient(server.url, { token: TOKEN });
  writeFileSync(join(folder, "token.txt"), `${TOKEN}\n`);
});

after(async () => {
  client.close();
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Outcome {
  readonly json: Record<string, unknown>;
  readonly stderr: string;
}

/** The command line as a user runs it; the server of this process answers meanwhile. */
function lorasa(...args: string[]): Promise<Outcome> {
  const main = join("src", "cli", "main.ts");
  const child = spawn(process.execPath, ["--import", "tsx", main, ...args, "--json"], { timeout: 120_000 });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (text) => {
    stdout += text;
  });
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once("close", (status) => {
      if (status === 0) resolve({ json: JSON.parse(stdout.trim().split("\n").at(-1)!), stderr });
      else reject(new Error(`ended with ${status}: ${stderr}`));
    });
  });
}

/** A copy of the run at its switch, gone on with to its end. */
async function goOn(name: string, ...flags: string[]): Promise<Outcome & { checkpoint: string }> {
  const out = join(folder, name);
  cpSync(shared, out, { recursive: true });
  const outcome = await lorasa("train", "--resume", "--out", out, "--quiet", ...flags);
  return { ...outcome, checkpoint: join(out, "checkpoint") };
}

const pushing = (): string[] => ["--push", server.url, "--push-token-file", join(folder, "token.txt")];

/** Every file of a checkpoint; of the manifest all but how long it took. */
function contents(directory: string): Record<string, string> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  return Object.fromEntries(
    files.map(({ parentPath, name }) => {
      const path = join(parentPath, name);
      const text = readFileSync(path).toString("base64");
      const timeless = Buffer.from(text, "base64")
        .toString()
        .replace(/"seconds":\s*[\d.e-]+/, "");
      return [path.slice(directory.length), name === "lorasa.json" ? timeless : text];
    }),
  );
}

/** Actions of a team for the same observations each time. */
function act(asked: ServerClient, model: string): Promise<InferAnswer> {
  const random = new Random(5);
  const draw = (...dims: number[]) =>
    floatTensor(
      dims,
      Float32Array.from({ length: dims.reduce((a, b) => a * b) }, () => random.normal()),
    );
  const { team } = loadRun(join(shared, "switch"));
  const { hidden } = CONFIG;
  return asked.infer(model, {
    obs: draw(3, 2, team.actor.encoder.size),
    hidden_in: draw(3, 2, hidden.at(-1)!),
  });
}

test("the shared policy at the switch is served with adapters that change nothing yet", async () => {
  const [factored, merged] = await Promise.all([act(client, "team"), act(client, "shared")]);
  const data = (answer: InferAnswer) => answer.outputs["action"]!.data as Float32Array;
  assertClose(data(factored), data(merged), { atol: 1e-5 });
  assert.deepEqual(factored.adapterVersions, { agent_0: 1, agent_1: 1 });
});

test("what is served at the end is what was trained, and training is the same with and without", async (context) => {
  const [plain, pushed] = [
    await goOn("plain"),
    await goOn("pushed", ...pushing(), "--push-always", "--push-every", "80"),
  ];
  assert.deepEqual(contents(pushed.checkpoint), contents(plain.checkpoint));
  assert.equal(plain.json["push"], undefined);
  const push = pushed.json["push"] as Record<string, unknown>;
  const listed = await client.listAdapters("team");
  const versions = Object.fromEntries(listed.map(({ name, version }) => [name, version]));
  assert.deepEqual(push["versions"], versions);
  for (const { name, sha256: served } of listed) {
    const file = join(pushed.checkpoint, "adapters", name, "adapter_model.safetensors");
    assert.equal(served, sha256(readFileSync(file)), name);
  }
  // The first iteration with adapters, three multiples of 80 and the end; those that came too quickly gave way.
  assert.equal((push["pushed"] as number) + (push["superseded"] as number), 4);
  assert.deepEqual(
    versions,
    Object.fromEntries(AGENTS.map((name) => [name, `${1 + (push["pushed"] as number)}`])),
  );
  assert.deepEqual([push["rejected"], push["lost"], push["envSteps"], push["problem"]], [0, 0, 480, null]);
  assert.equal(pushed.stderr, "");

  // What the graphs of the final checkpoint answer, its adapters merged and verified against the trained network.
  const last = join(folder, "last");
  exportTeam(loadRun(pushed.checkpoint).team, { mode: "merged", repository: last });
  const other = await startServer({ repository: last, port: 0 });
  const asked = new ServerClient(other.url);
  context.after(async () => {
    asked.close();
    await other.close();
  });
  const [served, expected] = [await act(client, "team"), await act(asked, "team")];
  for (const name of ["action", "hidden_out"]) {
    const data = (answer: InferAnswer) => answer.outputs[name]!.data as Float32Array;
    assertClose(data(served), data(expected), { atol: 1e-5 }, name);
  }
});

test("a run of another backbone is not pushed: one warning says which export would fit, and training ends well", async () => {
  const before = await client.listAdapters("team");
  const out = join(folder, "other");
  const config = join(folder, "config.json");
  writeFileSync(config, JSON.stringify({ ...CONFIG, seed: 77, steps: 400, switchAt: 200 }));
  const { json, stderr } = await lorasa(
    "train",
    "--config",
    config,
    "--out",
    out,
    "--quiet",
    ...pushing(),
    "--push-always",
  );
  assert.equal(json["envSteps"], 400);
  const { pushed, rejected, problem } = json["push"] as Record<string, unknown>;
  assert.equal(pushed, 0);
  assert.ok((rejected as number) >= 1);
  assert.match(problem as string, /expected the backbone that team is served with/);
  assert.match(
    stderr,
    /^lorasa: adapters were not pushed, training goes on: .*other[/\\]switch --mode factored.*\n$/,
  );
  const versions = (list: typeof before) => list.map(({ version, sha256 }) => [version, sha256]);
  assert.deepEqual(versions(await client.listAdapters("team")), versions(before));
});

test("a server that is away does not harm training", async () => {
  const { json, stderr, checkpoint } = await goOn("away", "--push", "http://127.0.0.1:9");
  assert.match(stderr, /^lorasa: adapters were not pushed, training goes on: .*nothing listening there.*\n$/);
  assert.equal((json["push"] as { pushed: number }).pushed, 0);
  assert.deepEqual(contents(checkpoint), contents(join(folder, "plain", "checkpoint")));
});

test("lorasa adapter pushes a whole checkpoint, or nothing of it", async () => {
  const flags = ["--server", server.url, "--token-file", join(folder, "token.txt"), "--wait"];
  const before = Number((await client.listAdapters("team"))[0]!.version);
  const fits = join(folder, "plain", "checkpoint");
  const { json } = await lorasa("adapter", "push", fits, ...flags);
  const pushed = json as unknown as readonly { readonly name: string; readonly version: string }[];
  assert.deepEqual(
    pushed.map(({ name, version }) => [name, version]),
    AGENTS.map((name) => [name, `${before + 1}`]),
  );
  // One that fits, and one of another backbone.
  const mixed = join(folder, "mixed");
  cpSync(join(fits, "adapters", "agent_0"), join(mixed, "agent_0"), { recursive: true });
  cpSync(join(folder, "other", "checkpoint", "adapters", "agent_1"), join(mixed, "agent_1"), {
    recursive: true,
  });
  await assert.rejects(lorasa("adapter", "push", mixed, ...flags), /adapter agent_1: .*\[LORASA_ADAPTER\]/);
  await assert.rejects(
    lorasa("adapter", "push", "agent_7", join(fits, "adapters", "agent_0"), ...flags),
    /agent_7/,
  );
  const listed = (await lorasa("adapter", "list", ...flags)).json as unknown as typeof pushed;
  assert.deepEqual(
    listed.map(({ name, version }) => [name, version]),
    AGENTS.map((name) => [name, `${before + 1}`]),
  );
});
