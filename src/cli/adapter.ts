/** `lorasa adapter`: lists, pushes and unloads adapters on a running server. */
import { Command } from "commander";
import { type AdapterStatus, ServerClient } from "../../server/client.ts";
import { terminalTable } from "../report/table.ts";
import { answer, type CommandAnswer, withJson } from "./command.ts";
import { readToken } from "./serve.ts";

interface AdapterFlags {
  readonly server: string;
  readonly model: string;
  readonly tokenFile?: string;
  readonly json?: boolean;
}

export function adapterCommand(): Command {
  const group = new Command("adapter").description("Manage the adapters of a served model.");
  const add = (
    usage: string,
    about: string,
    work: (client: ServerClient, model: string, ...args: string[]) => Promise<CommandAnswer>,
  ): void => {
    const [name = "", ...parameters] = usage.split(" ");
    const command = withJson(new Command(name))
      .description(about)
      .option("--server <url>", "address of the server", "http://127.0.0.1:8000")
      .option("--model <name>", "name of the team", "team")
      .option("--token-file <file>", "file with the server's management token");
    for (const parameter of parameters) command.argument(parameter);
    command.action((...given: unknown[]) => {
      // Commander hands over the arguments, then the flags, then itself.
      const flags = given.at(-2) as AdapterFlags;
      return answer(flags, () =>
        withClient(flags, (client) => work(client, flags.model, ...(given.slice(0, -2) as string[]))),
      );
    });
    group.addCommand(command);
  };
  add("list", "List adapters with version, state and checksum.", async (client, model) =>
    listing(await client.listAdapters(model)),
  );
  add(
    "push <agent> <folder>",
    "Load or replace an agent's adapter from a PEFT folder.",
    async (client, model, agent, folder) => status(await client.pushAdapterFolder(model, agent!, folder!)),
  );
  add(
    "unload <agent>",
    "Unload an agent's adapter; its requests are refused until another is pushed.",
    async (client, model, agent) => status(await client.unloadAdapter(model, agent!)),
  );
  return group.addHelpText(
    "after",
    "\nExample:\n  lorasa adapter push agent_0 runs/cheetah/checkpoint/adapters/agent_0 --model team --token-file token.txt",
  );
}

async function withClient(
  flags: AdapterFlags,
  work: (client: ServerClient) => Promise<CommandAnswer>,
): Promise<CommandAnswer> {
  const client = new ServerClient(
    flags.server,
    flags.tokenFile === undefined ? {} : { token: readToken(flags.tokenFile) },
  );
  try {
    return await work(client);
  } finally {
    client.close();
  }
}

function listing(adapters: readonly AdapterStatus[]): CommandAnswer {
  const text = terminalTable({
    columns: [{ title: "agent" }, { title: "version" }, { title: "state" }, { title: "sha256" }],
    rows: adapters.map(({ name, version, state, sha256 }) => [
      name,
      version,
      state,
      sha256?.slice(0, 12) ?? "–",
    ]),
  });
  return { json: adapters, text };
}

function status(adapter: AdapterStatus): CommandAnswer {
  return {
    json: adapter,
    text: `${adapter.name}: version ${adapter.version}, ${adapter.state.toLowerCase()}`,
  };
}
