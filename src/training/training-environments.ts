/** The environments that a run trains on: simulated here, or by simulators that connect. */
import { LorasaError } from "../base/errors.ts";
import type { RemoteVectorEnvOptions } from "../envs/remote/remote-options.ts";
import { createRemoteVectorEnv } from "../envs/remote/remote-vector.ts";
import { createVectorEnvBeside } from "../envs/vector-beside.ts";
import type { VectorEnv } from "../envs/vector-contract.ts";
import type { TrainConfig } from "./config.ts";

export interface EnvironmentsOptions {
  readonly config: TrainConfig;
  /** Where simulators connect, for the environment `remote`. */
  readonly remote?: Pick<RemoteVectorEnvOptions, "listen" | "token" | "timeoutSeconds">;
  readonly signal?: AbortSignal;
  readonly onNote?: (line: string) => void;
}

/** Environments of simulators that connect, whose name is theirs to say. */
const REMOTE = "remote";

export function isRemote({ env }: TrainConfig): boolean {
  return env === REMOTE;
}

/**
 * In two groups: one simulates while the policy infers for the other. Simulators that connect are waited for.
 * @throws what making environments throws; LORASA_CONFIG for simulators without an address, LORASA_CANCELLED when the
 * signal fires before they came.
 */
export async function trainingEnvironments(options: EnvironmentsOptions): Promise<VectorEnv> {
  const { config, remote, onNote, signal } = options;
  if (!isRemote(config)) {
    const { env: name, envOptions, envs } = config;
    return createVectorEnvBeside({ name, options: envOptions, envs });
  }
  if (!remote) {
    throw new LorasaError("LORASA_CONFIG", {
      asked: `environment ${REMOTE}`,
      expected: "an address to listen on",
      received: "none",
      mend: "add --listen 127.0.0.1:9100",
    });
  }
  const vectorEnv = await createRemoteVectorEnv({
    ...remote,
    envs: config.envs,
    ...(onNote && { onNote }),
    ...(signal && { signal }),
  });
  try {
    await vectorEnv.begin(config.seed);
    return vectorEnv;
  } catch (error) {
    await vectorEnv.close();
    throw error;
  }
}
