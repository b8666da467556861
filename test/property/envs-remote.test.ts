/** Whatever simulators send, a training goes on: refused in one line, nothing changed, the right answer still taken. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { RemoteVectorEnv } from "../../src/envs/remote/remote-vector.ts";
import { finish, listen, PAIR, Puppet, seen, stepped } from "../helpers/remote-listen.ts";
import { packed, type Reply } from "../helpers/remote-simulator.ts";

const FIELDS = Object.keys({
  ...stepped(2, 1),
  state: 0,
  action_mask: 0,
  active: 0,
  final_observations: 0,
  final_state: 0,
  figures: 0,
});

/** Fields that exist with values that mostly do not fit; never a whole answer, which needs observations. */
const wrongJson = fc
  .dictionary(fc.constantFrom(...FIELDS), fc.oneof(fc.jsonValue(), fc.array(fc.array(fc.array(fc.double())))))
  .map((fields) => ({ ...fields, observations: null, sequence: 2 }));

/** A binary body of the right names with numbers that are too few, too many or wrong, or cut anywhere. */
const wrongBinary = fc
  .tuple(fc.subarray(FIELDS.slice(1)), fc.array(fc.float(), { maxLength: 40 }), fc.nat({ max: 400 }))
  .map(([names, numbers, cut]) => {
    const arrays = Object.fromEntries(names.map((name, index) => [name, index === 0 ? numbers : [0.5]]));
    const body = packed(2, arrays);
    return body.subarray(0, Math.max(1, body.length - cut));
  });

const garbage = fc.oneof(
  wrongJson,
  wrongBinary,
  fc.uint8Array({ minLength: 1, maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
);

test("no body makes the server fail, and none that is refused changes what the trainer sees", async (context) => {
  const { vector, url } = listen(context, { envs: 1, groups: 1 });
  const puppet = await Puppet.register(await url);
  const remote = await vector;
  await Promise.all([puppet.begin(7), remote.begin(5)]);
  remote.startStep(0);
  await puppet.next({ sequence: 1 });
  const before = shown(remote);
  await fc.assert(
    fc.asyncProperty(garbage, async (body) => {
      refused(await puppet.next(body));
      assert.deepEqual(shown(remote), before);
    }),
    { numRuns: 300 },
  );
  puppet.next(stepped(2, 3)).catch(() => {});
  await finish(remote, 0);
  assert.equal(remote.groups[0]!.rewards[0], 3);
});

test("no registration makes the server fail, and a right one is taken after all of them", async (context) => {
  const { vector, url } = listen(context, { envs: 1, groups: 1 });
  const { client } = await Puppet.register(await url);
  await vector;
  const field = fc.constantFrom(...Object.keys(PAIR));
  await fc.assert(
    fc.asyncProperty(field, fc.jsonValue({ depthSize: "large" }), async (name, value) => {
      const reply = await client.call("/v1/simulators", { ...PAIR, [name]: value });
      if (reply.status !== 201) refused(reply);
      else await client.leave(reply.json.simulator);
    }),
    { numRuns: 200 },
  );
  assert.equal((await client.call("/v1/simulators", PAIR)).status, 201);
});

test("numbers arrive as they were sent, in JSON and binary, and actions go back the same", async (context) => {
  const { vector, url } = listen(context, { envs: 1, groups: 1 });
  const puppet = await Puppet.register(await url);
  const remote = await vector;
  await Promise.all([puppet.begin(7), remote.begin(5)]);
  const [group] = remote.groups as [(typeof remote.groups)[number]];
  const number = fc.float({ noNaN: true, noDefaultInfinity: true });
  let sequence = 1;
  await fc.assert(
    fc.asyncProperty(
      fc.array(number, { minLength: 5, maxLength: 5 }),
      fc.boolean(),
      async (numbers, binary) => {
        group.actions.set([sequence % 2, sequence % 3]);
        remote.startStep(0);
        const { json } = await puppet.next({ sequence });
        assert.deepEqual(json.actions, [[sequence % 2, sequence % 3]]);
        sequence = json.sequence;
        const [a, b, ...rest] = numbers as [number, number, number, number, number];
        const whole = { ...seen(sequence, 0), rewards: [a], terminated: [false], truncated: [false] };
        const answer = binary
          ? packed(sequence, { observations: numbers, rewards: [a], terminated: [0], truncated: [0] })
          : { ...whole, observations: [[[a, b], rest]] };
        puppet.next(answer).catch(() => {});
        await finish(remote, 0);
        // JSON has no negative zero.
        const plain = (values: Iterable<number>): number[] => Array.from(values, (value) => value + 0);
        assert.deepEqual(plain(group.observations), plain([a, b, 0, ...rest]));
        assert.deepEqual(plain(group.rewards), plain([a]));
      },
    ),
    { numRuns: 60 },
  );
});

function refused({ status, json }: Reply): void {
  assert.ok(status >= 400 && status < 500, `${status}: ${JSON.stringify(json)}`);
  assert.match(json.error, /^LORASA_[A-Z_]+: .+/);
  assert.ok(!json.error.includes("\n"), json.error);
  assert.ok(json.error.length < 1000, `${json.error.length} characters`);
}

function shown(remote: RemoteVectorEnv): number[][] {
  const { observations, state, rewards, truncated, terminated } = remote.groups[0]!;
  return [observations, state, rewards, truncated, terminated].map((numbers) => Array.from(numbers));
}
