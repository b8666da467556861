/** What the exporters write, the server serves: the three modes of one team answer alike. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { exportTeam } from "../../exporters/export-team.ts";
import type { Team } from "../../models/team.ts";
import { startServer } from "../../server/app.ts";
import { ServerClient } from "../../server/client.ts";
import { Random } from "../../src/base/random.ts";
import { type FloatTensor, floatTensor, type HostTensor } from "../../src/base/tensor.ts";
import { assertClose } from "../helpers/close.ts";
import { type RandomTeamOptions, randomTeam } from "../helpers/team.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";

const MODES = ["merged", "stacked", "factored"] as const;
const ENVIRONMENTS = 3;

const TEAMS: Readonly<Record<string, RandomTeamOptions & { readonly sampled?: boolean }>> = {
  "unequal agents, standardised": { observationSizes: [4, 6, 5], actionSizes: [2, 1, 3], standardise: true },
  recurrent: { recurrent: true },
  "sampled and squashed": { head: "squashed-gaussian", sampled: true },
  "discrete, unequal": { head: "categorical", observationSizes: [4, 6], actionSizes: [3, 2] },
};

for (const [what, { sampled = false, ...options }] of Object.entries(TEAMS)) {
  test(`merged, stacked and factored answer alike: ${what}`, async (context) => {
    const team = randomTeam(options);
    const client = await serveExports(context, team, sampled);
    const inputs = await randomInputs(client, team);
    const answers = await Promise.all(MODES.map(async (mode) => (await client.infer(mode, inputs)).outputs));
    for (const [at, answer] of answers.entries()) {
      assert.deepEqual(Object.keys(answer).sort(), Object.keys(answers[0]!).sort());
      for (const name in answer) {
        assert.deepEqual(answer[name]!.dims, answers[0]![name]!.dims, name);
        // log_prob loses bits where the tails of a squashed normal are thin.
        const tolerance = name === "log_prob" ? { atol: 2e-4, rtol: 1e-4 } : { atol: 1e-5 };
        assertClose(numbers(answer[name]!), numbers(answers[0]![name]!), tolerance, `${MODES[at]} ${name}`);
      }
    }
    const own = await Promise.all(
      MODES.map((mode) => client.infer(`${mode}.agent_1`, agentInputs(inputs, team, 1))),
    );
    for (const { outputs } of own) {
      const action = numbers(outputs["action"]!);
      assertClose(action, agentRows(answers[0]!["action"]!, team, 1, outputs["action"]!.dims[1]!), {
        atol: 1e-5,
      });
    }
  });
}

async function serveExports(context: TestContext, team: Team, sampled: boolean): Promise<ServerClient> {
  const repository = temporaryFolder(context);
  for (const mode of MODES) exportTeam(team, { repository, mode, name: mode, sampled });
  const server = await startServer({ repository, port: 0 });
  const client = new ServerClient(server.url);
  context.after(async () => {
    client.close();
    await server.close();
  });
  return client;
}

/** Random numbers for every input that the metadata names. */
async function randomInputs(client: ServerClient, team: Team): Promise<Record<string, FloatTensor>> {
  const random = new Random(3);
  // The server's own metadata.
  const { inputs } = (await client.modelMetadata("stacked")) as {
    inputs: { name: string; shape: number[] }[];
  };
  const filled = inputs.map(({ name, shape }) => {
    const dims = [ENVIRONMENTS, ...shape.slice(1)];
    const count = ENVIRONMENTS * team.agents.length * dims[2]!;
    const draw = name === "action_mask" ? () => 1 : () => random.normal();
    return [name, floatTensor(dims, Float32Array.from({ length: count }, draw))] as const;
  });
  return Object.fromEntries(filled);
}

/** One agent's rows of team inputs, in its own sizes. */
function agentInputs(
  inputs: Readonly<Record<string, FloatTensor>>,
  team: Team,
  agent: number,
): Record<string, FloatTensor> {
  const { observationSize, actionSize } = team.agents[agent]!;
  const widths: Readonly<Record<string, number>> = {
    obs: observationSize,
    action_mask: actionSize,
    noise: actionSize,
  };
  return Object.fromEntries(
    Object.entries(inputs).map(([name, tensor]) => {
      const width = widths[name] ?? tensor.dims[2]!;
      return [name, floatTensor([ENVIRONMENTS, width], agentRows(tensor, team, agent, width))];
    }),
  );
}

function agentRows(tensor: HostTensor, team: Team, agent: number, width: number): Float32Array {
  const stride = tensor.dims[2]!;
  const all = numbers(tensor);
  return Float32Array.from({ length: ENVIRONMENTS * width }, (_, at) => {
    const environment = Math.floor(at / width);
    return all[(environment * team.agents.length + agent) * stride + (at % width)]!;
  });
}

function numbers({ data }: HostTensor): Float32Array {
  return Float32Array.from(data as ArrayLike<number | bigint>, Number);
}
