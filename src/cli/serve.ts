/** `lorasa serve`: serves every model of a repository until it is told to stop. */
import { Command, Option } from "commander";
import { startServer } from "../../server/app.ts";
import { LorasaError } from "../base/errors.ts";
import { readFile } from "../base/files.ts";
import { DEVICES, type Device } from "../runtime/session.ts";
import { answer, wholeNumber, withJson } from "./command.ts";

interface ServeFlags {
  readonly host: string;
  readonly port: number;
  readonly device: Device;
  readonly threads: number;
  readonly tokenFile?: string;
  readonly allowOpen?: boolean;
  readonly json?: boolean;
}

export function serveCommand(): Command {
  return withJson(new Command("serve"))
    .description("Serve the models of a repository over HTTP (Open Inference Protocol v2).")
    .argument("<repository>", "folder of exported models")
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <n>", "port, 0 for a free one", wholeNumber(0), 8000)
    .addOption(new Option("--device <name>", "device").choices(DEVICES).default("cpu"))
    .option("--threads <n>", "threads inside an operator", wholeNumber(1), 1)
    .option(
      "--token-file <file>",
      "file with the secret for adapter and management routes; they are off without one",
    )
    .option("--allow-open", "listen on an address that other machines reach without a token")
    .addHelpText(
      "after",
      `
Examples:
  lorasa serve repository
  lorasa serve repository --port 9000 --token-file token.txt
  curl -s localhost:8000/v2/models/team
Ctrl-C finishes the requests that have begun and ends; a second one ends at once.`,
    )
    .action((repository: string, flags: ServeFlags) => answer(flags, () => runServe(repository, flags)));
}

async function runServe(repository: string, flags: ServeFlags): Promise<{ json: object; text: string }> {
  const { host, port, device, threads } = flags;
  const server = await startServer({
    repository,
    host,
    port,
    device,
    threads,
    allowOpen: flags.allowOpen ?? false,
    ...(flags.tokenFile !== undefined && { token: readToken(flags.tokenFile) }),
  });
  const started = flags.json ? JSON.stringify({ url: server.url }) : `serving ${repository} at ${server.url}`;
  process.stderr.write(`${started}\n`);
  await untilStopped();
  await server.close();
  return { json: { url: server.url, stopped: true }, text: "stopped" };
}

/** The file's first line, at least 16 characters. */
export function readToken(path: string): string {
  const [token = ""] = readFile(path, "token file").toString("utf8").trim().split("\n");
  if (token.length >= 16) return token;
  throw new LorasaError("LORASA_FLAG", {
    asked: `token file ${path}`,
    expected: "a line of at least 16 characters",
    received: `${token.length}`,
    mend: "write a random one, for example with: openssl rand -hex 32",
  });
}

function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false;
    const stop = (): void => {
      if (stopping) process.exit(130);
      stopping = true;
      resolve();
    };
    process.on("SIGINT", stop).on("SIGTERM", stop);
  });
}
