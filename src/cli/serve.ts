/** `lorasa serve`: serves every model of a repository until it is told to stop. Not what the server does. */
import { Command, Option } from "commander";
import { type RunningServer, type ServerOptions, startServer } from "../../server/app.ts";
import { LOG_LEVELS } from "../../server/operations/log.ts";
import { LorasaError } from "../base/errors.ts";
import { readFile } from "../base/files.ts";
import { DEVICE_CHOICES } from "../runtime/choose.ts";
import { answer, numberIn, wholeNumber, withJson } from "./command.ts";

/** Flags that are options of the server as they are. */
type SameFlags = Omit<ServerOptions, "repository" | "token" | "inferToken" | "tls" | "onFault">;

interface ServeFlags extends SameFlags {
  readonly tokenFile?: string;
  readonly inferTokenFile?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  /** Bytes. */
  readonly bodyLimit?: number;
  /** Seconds, as the others. */
  readonly requestTimeout?: number;
  readonly drainTimeout?: number;
  readonly sequenceIdle?: number;
  readonly json?: boolean;
}

const DAY_SECONDS = 86_400;

export function serveCommand(): Command {
  const command = withJson(new Command("serve"))
    .description("Serve the models of a repository over HTTP and gRPC (Open Inference Protocol v2).")
    .argument("<repository>", "folder of exported models");
  return addFlags(command)
    .addHelpText(
      "after",
      `
Examples:
  lorasa serve repository
  lorasa serve repository --port 9000 --grpc-port 9001
  lorasa token --out token.txt && lorasa serve repository --token-file token.txt
  lorasa serve repository --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem --token-file token.txt --infer-token-file infer.txt
  curl -s localhost:8000/v2/models/team
Ctrl-C, or SIGTERM, finishes the requests that have begun and ends; a second one ends at once.`,
    )
    .action((repository: string, flags: ServeFlags) => answer(flags, () => runServe(repository, flags)));
}

function addFlags(command: Command): Command {
  return command
    .optionsGroup("Address:")
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <n>", "port, 0 for a free one", wholeNumber(0), 8000)
    .option("--grpc-port <n>", "also answer gRPC on this port, 0 for a free one", wholeNumber(0))
    .option("--base-path <path>", "put before every path, such as /lorasa")
    .option("--tls-cert <file>", "certificate chain in PEM: encrypt connections")
    .option("--tls-key <file>", "its private key in PEM")
    .optionsGroup("Who may call:")
    .option(
      "--token-file <file>",
      "file with the secret for management, or its hash; management is off without one",
    )
    .option("--infer-token-file <file>", "file with the secret for inference, or its hash; open without one")
    .option("--allow-open", "listen on an address that other machines reach without a token")
    .optionsGroup("Limits:")
    .option("--max-connections <n>", "most at once (default: 16384)", wholeNumber(1))
    .option("--body-limit <bytes>", "largest request (default: 67108864)", wholeNumber(1))
    .option(
      "--request-timeout <seconds>",
      "longest that a request may take to arrive (default: 60)",
      numberIn(0.1, DAY_SECONDS),
    )
    .option(
      "--drain-timeout <seconds>",
      "wait this long for requests at the end (default: 30)",
      numberIn(0, DAY_SECONDS),
    )
    .option("--queue-limit <n>", "most requests that wait; more are refused with 503", wholeNumber(1))
    .option(
      "--queue-delay-us <n>",
      "microseconds that a request may wait for others to join it",
      wholeNumber(0),
    )
    .option("--max-batch-rows <n>", "most rows that run together", wholeNumber(1))
    .option("--sequence-limit <n>", "most sequences whose state is held", wholeNumber(1))
    .option("--sequence-idle <seconds>", "forget a sequence after this long", numberIn(1, DAY_SECONDS))
    .optionsGroup("Adapters:")
    .option("--adapter-root <folder>", "where a load's path may lead (default: the model's own adapters)")
    .option("--adapter-store <folder>", "keep pushed adapters here, so that they outlive the server")
    .option("--resident-adapters <n>", "most in memory at once, of a model", wholeNumber(1))
    .option("--max-adapters <n>", "most that a model may have", wholeNumber(1))
    .optionsGroup("Running:")
    .addOption(
      new Option("--device <name>", "where the graphs run; auto measures each model on all that there are")
        .choices(DEVICE_CHOICES)
        .default("cpu"),
    )
    .addOption(
      new Option(
        "--fallback <name>",
        "where models go on when the device is missing, full or lost (default: nowhere)",
      ).choices(["cpu"]),
    )
    .option("--threads <n>", "threads inside an operator", wholeNumber(1), 1)
    .addOption(
      new Option("--log-level <level>", "what is logged")
        .choices(LOG_LEVELS)
        .env("LORASA_LOG")
        .default("warn"),
    );
}

