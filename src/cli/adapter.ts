/** `lorasa adapter`: the adapters of a model on a running server, listed, pushed, pinned, rolled back and unloaded. */
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { type AdapterStatus, ServerClient } from "../../server/client.ts";
import { LorasaError } from "../base/errors.ts";
import { readAdapter } from "../checkpoint/peft.ts";
import { describedText, listingText, statusText } from "./adapter/text.ts";
import { answer, type CommandAnswer, wholeNumber, withJson } from "./command.ts";
import { requireFit } from "./push/fit.ts";
import { adapterFolders } from "./push/folders.ts";
import { readToken } from "./serve.ts";

interface AdapterFlags {
  readonly server: string;
  readonly model: string;
  readonly tokenFile?: string;
  readonly caFile?: string;
  /** Seconds, or true for the default. */
  readonly wait?: number | true;
  readonly pin?: boolean;
  readonly drain?: boolean;
  readonly json?: boolean;
}

interface Action {
  readonly about: string;
  /** Names of arguments, as Commander writes them. */
  readonly takes: readonly string[];
  /** Flags besides those of every action. */
  readonly flags?: readonly (readonly [flag: string, about: string])[];
  readonly examples: readonly string[];
  readonly work: (
    client: ServerClient,
    flags: AdapterFlags,
    args: readonly string[],
  ) => Promise<CommandAnswer>;
}

const ACTIONS = {
  list: {
    about: "List adapters with version, state, size, age and checksum.",
    takes: [],
    examples: ["lorasa adapter list --token-file token.txt"],
    work: async (client, { model }) => {
      const adapters = await client.listAdapters(model);
      return { json: adapters, text: listingText(adapters, Date.now()) };
    },
  },
  push: {
    about: "Load or replace adapters: one PEFT folder, or every adapter of a checkpoint, model or run.",
    takes: ["<name-or-folder>", "[folder]"],
    flags: [["--pin", "keep the adapters in memory"]],
    examples: [
      "lorasa adapter push runs/cheetah/checkpoint --token-file token.txt",
      "lorasa adapter push runs/cheetah/checkpoint/adapters/agent_0 --token-file token.txt",
      "lorasa adapter push agent_0.blue runs/blue/checkpoint/adapters/agent_0 --token-file token.txt",
    ],
    work: push,
  },
  describe: {
    about: "Say all of one adapter, and which layers an adapter of the model has.",
    takes: ["<name>"],
    examples: ["lorasa adapter describe agent_0"],
    work: async (client, { model }, [name = ""]) => {
      const described = await client.describeAdapter(model, name);
      return { json: described, text: describedText(described, Date.now()) };
    },
  },
  pin: {
    about: "Keep an adapter in memory: it is neither set aside nor unloaded.",
    takes: ["<name>"],
    examples: ["lorasa adapter pin agent_0 --token-file token.txt"],
    work: async (client, { model }, [name = ""]) => status(await client.pinAdapter(model, name)),
  },
  unpin: {
    about: "Let an adapter be set aside again when memory is needed.",
    takes: ["<name>"],
    examples: ["lorasa adapter unpin agent_0 --token-file token.txt"],
    work: async (client, { model }, [name = ""]) => status(await client.unpinAdapter(model, name)),
  },
  unload: {
    about: "Unload an adapter; its requests are refused until another is pushed.",
    takes: ["<name>"],
    flags: [["--no-drain", "fail when requests are under way, instead of waiting for them"]],
    examples: ["lorasa adapter unload agent_0 --token-file token.txt"],
    work: async (client, { model, drain = true }, [name = ""]) =>
      status(await client.unloadAdapter(model, name, { drain })),
  },
  rollback: {
    about: "Make the version before the current one again, under a new number.",
    takes: ["<name>"],
    examples: ["lorasa adapter rollback agent_0 --token-file token.txt"],
    work: async (client, { model }, [name = ""]) => status(await client.rollbackAdapter(model, name)),
  },
} as const satisfies Record<string, Action>;

