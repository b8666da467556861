/** Every environment that can be asked for by name. */
import type { EnvOptions } from "../../src/envs/contract.ts";
import { listTasks, makeEnv } from "../../src/envs/registry.ts";
import { testEnvironment } from "./envs.ts";

/** Short episodes, so that ends come soon. */
const SHORT: Readonly<Record<string, EnvOptions>> = {
  mujoco: { episodeLimit: 20 },
  mpe: { episodeLimit: 12 },
  smac: { episodeLimit: 20 },
};

/** What a family's environments do otherwise, and why. */
const SKIP: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  smac: {
    "another seed gives another start, and so does the next episode of the stream":
      "a map says where units start; chance decides who acts first",
  },
};

/** Tasks by other options than their initial ones, where these change what the environment must see to. */
const VARIANTS: readonly string[] = [
  "mujoco/HalfCheetah?factorization=bthigh,bshin|bfoot,fthigh,fshin,ffoot",
  "mpe/simple_reference?actions=continuous",
  "mpe/simple_tag?actions=continuous&prey=random",
];

for (const name of [...listTasks().map((task) => task.name), ...VARIANTS]) {
  const family = name.split("/", 1)[0]!;
  testEnvironment(name, () => makeEnv(name, SHORT[family] ?? {}), { skip: SKIP[family] ?? {} });
}
