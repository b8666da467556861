import assert from "node:assert/strict";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { z } from "zod";
import type { ErrorCode } from "../../src/base/errors.ts";
import { sha256 } from "../../src/base/files.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { backboneIdentity, readCheckpoint, writeCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { encodeSafetensors } from "../../src/checkpoint/safetensors.ts";
import { assertFails } from "../helpers/fails.ts";
import { sampleAdapter, sampleTensors } from "../helpers/format-samples.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

const schema = z.strictObject({ environment: z.string(), counters: z.object({ envSteps: z.int() }) });
const backbone = sampleTensors();
const contents = {
  manifest: { environment: "mujoco/HalfCheetah-2x3", counters: { envSteps: 4096 } },
  tensors: {
    "backbone.safetensors": backbone,
    "critic.safetensors": new Map([["v", floatTensor([2], [1, 2])]]),
  },
  adapters: {
    "agent.0": sampleAdapter(backboneIdentity(backbone)),
    agent_1: sampleAdapter(backboneIdentity(backbone)),
  },
};

function written(context: TestContext): string {
  const directory = join(temporaryFolder(context), "run");
  writeCheckpoint(directory, contents, { rank: 3, alpha: 1 });
  return directory;
}

test("a checkpoint is read back as it was written", (t) => {
  const { manifest, tensors, adapters } = readCheckpoint(written(t), schema);
  assert.deepEqual(manifest, contents.manifest);
  assert.deepEqual(Object.keys(tensors).sort(), Object.keys(contents.tensors));
  assert.deepEqual(new Map([...tensors["backbone.safetensors"]!].sort()), new Map([...backbone].sort()));
  assert.deepEqual(Object.keys(adapters), ["agent.0", "agent_1"]);
  const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
  assert.deepEqual(
    [...adapters["agent.0"]!.layers].sort(byName),
    [...contents.adapters["agent.0"].layers].sort(byName),
  );
});

test("the same contents give the same bytes, and the table names every file", (t) => {
  const [first, second] = [written(t), written(t)];
  const text = readFileSync(join(first, "lorasa.json"), "utf8");
  assert.equal(readFileSync(join(second, "lorasa.json"), "utf8"), text);
  const { format, formatVersion, files } = JSON.parse(text);
  assert.deepEqual([format, formatVersion], ["lorasa-checkpoint", 1]);
  assert.deepEqual(Object.keys(files), [
    "adapters/agent.0/adapter_config.json",
    "adapters/agent.0/adapter_model.safetensors",
    "adapters/agent_1/adapter_config.json",
    "adapters/agent_1/adapter_model.safetensors",
    "backbone.safetensors",
    "critic.safetensors",
  ]);
  assert.equal(files["backbone.safetensors"].sha256, backboneIdentity(backbone));
});

test("a checkpoint replaces another, but no other folder", (t) => {
  const directory = written(t);
  writeCheckpoint(directory, { ...contents, adapters: {} });
  assert.deepEqual(readCheckpoint(directory, schema).adapters, {});
  assert.deepEqual(readdirSync(directory).sort(), [
    "backbone.safetensors",
    "critic.safetensors",
    "lorasa.json",
  ]);
  const home = temporaryFolder(t);
  writeFileSync(join(home, "letter"), "");
  assertFails(() => writeCheckpoint(home, contents), "LORASA_EXISTS", /one with lorasa\.json/);
});

function edit(directory: string, change: (json: Record<string, unknown>) => void): void {
  const path = join(directory, "lorasa.json");
  const json = JSON.parse(readFileSync(path, "utf8"));
  change(json);
  writeFileSync(path, JSON.stringify(json));
}

/** Writes a file and enters it in the table as if it had been there from the start. */
function forge(directory: string, path: string, bytes: string | Uint8Array): void {
  writeFileSync(join(directory, path), bytes);
  edit(directory, (json) => {
    (json["files"] as Record<string, unknown>)[path] = { bytes: bytes.length, sha256: sha256(bytes) };
  });
}

const CONFIG = "adapters/agent_1/adapter_config.json";

