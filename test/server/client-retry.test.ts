/** When our client sends a request again, and when it must not: bounded, as the server asks, and only what may happen twice. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type ClientOptions, ServerClient } from "../../server/client.ts";
import { LorasaError } from "../../src/base/errors.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import {
  answerJson,
  type FakeAnswer,
  type FakeServer,
  fakeServer,
  freePort,
} from "../helpers/fake-server.ts";

const OBS = { obs: floatTensor([1, 1], [1]) };
const ADAPTER = { name: "agent_0", version: "3", state: "READY" };

/** A reply that serves inference and adapters alike. */
const fine: FakeAnswer = (_request, response) => answerJson(response, { ...ADAPTER, outputs: [] });

const busy =
  (retryAfter?: string): FakeAnswer =>
  (_request, response) =>
    answerJson(
      response,
      { error: "LORASA_UNAVAILABLE: full" },
      503,
      retryAfter === undefined ? {} : { "Retry-After": retryAfter },
    );

const lost: FakeAnswer = (_request, response) => response.destroy();

/** Answers in order, the last one from then on. */
function inOrder(...answers: readonly FakeAnswer[]): FakeAnswer {
  return (request, response, index) =>
    answers[Math.min(index, answers.length - 1)]!(request, response, index);
}

async function clientOf(
  context: TestContext,
  answer: FakeAnswer,
  options: ClientOptions,
): Promise<{ client: ServerClient; requests: FakeServer["requests"] }> {
  const { url, requests } = await fakeServer(context, answer);
  const client = new ServerClient(url, options);
  context.after(() => client.close());
  return { client, requests };
}

const NO_TIME = "0";

test("what may happen twice is sent again after 503, with the same body and no more often than asked", async (context) => {
  const { client, requests } = await clientOf(context, inOrder(busy(NO_TIME), busy(NO_TIME), fine), {
    retries: 2,
  });
  await client.infer("team", OBS);
  assert.equal(requests.length, 3);
  assert.deepEqual(requests[2]!.body, requests[0]!.body);
  const short = await clientOf(context, busy(NO_TIME), { retries: 2 });
  await assert.rejects(short.client.infer("team", OBS), /503, LORASA_UNAVAILABLE: full/);
  assert.equal(short.requests.length, 3, "one request and two more");
});

test("nothing is sent again unless asked for", async (context) => {
  const { client, requests } = await clientOf(context, busy(NO_TIME), {});
  await assert.rejects(client.infer("team", OBS), { code: "LORASA_SERVER" });
  assert.equal(requests.length, 1);
});

test("without Retry-After the wait is the client's own", async (context) => {
  const { client, requests } = await clientOf(context, inOrder(busy(), fine), { retries: 1 });
  await client.pinAdapter("team", "agent_0");
  assert.equal(requests.length, 2);
});

test("a date is a time to wait for too, and one that has passed is none", async (context) => {
  const past = new Date(Date.now() - 60_000).toUTCString();
  const { client, requests } = await clientOf(context, inOrder(busy(past), fine), { retries: 1 });
  await client.listAdapters("team").catch(() => undefined);
  assert.equal(requests.length, 2);
});

test("a server that asks for longer than the client waits is not asked again", async (context) => {
  const { client, requests } = await clientOf(context, busy("3600"), { retries: 5, retryWaitMs: 1000 });
  await assert.rejects(client.infer("team", OBS), { code: "LORASA_SERVER" });
  assert.equal(requests.length, 1);
});

test("other refusals are not sent again", async (context) => {
  const refuse: FakeAnswer = (_request, response) => answerJson(response, { error: "no" }, 400);
  const { client, requests } = await clientOf(context, refuse, { retries: 5 });
  await assert.rejects(client.infer("team", OBS), { code: "LORASA_SERVER" });
  assert.equal(requests.length, 1);
});

type Call = (client: ServerClient) => Promise<unknown>;

/** A second time would step the sequence twice, go back two versions, or fail because of the first. */
const ONCE: Readonly<Record<string, Call>> = {
  "a step of a sequence": (client) => client.infer("team", OBS, { sequenceId: 7 }),
  "a rollback": (client) => client.rollbackAdapter("team", "agent_0"),
  "an unload": (client) => client.unloadAdapter("team", "agent_0"),
  "a load that replaces nothing": (client) =>
    client.pushAdapter("team", "agent_0", "{}", Buffer.of(1), { keep: true }),
};

for (const [what, call] of Object.entries(ONCE)) {
  test(`${what} is never sent twice: not when busy, not when its connection is lost`, async (context) => {
    for (const failure of [busy(NO_TIME), lost]) {
      const { client, requests } = await clientOf(context, failure, { retries: 5 });
      await assert.rejects(call(client), { code: "LORASA_SERVER" });
      assert.equal(requests.length, 1);
    }
    // A connection that has been used before, too.
    const { client, requests } = await clientOf(context, inOrder(fine, lost), { retries: 5 });
    await client.pinAdapter("team", "agent_0");
    await assert.rejects(call(client), { code: "LORASA_SERVER" });
    assert.equal(requests.length, 2);
  });
}

test("a lost connection is tried again where that is safe", async (context) => {
  const { client, requests } = await clientOf(context, inOrder(lost, fine), { retries: 1 });
  await client.infer("team", OBS);
  assert.equal(requests.length, 2);
  const without = await clientOf(context, inOrder(lost, fine), {});
  await assert.rejects(without.client.infer("team", OBS), /closed before the end/);
});

test("a kept-alive connection that the server had closed is no failure", async (context) => {
  const { client, requests } = await clientOf(context, inOrder(fine, lost, fine), {});
  await client.infer("team", OBS);
  await client.infer("team", OBS);
  assert.equal(requests.length, 3);
  assert.equal(requests[1]!.headers.connection, "keep-alive");
});

test("a server that starts later is waited for, even for what must happen once", async (context) => {
  const port = await freePort();
  const client = new ServerClient(`http://127.0.0.1:${port}`, { retries: 6 });
  context.after(() => client.close());
  const answer = client.rollbackAdapter("team", "agent_0");
  const { requests } = await fakeServer(context, fine, { port });
  assert.equal((await answer).version, "3");
  assert.equal(requests.length, 1);
});

test("a client that is closed while it waits gives up at once", async (context) => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): number => warnings.push(warning);
  process.on("warning", onWarning);
  context.after(() => process.off("warning", onWarning));
  const { client, requests } = await clientOf(context, busy("1000"), { retries: 5, retryWaitMs: 10 ** 7 });
  const answers = Array.from({ length: 20 }, () => client.infer("team", OBS));
  const outcomes = Promise.allSettled(answers);
  // Until every reply has come and its wait has begun.
  while (requests.length < answers.length) await new Promise((resolve) => setTimeout(resolve, 5));
  await new Promise((resolve) => setTimeout(resolve, 50));
  client.close();
  for (const outcome of await outcomes) {
    assert.equal(outcome.status, "rejected");
    const reason = (outcome as PromiseRejectedResult).reason;
    assert.ok(reason instanceof LorasaError && reason.code === "LORASA_DISPOSED", String(reason));
  }
  assert.equal(requests.length, answers.length);
  assert.deepEqual(warnings, []);
});
