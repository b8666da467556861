/** The bare twin: `node:http` and the graph, nothing else. Argument: the model's folder. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { answerParent } from "./processes.ts";
import { type ReplyParameters, TwinPolicy, type TwinRequest } from "./twin-policy.ts";
import { usage } from "./usage.ts";

const policy = new TwinPolicy(process.argv[2]!);
/** Headers beyond those that describe the body, so that both answer the same bytes. */
let moreHeaders: Readonly<Record<string, string>> = {};

const answers = {
  start(): Promise<number> {
    const server = createServer(answer);
    return new Promise((resolve) => {
      // A server that listens on a port has an address of this form.
      server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port));
    });
  },
  /** What the server's replies say beside their outputs. */
  imitate({ parameters, headers }: { parameters: ReplyParameters; headers: Record<string, string> }): void {
    policy.parameters = parameters;
    moreHeaders = headers;
  },
  usage,
};
export type TwinAnswers = typeof answers;

answerParent(answers);

function answer(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    const jsonLength = request.headers["inference-header-content-length"];
    if (jsonLength === undefined) answerJson(response, body);
    else answerBinary(response, body, Number(jsonLength));
  });
}

function answerBinary(response: ServerResponse, body: Buffer, jsonLength: number): void {
  const { json, tensors } = policy.answerBinary(body, jsonLength);
  const bytes = Buffer.concat([json, ...tensors]);
  response.writeHead(200, {
    "Content-Type": "application/octet-stream",
    "Inference-Header-Content-Length": json.length,
    "Content-Length": bytes.length,
    ...moreHeaders,
  });
  response.end(bytes);
}

function answerJson(response: ServerResponse, body: Buffer): void {
  const request = JSON.parse(body.toString("utf8")) as TwinRequest;
  const text = JSON.stringify(policy.answerJson(request));
  response.writeHead(200, {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(text),
    ...moreHeaders,
  });
  response.end(text);
}