/** Seconds that `--wait` waits for when it names none. */
const WAIT_SECONDS = 60;
const POLL_MS = 250;
/** A server that is ready may still be busy for a moment. */
const RETRIES = 3;

export function adapterCommand(): Command {
  const group = new Command("adapter").description("Manage the adapters of a served model.");
  for (const [name, action] of Object.entries<Action>(ACTIONS)) group.addCommand(actionCommand(name, action));
  const examples = [
    ACTIONS.push.examples[0],
    ...Object.values(ACTIONS).map(({ examples: [first] }) => first),
  ];
  return group.addHelpText(
    "after",
    `\nExamples:\n${[...new Set(examples)].map((line) => `  ${line}`).join("\n")}`,
  );
}

function actionCommand(name: string, { about, takes, flags = [], examples, work }: Action): Command {
  const command = withJson(new Command(name))
    .description(about)
    .option("--server <url>", "address of the server", "http://127.0.0.1:8000")
    .option("--model <name>", "name of the team", "team")
    .option("--token-file <file>", "file with the server's management token")
    .option("--ca-file <file>", "PEM file of the authorities of an https:// server's certificate")
    .option(
      "--wait [seconds]",
      `wait for the server to be ready (default: ${WAIT_SECONDS} seconds)`,
      wholeNumber(1),
    );
  for (const argument of takes) command.argument(argument);
  for (const [flag, what] of flags) command.option(flag, what);
  command.addHelpText("after", `\nExamples:\n${examples.map((line) => `  ${line}`).join("\n")}`);
  return command.action((...given: unknown[]) => {
    // Commander hands over the arguments (undefined where left out), then the flags, then itself.
    const all = given.at(-2) as AdapterFlags;
    const args = (given.slice(0, -2) as (string | undefined)[]).filter((argument) => argument !== undefined);
    return answer(all, () => withClient(all, (client) => work(client, all, args)));
  });
}

async function withClient(
  flags: AdapterFlags,
  work: (client: ServerClient) => Promise<CommandAnswer>,
): Promise<CommandAnswer> {
  const { server, tokenFile, caFile, wait } = flags;
  const client = new ServerClient(server, {
    ...(tokenFile !== undefined && { token: readToken(tokenFile) }),
    ...(caFile !== undefined && { caFile }),
    ...(wait !== undefined && { retries: RETRIES }),
  });
  try {
    if (wait !== undefined) await untilReady(client, wait === true ? WAIT_SECONDS : wait);
    return await work(client);
  } finally {
    client.close();
  }
}

async function untilReady(client: ServerClient, seconds: number): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (!(await client.isReady())) {
    if (performance.now() >= deadline) {
      throw new LorasaError("LORASA_SERVER", {
        asked: `waiting for ${client.url}`,
        expected: `a server that is ready within ${seconds} s`,
        received: "none",
      });
    }
    await sleep(POLL_MS);
  }
}

/** Everything is read and compared with the served model before the first is sent: all are pushed, or none. */
async function push(
  client: ServerClient,
  flags: AdapterFlags,
  args: readonly string[],
): Promise<CommandAnswer> {
  // `<folder>`, or `<name> <folder>`.
  const [path = "", name] = [...args].reverse();
  const folders = adapterFolders(path, name);
  const adapters = [...folders].map(([adapter, folder]) => [adapter, readAdapter(folder)] as const);
  await requireFit(client, flags.model, Object.fromEntries(adapters));
  const pushed: AdapterStatus[] = [];
  for (const [adapter, folder] of folders) {
    pushed.push(await client.pushAdapterFolder(flags.model, adapter, folder, { pin: flags.pin ?? false }));
  }
  return { json: pushed.length === 1 ? pushed[0]! : pushed, text: pushed.map(statusText).join("\n") };
}

function status(adapter: AdapterStatus): CommandAnswer {
  return { json: adapter, text: statusText(adapter) };
}
