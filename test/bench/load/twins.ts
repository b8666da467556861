/** Makes a twin answer as the server does, and proves it before anything is timed. Not how a twin works. */
import { assertClose } from "../../helpers/close.ts";
import type { TwinAnswers } from "./bare-process.ts";
import { exchange, type WholeReply } from "./exchange.ts";
import type { Worker } from "./processes.ts";
import { readInference } from "./reply.ts";
import type { ReplyParameters } from "./twin-policy.ts";

/** Headers that Node or the body's own description brings. */
const OWN_HEADERS = new Set([
  "date",
  "connection",
  "keep-alive",
  "content-type",
  "content-length",
  "inference-header-content-length",
]);

interface ReplyJson {
  readonly parameters?: ReplyParameters;
  readonly outputs: readonly { readonly data?: readonly number[] }[];
}

export interface Twin {
  readonly worker: Worker<TwinAnswers>;
  readonly port: number;
}

/**
 * Gives the twins the server's own headers and parameters, then compares their replies to the same requests.
 * @throws Error naming the first difference.
 */
export async function matchTwins(
  port: number,
  twins: readonly Twin[],
  requests: readonly Buffer[],
): Promise<void> {
  for (const request of requests) {
    const ours = await exchange(port, request);
    const { parameters = {} } = JSON.parse(ours.text) as ReplyJson;
    const headers = Object.fromEntries(ours.headers.filter(([name]) => !OWN_HEADERS.has(name)));
    for (const twin of twins) {
      await twin.worker.ask("imitate", { parameters, headers });
      compare(ours, await exchange(twin.port, request));
    }
  }
}

function compare(ours: WholeReply, theirs: WholeReply): void {
  const names = ({ headers }: WholeReply): string =>
    headers
      .map(([name]) => name)
      .sort()
      .join(", ");
  requireSame("status", `${ours.status}`, `${theirs.status}`);
  requireSame("headers", names(ours), names(theirs));
  requireSame("JSON", JSON.stringify(withoutData(ours)), JSON.stringify(withoutData(theirs)));
  assertClose(numbers(theirs), numbers(ours), { atol: 1e-5 }, "a twin's outputs");
}

function requireSame(what: string, ours: string, theirs: string): void {
  if (ours !== theirs)
    throw new Error(`a twin answers another ${what}:\n  server ${ours}\n  twin   ${theirs}`);
}

function withoutData({ text }: WholeReply): object {
  const reply = JSON.parse(text) as ReplyJson;
  return {
    ...reply,
    outputs: reply.outputs.map(({ data, ...rest }) => ({ ...rest, numbers: data?.length })),
  };
}

function numbers(reply: WholeReply): readonly number[] {
  return [...readInference(reply).outputs.values()].flatMap((data) => Array.from(data));
}
