/** The built command line as a user runs it: every command once on a tiny run, its JSON, and the line for each mistake. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

const MAIN = join("dist", "src", "cli", "main.js");
const folder = mkdtempSync(join(tmpdir(), "lorasa-cli-"));
const checkpoint = join(folder, "run", "checkpoint");
const repository = join(folder, "repository");
const TINY = [
  "--set",
  "envs=4",
  "--set",
  "rolloutLength=20",
  "--set",
  "evaluationEpisodes=2",
  "--set",
  "epochs=1",
];

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function lorasa(...args: string[]): Outcome {
  return spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8", timeout: 60_000 });
}

/** The JSON of the last line. */
function json(...args: string[]): Record<string, unknown> {
  const { status, stdout, stderr } = lorasa(...args, "--json");
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout.trim().split("\n").at(-1)!) as Record<string, unknown>;
}

before(() => {
  const built = spawnSync(
    process.execPath,
    [join("node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.build.json"],
    {
      encoding: "utf8",
    },
  );
  assert.equal(built.status, 0, built.stdout);
});

after(() => rmSync(folder, { recursive: true, force: true }));

test("train writes a checkpoint, metrics and events, and says what it did", () => {
  const flags = [
    "--preset",
    "lorasa-halfcheetah",
    "--steps",
    "320",
    ...TINY,
    "--out",
    join(folder, "run"),
    "--quiet",
  ];
  const result = json("train", ...flags);
  assert.equal(result["checkpoint"], checkpoint);
  assert.equal(result["envSteps"], 320);
  assert.ok((result["envStepsPerSecond"] as number) > 0);
  assert.deepEqual(Object.keys(result["return"] as object), ["mean", "std"]);
  assert.deepEqual(
    (result["phases"] as { phase: string }[]).map(({ phase }) => phase),
    ["shared", "adapters"],
  );
  assert.ok(existsSync(join(checkpoint, "adapters", "agent_1", "adapter_model.safetensors")));
  assert.equal(
    readFileSync(join(folder, "run", "metrics.jsonl"), "utf8")
      .trim()
      .split("\n").length,
    4,
  );
});

test("evaluate, export, inspect and compare take the checkpoint", () => {
  const { returns, mean } = json("evaluate", checkpoint, "--episodes", "2") as {
    returns: number[];
    mean: number;
  };
  assert.equal(returns.length, 2);
  assert.ok(Math.abs((returns[0]! + returns[1]!) / 2 - mean) < 1e-9);
  for (const mode of ["merged", "stacked", "factored"]) {
    const exported = json("export", checkpoint, "--mode", mode, "--name", mode, "--out", repository);
    assert.equal(exported["mode"], mode);
    assert.ok((exported["maxAbsDiff"] as number) < 1e-5);
    assert.ok((exported["files"] as string[]).includes("model.json"));
  }
  assert.match(lorasa("inspect", checkpoint).stdout, /38,936 parameters/);
  const flags = [
    "--agents",
    "2",
    "--rows",
    "1",
    "--rounds",
    "1",
    "--quick",
    "--out",
    join(folder, "compare"),
  ];
  const compared = json("compare", checkpoint, ...flags) as {
    maxAbsDiff: number;
    rows: { mode: string }[];
    advice: string;
  };
  assert.ok(compared.maxAbsDiff < 1e-5);
  assert.deepEqual(compared.rows.map(({ mode }) => mode).sort(), ["factored", "merged", "rows", "stacked"]);
  assert.ok(compared.advice.length > 20);
  assert.match(readFileSync(join(folder, "compare", "report.html"), "utf8"), /<svg/);
});

test("serve, simulate and adapter work together, and the server ends on a signal", async () => {
  const token = join(folder, "token.txt");
  writeFileSync(token, "0123456789abcdef0123456789abcdef\n");
  const server = spawn(process.execPath, [
    MAIN,
    "serve",
    repository,
    "--port",
    "0",
    "--token-file",
    token,
    "--json",
  ]);
  try {
    const { url } = JSON.parse(await firstLine(server)) as { url: string };
    const played = json("simulate", "--server", url, "--model", "factored", "--episodes", "2", "--seed", "5");
    const local = json("evaluate", join(repository, "factored"), "--episodes", "2", "--seed", "5");
    assert.deepEqual(played["returns"], local["returns"]);
    const managed = ["--server", url, "--model", "factored", "--token-file", token];
    const pushed = json("adapter", "push", "agent_0", join(checkpoint, "adapters", "agent_0"), ...managed);
    assert.equal(pushed["version"], "2");
    const listed = json("adapter", "list", ...managed) as unknown as { name: string; version: string }[];
    assert.deepEqual(
      listed.map(({ name, version }) => [name, version]),
      [
        ["agent_0", "2"],
        ["agent_1", "1"],
      ],
    );
    const unknown = lorasa("adapter", "push", "agent_7", join(checkpoint, "adapters", "agent_0"), ...managed);
    assert.match(unknown.stderr, /agent_7.*LORASA_/s);
    const ended = new Promise((resolve) => server.once("exit", resolve));
    server.kill("SIGTERM");
    assert.equal(await ended, 0);
  } finally {
    server.kill("SIGKILL");
  }
});

test("auto names the device that it took and the time that decided; simulate serves a repository itself", () => {
  const evaluated = lorasa("evaluate", checkpoint, "--episodes", "1", "--device", "auto");
  assert.equal(evaluated.status, 0, evaluated.stderr);
  assert.match(evaluated.stderr, /^lorasa: device (cpu|webgpu|cuda): a step takes [\d.]+ [µm]s[,;]/m);
  const run = join(folder, "auto");
  const trained = lorasa("train", "--steps", "160", ...TINY, "--device", "auto", "--out", run, "--json");
  assert.match(trained.stderr, /^device (cpu|webgpu|cuda): an iteration without its simulator takes /m);
  const { device } = JSON.parse(trained.stdout.trim().split("\n").at(-1)!) as { device: string };
  assert.ok(trained.stderr.includes(`device ${device}: `));
  const flags = ["--repository", repository, "--model", "stacked", "--device", "auto", "--episodes", "1"];
  const simulated = json("simulate", ...flags) as {
    returns: number[];
    devices: { model: string; why: string }[];
  };
  assert.equal(simulated.returns.length, 1);
  assert.deepEqual(
    simulated.devices.map(({ model }) => model),
    ["factored", "merged", "stacked"],
  );
  for (const { why } of simulated.devices) assert.match(why, /a team request of 8 environments takes/);
});

test("each mistake is one line, exit code 2, and nothing is written", async () => {
  const nowhere = join(folder, "nothing");
  const broken = join(folder, "broken");
  cpSync(checkpoint, broken, { recursive: true });
  appendFileSync(join(broken, "backbone.safetensors"), "x");
  const busy = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => busy.once("listening", resolve));
  const port = `${(busy.address() as AddressInfo).port}`;
  const cases: readonly (readonly [string[], RegExp])[] = [
    [["train", "--env", "mujoco/HalfCheeta-2x3", "--out", nowhere], /LORASA_UNKNOWN_TASK/],
    [["train", "--preset", "lorasa-halfcheeta", "--out", nowhere], /did you mean lorasa-halfcheetah/],
    [["train", "--set", "gama=0.9", "--out", nowhere], /gama.*LORASA_CONFIG/s],
    [["train", "--steps", "many", "--out", nowhere], /whole number/],
    [["train", "--sharing", "none", "--out", nowhere], /Allowed choices/],
    [["train", "--out", join(folder, "run")], /--resume.*LORASA_EXISTS/s],
    [["train", "--resume", "--out", nowhere], /LORASA_FILE/],
    [["export", checkpoint, "--precision", "int8", "--out", nowhere], /int8 measured.*LORASA_CONFIG/s],
    [["export", checkpoint, "--max-difference", "0.1", "--out", nowhere], /fp32 is held to.*LORASA_CONFIG/s],
    [["train", "--backend", "tensorflow", "--device", "webgpu", "--out", nowhere], /LORASA_DEVICE/],
    [["serve", nowhere, "--device", "tpu"], /Allowed choices are cpu, webgpu, cuda, auto/],
    [["evaluate", nowhere], /LORASA_FILE/],
    [["evaluate", broken], /backbone\.safetensors.*LORASA_CHECKSUM/s],
    [["export", checkpoint, "--opset", "9", "--out", nowhere], /opset.*LORASA_CONFIG/s],
    [["export", checkpoint, "--name", "../up", "--out", nowhere], /LORASA_NAME/],
    [["serve", nowhere], /LORASA_FILE/],
    [["serve", repository, "--port", port], /in use.*LORASA_PORT/s],
    [["serve", repository, "--host", "0.0.0.0", "--port", "0"], /token.*LORASA_FORBIDDEN/s],
    [["inspect", nowhere], /LORASA_FILE/],
    [["fly"], /unknown command/],
  ];
  for (const [args, message] of cases) {
    const { status, stderr, stdout } = lorasa(...args);
    assert.equal(status, 2, `${args.join(" ")}: ${stderr}${stdout}`);
    assert.match(stderr, message, args.join(" "));
    assert.doesNotMatch(stderr, /\n\s+at /, "a stack trace");
  }
  busy.close();
  assert.ok(!existsSync(nowhere), "a refused command wrote something");
});

function firstLine({ stderr }: ChildProcess): Promise<string> {
  return new Promise((resolve) =>
    stderr!.once("data", (bytes: Buffer) => resolve(bytes.toString().split("\n")[0]!)),
  );
}
