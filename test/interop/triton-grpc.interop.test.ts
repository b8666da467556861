/** Triton's Python gRPC clients, blocking and asyncio, and the standard health service, against a server of ours. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { assertClose } from "../helpers/close.ts";
import {
  type Answered,
  failure,
  type InferArguments,
  type Inferred,
  TritonClient,
  TritonFailure,
  tritonPython,
} from "./triton-client.ts";
import {
  addressOf,
  expectedTeam,
  observations,
  PLAIN_MODELS,
  RECURRENT,
  type ServedModels,
  serveModels,
  TOKEN,
  writeModels,
} from "./triton-served.ts";
import { checkClient } from "./triton-suite.ts";

const found = tritonPython();
const skip = "missing" in found && found.missing;
const FLAVOURS = ["grpc", "grpc-aio"] as const;

let folder: string;
let server: ServedModels;
let address: string;
const clients = new Map<string, TritonClient>();

before(async () => {
  if ("missing" in found) return;
  folder = await mkdtemp(join(tmpdir(), "lorasa-triton-"));
  writeModels(folder);
  server = await serveModels(folder);
  address = addressOf(server.grpcUrl);
  for (const flavour of FLAVOURS)
    clients.set(flavour, await TritonClient.start(found.python, flavour, address));
});

after(async () => {
  if ("missing" in found) return;
  for (const client of clients.values()) await client.close();
  await server.close();
  rmSync(folder, { recursive: true });
});

const SHAPE = [3, 2, 4];

for (const flavour of FLAVOURS) {
  const client = (): TritonClient => clients.get(flavour)!;
  const obs = observations(SHAPE, 2);
  const plain: InferArguments = { model_name: "factored", inputs: { obs } };

  checkClient(flavour, () => ({ url: server.url, client: client() }), skip);

  test(`${flavour}: compressed messages`, { skip }, async () => {
    for (const compression_algorithm of ["gzip", "deflate"])
      check(await client().infer({ ...plain, compression_algorithm }));
  });

  test(`${flavour}: a stream answers in order, and goes on after an error`, { skip }, async () => {
    const requests = Array.from({ length: 10 }, (_, at): InferArguments => {
      const model_name = at === 4 ? "nobody" : PLAIN_MODELS[at % 3]!;
      return { model_name, inputs: { obs: observations([at + 1, 2, 4], at) }, request_id: `${at}` };
    });
    const answers = (await client().call("stream", { requests })) as Answered[];
    assert.equal(answers.length, requests.length);
    for (const [at, answer] of answers.entries()) {
      if (at === 4) {
        assert.ok("error" in answer && /LORASA_UNKNOWN_MODEL.*nobody/.test(answer.error.message));
        continue;
      }
      assert.ok("result" in answer, JSON.stringify(answer));
      assert.equal(answer.result.response.id, `${at}`);
      const expected = expectedTeam(observations([at + 1, 2, 4], at).data);
      assertClose(answer.result.outputs["action"]!.data, expected, { atol: 2e-6 });
    }
  });

  test(`${flavour}: a sequence over a stream is the sequence of single calls`, { skip }, async () => {
    const { agents, observation } = RECURRENT;
    const steps = [0, 1, 2, 3].map((step) => observations([1, agents, observation], step));
    const request = (step: number, sequence_id: number | string): InferArguments => ({
      model_name: "recurrent",
      inputs: { obs: steps[step]! },
      sequence_id,
      sequence_start: step === 0,
      sequence_end: step === steps.length - 1,
    });
    const requests = steps.map((_, step) => request(step, "streamed"));
    const streamed = (await client().call("stream", { requests })) as Answered[];
    for (const [step, answer] of streamed.entries()) {
      const single = await client().infer(request(step, 99));
      assert.ok("result" in answer, JSON.stringify(answer));
      assertClose(answer.result.outputs["action"]!.data, single.outputs["action"]!.data, { atol: 1e-6 });
    }
  });

  test(`${flavour}: a deadline in the past is an exception and not a hang`, { skip }, async () => {
    await failure(client().infer({ ...plain, client_timeout: -1 }), /Deadline Exceeded/i);
    check(await client().infer(plain));
  });

  test(`${flavour}: a plugin's token opens inference and management`, { skip }, async (context) => {
    const closed = await serveModels(folder, { inferToken: "a token for inference" });
    context.after(() => closed.close());
    const own = await TritonClient.start(pythonPath(), flavour, addressOf(closed.grpcUrl));
    context.after(() => own.close());
    assert.equal(await own.call("is_server_ready"), true);
    await failure(own.infer(plain), /LORASA_UNAUTHORIZED/);
    for (const name of ["get_server_metadata", "get_inference_statistics"])
      await failure(own.call(name), /LORASA_UNAUTHORIZED/);
    await own.call("use_token", { token: TOKEN });
    check(await own.infer(plain));
    assert.ok(Array.isArray((await own.object("get_model_repository_index"))["models"]));
  });

  function check(reply: Inferred): void {
    assert.deepEqual(reply.outputs["action"]!.shape, [3, 2, 2]);
    assertClose(reply.outputs["action"]!.data, expectedTeam(obs.data), { atol: 2e-6 });
  }
}

test("the standard health service", { skip }, async () => {
  const client = clients.get("grpc")!;
  for (const service of ["", "inference.GRPCInferenceService"])
    assert.equal(await client.call("health", { service }), "SERVING", service);
  await assert.rejects(
    client.call("health", { service: "nobody" }),
    (error) => error instanceof TritonFailure && /NOT_FOUND/.test(error.message),
  );
});

function pythonPath(): string {
  assert.ok("python" in found);
  return found.python;
}
