/** The examples in Python do what they say, against a server and an export of this code. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { promisify } from "node:util";
import { exportTeam } from "../../exporters/export-team.ts";
import { startServer } from "../../server/app.ts";
import { ServerClient } from "../../server/client.ts";
import { floatTensor } from "../../src/base/tensor.ts";
import { assertClose } from "../helpers/close.ts";
import { randomTeam } from "../helpers/team.ts";
import { temporaryFolder } from "../helpers/temporary-folder.ts";
import { pythonWith } from "./python-environment.ts";

const HIDDEN = 6;

/** What an example prints, as JSON. */
async function example(python: string, name: string, ...args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await promisify(execFile)(python, [join("examples", name), ...args]);
  return JSON.parse(stdout) as Record<string, unknown>;
}

/** A served recurrent team of three agents, and the folder of its export. */
async function served(context: TestContext): Promise<{ url: string; folder: string }> {
  const repository = join(temporaryFolder(context), "repository");
  const team = randomTeam({ recurrent: true, head: "squashed-gaussian", hidden: [HIDDEN] });
  const { directory } = exportTeam(team, { mode: "factored", repository, name: "team" });
  const server = await startServer({ repository, port: 0 });
  context.after(() => server.close());
  return { url: server.url, folder: directory };
}

test("http_client.py gets a team's actions and the versions that gave them", async (context) => {
  const found = pythonWith(["json"]);
  if ("missing" in found) return context.skip(found.missing);
  const { url } = await served(context);
  assert.deepEqual(await example(found.python, "http_client.py", url, "team"), {
    shape: [4, 3, 2],
    versions: { adapter_versions: "agent_0=1,agent_1=1,agent_2=1" },
  });
});

test("single_agent.py gives the actions that the server gives", async (context) => {
  const found = pythonWith(["onnxruntime", "numpy"]);
  if ("missing" in found) return context.skip(found.missing);
  const { url, folder } = await served(context);
  const { action } = (await example(found.python, "single_agent.py", folder, "agent_1")) as {
    action: number[][];
  };
  const client = new ServerClient(url);
  context.after(() => client.close());
  const inputs = { obs: floatTensor([2, 5]), hidden_in: floatTensor([2, HIDDEN]) };
  const { outputs } = await client.infer("team.agent_1", inputs);
  assertClose(action.flat(), outputs["action"]!.data as Float32Array, { atol: 1e-5 });
});
