/** What a client may name of the server's files: adapters in one folder, safe formats, nothing that is fetched. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { ServerOptions } from "../../server/app.ts";
import { CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../src/checkpoint/peft.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import type { TinyPolicy } from "../helpers/tiny-models.ts";
import { ask, assertErrorReply, serveTiny, type TextReply, TOKEN } from "../helpers/tiny-server.ts";

const BODY_LIMIT = 100_000;

interface Loader {
  readonly policy: TinyPolicy;
  /** The only folder that paths may lead into. */
  readonly root: string;
  /** Beside it. */
  readonly outside: string;
  load(path: string): Promise<TextReply>;
}

/** @param own whether paths lead into the model's own folder. */
async function loader(context: TestContext, own = false): Promise<Loader> {
  const outside = temporaryFolder(context);
  const given = join(outside, "root");
  mkdirSync(given);
  const options: Partial<ServerOptions> = { token: TOKEN, bodyLimitBytes: BODY_LIMIT };
  const served = await serveTiny(
    context,
    { mode: "factored" },
    own ? options : { ...options, adapterRoot: given },
  );
  const headers = { Authorization: `Bearer ${TOKEN}` };
  const load = (path: string): Promise<TextReply> => {
    const body = JSON.stringify({ parameters: { path, load_inplace: true } });
    const route = "/v2/repository/models/team/adapters/agent_0/load";
    return ask(served.url + route, { method: "POST", headers, body });
  };
  const root = own ? join(served.repository, "team", "adapters") : given;
  return { policy: served.policy, root, outside, load };
}

function write(folder: string, policy: TinyPolicy, tensors = TENSORS_FILE): void {
  const files = encodeAdapter(policy.adapter(3));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, CONFIG_FILE), files[CONFIG_FILE]!);
  writeFileSync(join(folder, tensors), files[TENSORS_FILE]!);
}

test("a folder, a .safetensors file beside its configuration, and an absolute path inside lead to an adapter", async (context) => {
  for (const own of [true, false]) {
    const { load, root, policy } = await loader(context, own);
    write(join(root, "blue"), policy);
    write(join(root, "deep/er"), policy, "step-100.safetensors");
    for (const path of [
      "blue",
      "blue/",
      "./blue",
      "x/../blue",
      "blue/adapter_model.safetensors",
      join(root, "blue"),
    ]) {
      const reply = await load(path);
      assert.equal(reply.status, 200, `${path}: ${reply.text}`);
    }
    assert.equal((await load("deep/er/step-100.safetensors")).status, 200);
    assertErrorReply(
      await load("deep/er"),
      400,
      /LORASA_FILE: adapter path "deep\/er": .*none that can be read/,
    );
  }
});

test("paths and links that lead outside are refused, whether or not anything is there", async (context) => {
  const { load, root, outside, policy } = await loader(context);
  write(join(outside, "secret"), policy);
  write(join(root, "half"), policy);
  write(join(`${root}-beside`, "secret"), policy);
  symlinkSync(join(outside, "secret"), join(root, "linked"));
  rmSync(join(root, "half", TENSORS_FILE));
  symlinkSync(join(outside, "secret", TENSORS_FILE), join(root, "half", TENSORS_FILE));
  symlinkSync(outside, join(root, "up"));
  symlinkSync(join(root, "loop"), join(root, "loop"));
  const named = [
    "../secret",
    "../nothing",
    "blue/../../secret",
    join(outside, "secret"),
    "/etc/passwd",
    "/nothing",
  ];
  for (const path of [
    ...named,
    "../root-beside/secret",
    "..",
    "linked",
    "half",
    "up/secret",
    "up/root/../secret",
  ]) {
    const reply = await load(path);
    assertErrorReply({ ...reply, text: reply.text.replaceAll(outside, "") }, 403, /LORASA_FORBIDDEN/, path);
    assert.ok(path.includes(outside) || !reply.text.includes(outside), reply.text);
  }
  for (const path of ["loop", "nothing", ".", "", "half\0", "x".repeat(5000)]) {
    const reply = await load(path);
    assertErrorReply(reply, 400, /LORASA_FILE: adapter path/, path.slice(0, 20));
  }
});

test("formats that can hold code, and URLs, are refused by their names", async (context) => {
  const { load, root, policy } = await loader(context);
  for (const name of ["adapter_model.bin", "x.pt", "x.PTH", "x.pkl", "x.pickle", "x.ckpt"]) {
    write(join(root, "unsafe"), policy, name);
    const message =
      /LORASA_REQUEST: adapter "[\w.]+": expected a \.safetensors file, received a format that can hold code/;
    assertErrorReply(await load(`unsafe/${name}`), 400, message, name);
  }
  for (const url of [
    "http://127.0.0.1/adapter",
    "HTTPS://example.invalid/x",
    "s3://bucket/x",
    "gs://bucket/x",
    "hf://team/x",
    "file:///etc/passwd",
    "file:adapter",
    "data:,x",
    "C:\\adapters",
  ]) {
    assertErrorReply(
      await load(url),
      400,
      /LORASA_REQUEST: .*received a URL, and the server fetches nothing/,
      url,
    );
  }
});

test("other files in the body of a load are refused as well", async (context) => {
  const { url } = await serveTiny(context, { mode: "factored" }, { token: TOKEN });
  const route = `${url}/v2/repository/models/team/adapters/agent_0/load`;
  const headers = { Authorization: `Bearer ${TOKEN}` };
  for (const [name, message] of [
    ["file:adapter_model.bin", /adapter "adapter_model\.bin": .*can hold code/],
    ["file:../../x.safetensors", /parameters\.file:\.\.\/\.\.\/x\.safetensors: expected path, config/],
  ] as const) {
    const body = JSON.stringify({ parameters: { config: "{}", [name]: "AAAA" } });
    assertErrorReply(await ask(route, { method: "POST", headers, body }), 400, message, name);
  }
});

const skip = process.platform === "win32" && "pipes have no place among files there";

test("what is no ordinary file is not waited for", { skip, timeout: 10_000 }, async (context) => {
  const { load, root, policy } = await loader(context);
  write(join(root, "pipe"), policy);
  rmSync(join(root, "pipe", TENSORS_FILE));
  execFileSync("/usr/bin/env", ["mkfifo", join(root, "pipe", TENSORS_FILE)]);
  assertErrorReply(await load("pipe"), 400, /LORASA_FILE: adapter path "pipe"/);
  write(join(root, "folder"), policy);
  rmSync(join(root, "folder", TENSORS_FILE));
  mkdirSync(join(root, "folder", TENSORS_FILE));
  assertErrorReply(await load("folder"), 400, /LORASA_FILE: adapter path "folder"/);
});

test("a file beyond the limit is refused before it is read", async (context) => {
  const { load, root, policy } = await loader(context);
  write(join(root, "large"), policy);
  truncateSync(join(root, "large", TENSORS_FILE), 2 ** 40);
  assertErrorReply(
    await load("large"),
    413,
    /LORASA_TOO_LARGE: adapter path "large": .*at most 100000 bytes/,
  );
});
