/** What the doors tell of a model: its metadata and configuration, from what is loaded. Not their words. */
import type { LocalPolicyService } from "./engine/policy-service.ts";
import type { ServedModel } from "./engine/service.ts";
import { ROW_LIMIT } from "./limits.ts";
import { type ModelFacts, modelConfig } from "./protocol/config.ts";
import { modelMetadata } from "./protocol/metadata.ts";

interface ModelDescriptions {
  /** As the metadata routes answer. */
  metadata(model: ServedModel): object;
  /** As the `model_configuration` extension answers. */
  config(model: ServedModel): object;
}

export function describeModels(service: LocalPolicyService): ModelDescriptions {
  const { queueLimit, queueDelayUs, sequenceLimit, sequenceIdleMs } = service.settings;
  const settings = {
    queueDelayMicroseconds: queueDelayUs,
    queueLimit,
    rowLimit: ROW_LIMIT,
    sequenceIdleMicroseconds: sequenceIdleMs * 1000,
    sequenceLimit,
  };
  const factsOf = ({ name }: ServedModel): ModelFacts => {
    const { model, addressee } = service.endpoint(name);
    const { version, mode, environment, backboneSha256, agents } = model.manifest;
    return {
      version,
      device: model.placed.device,
      mode,
      environment: environment.name,
      backboneSha256,
      ...(addressee.agent === undefined && { agents: agents.map((agent) => agent.name) }),
      ...settings,
    };
  };
  return {
    metadata: (served) => modelMetadata(served, factsOf(served)),
    config: (served) => modelConfig(served, factsOf(served)),
  };
}
