/** One push of a whole team to a server, and what came of it. Not when to push (`pusher.ts`). */
import { replyStatus } from "../../../server/client/failures.ts";
import type { ServerClient } from "../../../server/client.ts";
import { LorasaError } from "../../base/errors.ts";
import { type AdapterFileOptions, CONFIG_FILE, encodeAdapter, TENSORS_FILE } from "../../checkpoint/peft.ts";
import { type NamedAdapters, requireFit } from "./fit.ts";

export interface TeamPush {
  readonly adapters: NamedAdapters;
  /** As the checkpoint's files have them. */
  readonly files: AdapterFileOptions;
}

/**
 * `unfit`: the server's model has another backbone or other layers; `rejected`: it refused for another reason; `away`:
 * it could not be reached, or is busy.
 */
export type PushOutcome =
  | { readonly kind: "pushed"; readonly versions: Readonly<Record<string, string>> }
  | { readonly kind: "unfit" | "rejected" | "away"; readonly problem: string };

/** Checks that the team fits, then replaces its adapters one after the other; never throws. */
export async function deliver(
  client: ServerClient,
  model: string,
  { adapters, files }: TeamPush,
): Promise<PushOutcome> {
  try {
    await requireFit(client, model, adapters);
    const encoded = Object.entries(adapters).map(
      ([name, adapter]) => [name, encodeAdapter(adapter, files)] as const,
    );
    const versions: Record<string, string> = {};
    for (const [name, { [CONFIG_FILE]: config, [TENSORS_FILE]: tensors }] of encoded) {
      const text = Buffer.from(config!).toString("utf8");
      versions[name] = (await client.pushAdapter(model, name, text, tensors!)).version;
    }
    return { kind: "pushed", versions };
  } catch (error) {
    return { kind: failureKind(error), problem: (error as Error).message };
  }
}

function failureKind(error: unknown): "unfit" | "rejected" | "away" {
  const code = error instanceof LorasaError ? error.code : undefined;
  if (code === "LORASA_ADAPTER" || code === "LORASA_UNKNOWN_AGENT") return "unfit";
  if (code !== "LORASA_SERVER") return "rejected";
  const status = replyStatus(error);
  return status === undefined || status === 503 ? "away" : "rejected";
}
