/** Tokens from their making to their use: `lorasa token`, token files, and what a server makes of them. */
import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { sha256 } from "../../src/base/files.ts";
import { readServerToken, readToken } from "../../src/cli/serve.ts";
import { makeToken } from "../../src/cli/token.ts";
import { assertFails } from "../helpers/fails.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { ask, serveTiny } from "../helpers/tiny-server.ts";

test("a made token is random, and the file holds its hash alone, for its owner", (context) => {
  const file = join(temporaryFolder(context), "token.txt");
  const { json, text } = makeToken(file);
  assert.match(json.token, /^[0-9a-f]{64}$/);
  assert.ok(text.includes(json.token));
  const kept = readFileSync(file, "utf8");
  assert.equal(kept, `sha256:${sha256(json.token)}\n`);
  assert.ok(!kept.includes(json.token));
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.notEqual(makeToken(undefined).json.token, json.token);
});

test("without a file the line is printed; a file that is there is never written over", (context) => {
  const { json, text } = makeToken(undefined);
  assert.ok(text.includes(json.line));
  assert.equal(json.line, `sha256:${sha256(json.token)}`);
  const file = join(temporaryFolder(context), "token.txt");
  writeFileSync(file, "another");
  assertFails(
    () => makeToken(file),
    "LORASA_EXISTS",
    /--out .*token\.txt: expected a file that does not exist/,
  );
  assert.equal(readFileSync(file, "utf8"), "another");
  assertFails(() => makeToken(join(file, "x")), "LORASA_DISK", /writing/);
});

test("a server takes the token or its hash from a file; a client sends only the token", async (context) => {
  const folder = temporaryFolder(context);
  const hashed = join(folder, "hashed.txt");
  const plain = join(folder, "plain.txt");
  const { token } = makeToken(hashed).json;
  writeFileSync(plain, `${token}\n`);
  assert.equal(readToken(plain), token);
  assertFails(() => readToken(hashed), "LORASA_FLAG", /expected the token itself, received its SHA-256/);
  for (const file of [hashed, plain]) {
    const { url } = await serveTiny(context, { mode: "stacked" }, { token: readServerToken(file) });
    const index = (sent: string) =>
      ask(`${url}/v2/repository/index`, { method: "POST", headers: { Authorization: `Bearer ${sent}` } });
    assert.equal((await index(token)).status, 200, file);
    assert.equal((await index(`sha256:${sha256(token)}`)).status, 401, file);
  }
});

test("a token file that is short, empty or missing", (context) => {
  const folder = temporaryFolder(context);
  const file = join(folder, "token.txt");
  for (const text of ["", "short\nand long enough on the second line", "fifteen letters"]) {
    writeFileSync(file, text);
    const message = /expected a line of at least 16 characters, received \d+; make one with `lorasa token`/;
    for (const read of [readToken, readServerToken])
      assertFails(() => read(file), "LORASA_FLAG", message, text);
  }
  assertFails(() => readToken(join(folder, "none")), "LORASA_FILE", /no such file/);
});
