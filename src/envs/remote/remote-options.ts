/** What remote environments are told, checked: where to listen, how many, how long to wait. Not what is done with it. */
import { LorasaError } from "../../base/errors.ts";
import type { RemoteTask } from "./remote-worker.ts";
import type { RemoteStatus } from "./simulators.ts";

export interface RemoteVectorEnvOptions {
  /** Host and port, such as `127.0.0.1:9100`; port 0 takes a free one. */
  readonly listen: string;
  /** Environments over all groups: a multiple of `groups`. */
  readonly envs: number;
  /** 2 unless given: simulators step one while the policy infers for the other. */
  readonly groups?: number;
  /** Simulators must send it as `Authorization: Bearer`. */
  readonly token?: string;
  /** A simulator that asks for nothing for so long is given up; 60 unless given. */
  readonly timeoutSeconds?: number;
  /** A request without news is answered after so long with `wait`; 20 unless given. */
  readonly pollSeconds?: number;
  /** Environments without a simulator for so long are noted; 5 unless given. */
  readonly noteSeconds?: number;
  /** `stepped` blocks for so long before it waits with the event loop running; 100 unless given. */
  readonly blockMs?: number;
  /** Ends every wait for simulators that are not there, with LORASA_CANCELLED. */
  readonly signal?: AbortSignal;
  readonly onListening?: (address: string) => void;
  readonly onNote?: (line: string) => void;
  readonly onStatus?: (status: RemoteStatus) => void;
}

/** @throws LORASA_CONFIG. */
export function remoteTask(options: RemoteVectorEnvOptions): RemoteTask {
  const { envs, groups = 2, token, timeoutSeconds = 60, pollSeconds = 20, noteSeconds = 5 } = options;
  whole("groups", groups);
  whole("envs", envs);
  if (envs % groups !== 0) throw wrong("envs", `a multiple of ${groups} groups`, envs);
  if (token === "") throw wrong("token", "some characters", "none");
  for (const [name, seconds] of Object.entries({ timeoutSeconds, pollSeconds, noteSeconds })) {
    if (!(seconds > 0 && seconds <= 86_400)) throw wrong(name, "above 0, up to 86400", seconds);
  }
  return {
    ...parseListen(options.listen),
    groups,
    envs: envs / groups,
    ...(token !== undefined && { token }),
    timeoutMs: timeoutSeconds * 1000,
    pollMs: pollSeconds * 1000,
    noteMs: noteSeconds * 1000,
  };
}

function parseListen(listen: string): { readonly host: string; readonly port: number } {
  const found = /^(?:\[([\da-f:.]+)\]|([\w.-]+)):(\d{1,5})$/i.exec(listen);
  const port = Number(found?.[3]);
  if (found === null || port > 65_535)
    throw wrong("listen", "a host and a port, such as 127.0.0.1:9100", listen);
  return { host: found[1] ?? found[2]!, port };
}

function whole(name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1) throw wrong(name, "a whole number from 1", value);
}

function wrong(asked: string, expected: string, received: unknown): LorasaError {
  return new LorasaError("LORASA_CONFIG", { asked, expected, received: String(received) });
}