async function runServe(repository: string, flags: ServeFlags): Promise<{ json: object; text: string }> {
  const server = await startServer({ repository, ...serverOptions(flags) });
  const { url, devices } = server;
  const started = flags.json ? JSON.stringify({ url, devices }) : startedText(repository, server);
  process.stderr.write(`${started}\n`);
  await untilStopped();
  await server.close();
  return { json: { url, devices, stopped: true }, text: "stopped" };
}

function startedText(repository: string, { url, devices }: RunningServer): string {
  const chosen = devices.flatMap(({ model, why }) => (why === undefined ? [] : [`${model} on ${why}`]));
  return [...chosen, `serving ${repository} at ${url}`].join("\n");
}

function serverOptions(flags: ServeFlags): Omit<ServerOptions, "repository"> {
  const { json: _, tokenFile, inferTokenFile, tlsCert, tlsKey, ...rest } = flags;
  const { bodyLimit, requestTimeout, drainTimeout, sequenceIdle, ...same } = rest;
  return {
    ...same,
    ...(tokenFile !== undefined && { token: readServerToken(tokenFile) }),
    ...(inferTokenFile !== undefined && { inferToken: readServerToken(inferTokenFile) }),
    ...readTls(tlsCert, tlsKey),
    ...(bodyLimit !== undefined && { bodyLimitBytes: bodyLimit }),
    ...(requestTimeout !== undefined && { requestTimeoutMs: requestTimeout * 1000 }),
    ...(drainTimeout !== undefined && { drainTimeoutMs: drainTimeout * 1000 }),
    ...(sequenceIdle !== undefined && { sequenceIdleMs: sequenceIdle * 1000 }),
  };
}

/** The file's first line, at least 16 characters: the secret itself, as a client sends it. */
export function readToken(path: string): string {
  const token = readServerToken(path);
  if (!token.startsWith(HASHED)) return token;
  throw tokenError(path, "the token itself", "its SHA-256, which a server keeps");
}

/** The file's first line as a server takes it: the secret, or `sha256:` and its hash. */
export function readServerToken(path: string): string {
  const [token = ""] = readFile(path, "token file").toString("utf8").trim().split("\n");
  if (token.length >= LEAST_CHARACTERS) return token;
  throw tokenError(path, `a line of at least ${LEAST_CHARACTERS} characters`, `${token.length}`);
}

const HASHED = "sha256:";
const LEAST_CHARACTERS = 16;

function tokenError(path: string, expected: string, received: string): LorasaError {
  const mend = "make one with `lorasa token`";
  return new LorasaError("LORASA_FLAG", { asked: `token file ${path}`, expected, received, mend });
}

function readTls(cert: string | undefined, key: string | undefined): Pick<ServerOptions, "tls"> {
  if (cert === undefined && key === undefined) return {};
  if (cert !== undefined && key !== undefined) {
    return { tls: { cert: readFile(cert, "TLS certificate"), key: readFile(key, "TLS key") } };
  }
  throw new LorasaError("LORASA_FLAG", {
    asked: "TLS",
    expected: "--tls-cert and --tls-key",
    received: cert === undefined ? "a key without a certificate" : "a certificate without a key",
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
