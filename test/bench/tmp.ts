import { createVectorEnv } from "../../src/envs/vector.ts";
import { preset } from "../../src/training/presets.ts";
import { Trainer } from "../../src/training/trainer.ts";
import { createRuntime } from "../../src/runtime/onnxruntime.ts";
import { mean } from "../../src/base/statistics.ts";
const config = { ...preset(process.argv[2]!), steps: Number(process.argv[3]), ...JSON.parse(process.argv[4] ?? "{}") };
const vectorEnv = await createVectorEnv({ name: config.env, options: config.envOptions, envs: config.envs, groups: 2 });
const trainer = new Trainer({ config, runtime: createRuntime("cpu"), vectorEnv });
const t0 = performance.now(); let returns: number[] = [];
while (!trainer.done) { const r = await trainer.iterate(); returns.push(...r.episodes.map((e) => e.return)); returns = returns.slice(-20);
 if ((r.envSteps / (config.envs*config.rolloutLength)) % 10 < 1) console.log(r.envSteps, r.phase, "ret", mean(returns).toFixed(1), "sps", (r.envSteps / (performance.now() - t0) * 1000).toFixed(0), JSON.stringify(r.ms), JSON.stringify(r.figures)); }
await trainer.close(); await vectorEnv.close();