/** One damage for each cause. */
const DAMAGE: [what: string, damage: (directory: string) => void, code: ErrorCode, message: RegExp][] = [
  ["no manifest", (d) => rmSync(join(d, "lorasa.json")), "LORASA_FILE", /a folder with lorasa\.json/],
  ["no folder", (d) => rmSync(d, { recursive: true }), "LORASA_FILE", /a folder with lorasa\.json/],
  ["not JSON", (d) => writeFileSync(join(d, "lorasa.json"), "{"), "LORASA_FILE", /expected JSON/],
  ["an array", (d) => writeFileSync(join(d, "lorasa.json"), "[]"), "LORASA_FILE", /lorasa\.json: /],
  [
    "another format",
    (d) => edit(d, (json) => Object.assign(json, { format: "x" })),
    "LORASA_FILE",
    /lorasa\.json\.format/,
  ],
  [
    "a later version",
    (d) => edit(d, (json) => Object.assign(json, { formatVersion: 2, files: 0 })),
    "LORASA_FILE",
    /formatVersion: expected 1, received 2; read this lorasa-checkpoint with the version/,
  ],
  [
    "a wrong field of the manifest",
    (d) => edit(d, (json) => Object.assign(json, { counters: { envSteps: "many" } })),
    "LORASA_FILE",
    /lorasa\.json\.counters\.envSteps/,
  ],
  [
    "a wrong checksum field",
    (d) => edit(d, (json) => Object.assign(json, { files: { a: { bytes: 1, sha256: "x" } } })),
    "LORASA_FILE",
    /lorasa\.json\.files\.a\.sha256/,
  ],
  [
    "one bit",
    (d) => {
      const bytes = readFileSync(join(d, "critic.safetensors"));
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(join(d, "critic.safetensors"), bytes);
    },
    "LORASA_CHECKSUM",
    /critic\.safetensors: expected \d+ bytes of sha256 [0-9a-f]{16}…/,
  ],
  [
    "a truncated file",
    (d) => writeFileSync(join(d, CONFIG), "{}"),
    "LORASA_CHECKSUM",
    /agent_1\/adapter_config/,
  ],
  [
    "a missing file",
    (d) => rmSync(join(d, "critic.safetensors")),
    "LORASA_FILE",
    /critic\.safetensors: .*none/,
  ],
  [
    "an extra file",
    (d) => writeFileSync(join(d, "notes.txt"), ""),
    "LORASA_FILE",
    /no other, received notes\.txt/,
  ],
  ["a link", (d) => symlinkSync("/etc/passwd", join(d, "x.safetensors")), "LORASA_FILE", /a link or device/],
  [
    "a path out of the folder",
    (d) =>
      edit(d, (json) => Object.assign(json, { files: { "../x": { bytes: 0, sha256: "0".repeat(64) } } })),
    "LORASA_FILE",
    /files that a checkpoint has, received \.\.\/x/,
  ],
  [
    "an agent of two dots",
    (d) =>
      edit(d, (json) =>
        Object.assign(json, {
          files: { "adapters/../adapter_config.json": { bytes: 0, sha256: "0".repeat(64) } },
        }),
      ),
    "LORASA_FILE",
    /files that a checkpoint has/,
  ],
  [
    "half an adapter",
    (d) => {
      rmSync(join(d, CONFIG));
      edit(d, (json) => delete (json["files"] as Record<string, unknown>)[CONFIG]);
    },
    "LORASA_FILE",
    /adapters\/agent_1: .*one of them/,
  ],
  [
    "no backbone",
    (d) => {
      rmSync(join(d, "backbone.safetensors"));
      edit(d, (json) => delete (json["files"] as Record<string, unknown>)["backbone.safetensors"]);
    },
    "LORASA_FILE",
    /backbone\.safetensors, received none/,
  ],
  [
    "another backbone",
    (d) => {
      const critic = readFileSync(join(d, "critic.safetensors"));
      forge(d, "backbone.safetensors", critic);
    },
    "LORASA_ADAPTER",
    /adapter agent\.0: expected backbone/,
  ],
  [
    "a forged file",
    (d) => forge(d, "critic.safetensors", "{}"),
    "LORASA_FILE",
    /critic\.safetensors: .*at least 8/,
  ],
  ["a forged configuration", (d) => forge(d, CONFIG, "{"), "LORASA_FILE", /expected JSON/],
];

test("one damage for each cause is refused by name", (t) => {
  const sound = written(t);
  const root = temporaryFolder(t);
  for (const [i, [what, damage, code, message]] of DAMAGE.entries()) {
    const directory = join(root, String(i));
    cpSync(sound, directory, { recursive: true });
    damage(directory);
    assertFails(() => readCheckpoint(directory, schema), code, message, what);
  }
});

test("a weight that is not finite is neither written over a sound checkpoint nor read", (t) => {
  const directory = written(t);
  const critic = new Map([["v", floatTensor([1], [Number.NaN])]]);
  const message = /critic\.safetensors, tensor "v": .*NaN at index 0/;
  const tensors = { ...contents.tensors, "critic.safetensors": critic };
  assertFails(() => writeCheckpoint(directory, { ...contents, tensors }), "LORASA_NOT_FINITE", message);
  assert.ok(readCheckpoint(directory, schema));
  forge(directory, "critic.safetensors", encodeSafetensors(critic));
  assertFails(() => readCheckpoint(directory, schema), "LORASA_NOT_FINITE", message);
});

test("what cannot be read back is not written", (t) => {
  const directory = join(temporaryFolder(t), "run");
  const write = (change: object) => () => writeCheckpoint(directory, { ...contents, ...change });
  const adapter = contents.adapters.agent_1;
  assertFails(write({ tensors: { "../b.safetensors": backbone } }), "LORASA_NAME", /<name>\.safetensors/);
  assertFails(write({ tensors: {}, adapters: {} }), "LORASA_FILE", /backbone\.safetensors, received none/);
  assertFails(write({ adapters: { "..": adapter } }), "LORASA_NAME", /agent's name/);
  assertFails(write({ adapters: { a: sampleAdapter() } }), "LORASA_ADAPTER", /adapter a: expected backbone/);
  assertFails(write({ manifest: { files: {} } }), "LORASA_NAME", /without format/);
  mkdirSync(directory);
  assert.deepEqual(readdirSync(directory), []);
});

test("a checkpoint whose writer ended between its renames is found again", (t) => {
  const directory = written(t);
  cpSync(directory, `${directory}.previous`, { recursive: true });
  rmSync(directory, { recursive: true });
  assert.equal(readCheckpoint(directory, schema).manifest.environment, "mujoco/HalfCheetah-2x3");
});
