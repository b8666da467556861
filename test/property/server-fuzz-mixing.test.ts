/** Many clients at once, good and bad, in pieces and compressed: every answer is made of its own request's numbers. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { Random } from "../../src/base/random.ts";
import { assertClose } from "../helpers/close.ts";
import { RawConnection, type RawReply, requestBytes } from "../helpers/raw-http.ts";
import type { TinyPolicy } from "../helpers/tiny-models.ts";
import { serveTiny } from "../helpers/tiny-server.ts";

const CLIENTS = 24;
const REQUESTS = 40;
const SEED = Number(process.env["LORASA_FUZZ_SEED"] ?? 20261122);
const HEADER_LENGTH = "Inference-Header-Content-Length";

/** What a client does besides asking soundly. */
const MISCHIEFS = [
  "leaves in the middle",
  "has no time",
  "asks for another output",
  "sends too much",
] as const;

test(`no request's numbers reach another's answer, seed ${SEED}`, { timeout: 60_000 }, async (context) => {
  const { url, policy, faults } = await serveTiny(context, { mode: "factored" }, { queueDelayUs: 200 });
  const port = Number(new URL(url).port);
  const answered = await Promise.all(
    Array.from({ length: CLIENTS }, (_, client) => drive(port, policy, new Random(SEED + client))),
  );
  const sound = answered.reduce((sum, count) => sum + count, 0);
  assert.ok(sound > (CLIENTS * REQUESTS) / 3, `only ${sound} sound answers`);
  assert.deepEqual(faults, []);
});

/** @returns how many answers were sound and compared. */
async function drive(port: number, policy: TinyPolicy, random: Random): Promise<number> {
  const connection = new RawConnection(port);
  let compared = 0;
  for (let at = 0; at < REQUESTS; at++) {
    const agent = random.integer(2);
    const rows = 1 + random.integer(random.integer(4) === 0 ? 6000 : 40);
    const observations = Float32Array.from({ length: rows * 3 }, () => random.normal());
    const mischief = random.integer(3) === 0 ? MISCHIEFS[random.integer(MISCHIEFS.length)] : undefined;
    const bytes = request(agent, observations, mischief, random.integer(4) === 0);
    if (mischief === "leaves in the middle") {
      const left = new RawConnection(port);
      const cut = left.ask(bytes.subarray(0, random.integer(bytes.length)), { pieces: 3 });
      setTimeout(() => left.close(), random.integer(5));
      void cut.catch(() => undefined);
      continue;
    }
    const reply = await connection.ask(bytes, { pieces: 1 + random.integer(6) });
    if (reply?.status !== 200) {
      assert.ok(mischief !== undefined, `a sound request got ${reply?.status} ${reply?.body}`);
      continue;
    }
    compare(reply, policy, agent, observations);
    compared += 1;
  }
  connection.close();
  return compared;
}

function request(
  agent: number,
  observations: Float32Array,
  mischief: (typeof MISCHIEFS)[number] | undefined,
  compressed: boolean,
): Buffer {
  const json = Buffer.from(
    JSON.stringify({
      inputs: [
        {
          name: "obs",
          datatype: "FP32",
          shape: [observations.length / 3, 3],
          parameters: { binary_data_size: observations.byteLength },
        },
      ],
      parameters: { binary_data_output: true, timeout: mischief === "has no time" ? 1 : 0 },
      outputs: [{ name: mischief === "asks for another output" ? "other" : "action" }],
    }),
  );
  const more = mischief === "sends too much" ? [Buffer.alloc(5)] : [];
  const whole = Buffer.concat([json, Buffer.from(observations.buffer), ...more]);
  const headers: [string, string][] = [[HEADER_LENGTH, `${json.length}`]];
  if (compressed) headers.push(["Content-Encoding", "gzip"]);
  const path = `/v2/models/team.agent_${agent}/infer`;
  return requestBytes("POST", path, headers, compressed ? gzipSync(whole, { level: 1 }) : whole);
}

function compare(reply: RawReply, policy: TinyPolicy, agent: number, observations: Float32Array): void {
  const at = Number(reply.headers.get(HEADER_LENGTH.toLowerCase()));
  const actions = new Float32Array(Uint8Array.from(reply.body.subarray(at)).buffer);
  const adapter = policy.adapter(agent);
  const expected: number[] = [];
  for (let row = 0; row < observations.length; row += 3) {
    expected.push(...policy.logits(observations.subarray(row, row + 3), agent, adapter).map(Math.tanh));
  }
  assertClose(actions, expected);
}
