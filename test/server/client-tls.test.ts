/** Our client over TLS: with the authority named it is answered, and each doubt about a certificate is told. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { type ClientOptions, ServerClient } from "../../server/client.ts";
import { answerJson, type FakeOptions, fakeServer } from "../helpers/fake-server.ts";
import { type SelfSigned, selfSigned } from "../helpers/self-signed.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

const DAY_MS = 86_400_000;

async function served(
  context: TestContext,
  tls: SelfSigned | undefined,
  trusted: string | undefined,
): Promise<{ url: string; ask: (url: string) => Promise<unknown> }> {
  const options: FakeOptions = tls ? { tls } : {};
  const { url } = await fakeServer(context, (_request, response) => answerJson(response, []), options);
  const ask = async (address: string): Promise<unknown> => {
    const client = new ServerClient(address, trustIn(context, trusted));
    context.after(() => client.close());
    return client.index();
  };
  return { url, ask };
}

function trustIn(context: TestContext, authority: string | undefined): ClientOptions {
  if (authority === undefined) return {};
  const caFile = join(temporaryFolder(context), "ca.pem");
  writeFileSync(caFile, authority);
  return { caFile };
}

test("a server whose authority is named is answered", async (context) => {
  const own = selfSigned();
  const { url, ask } = await served(context, own, own.cert);
  assert.match(url, /^https:/);
  assert.deepEqual(await ask(url), []);
});

test("a certificate of nobody known is refused, with the flag that names its authority", async (context) => {
  const { url, ask } = await served(context, selfSigned(), undefined);
  await assert.rejects(ask(url), { code: "LORASA_SERVER", message: /not trusted here; .*--ca-file$/ });
});

test("a certificate of another authority is refused", async (context) => {
  const { url, ask } = await served(context, selfSigned(), selfSigned().cert);
  await assert.rejects(ask(url), { code: "LORASA_SERVER", message: /certificate/ });
});

test("a certificate of another address is refused", async (context) => {
  const other = selfSigned("127.0.0.9");
  const { url, ask } = await served(context, other, other.cert);
  await assert.rejects(ask(url), { code: "LORASA_SERVER", message: /certificate of another name/ });
});

test("a certificate that has expired is refused", async (context) => {
  const old = selfSigned("127.0.0.1", -DAY_MS);
  const { url, ask } = await served(context, old, old.cert);
  await assert.rejects(ask(url), { code: "LORASA_SERVER", message: /has expired/ });
});

test("TLS to a server without, and none to a server with, each name the other scheme", async (context) => {
  const plain = await served(context, undefined, selfSigned().cert);
  await assert.rejects(plain.ask(plain.url.replace("http:", "https:")), {
    code: "LORASA_SERVER",
    message: /not TLS; an address without TLS starts with http:/,
  });
  const secure = await served(context, selfSigned(), undefined);
  await assert.rejects(secure.ask(secure.url.replace("https:", "http:")), { code: "LORASA_SERVER" });
});

test("a file of authorities without a certificate, or none at all, is a file's mistake", (context) => {
  const { caFile } = trustIn(context, "-----BEGIN PUBLIC KEY-----\n") as { caFile: string };
  for (const path of [caFile, `${caFile}.missing`])
    assert.throws(() => new ServerClient("https://127.0.0.1", { caFile: path }), { code: "LORASA_FILE" });
});
