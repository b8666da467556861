/** Starts a worker thread from a module beside the caller, whether it runs as TypeScript or as built JavaScript. */
import { Worker } from "node:worker_threads";

/**
 * @param from `import.meta.url` of the caller.
 * @param name the module's file name without extension, such as `./sim-worker`.
 * @param workerData given to the worker as `workerData`.
 */
export function startWorker(from: string, name: string, workerData: unknown): Worker {
  const typescript = from.endsWith(".ts");
  const url = new URL(`${name}${typescript ? ".ts" : ".js"}`, from);
  if (!typescript) return new Worker(url, { workerData });
  // Node 20 does not apply --import tsx in workers: register it first, then load the module.
  const code = `import(${JSON.stringify(import.meta.resolve("tsx/esm/api"))})
    .then(({ register }) => { register(); return import(${JSON.stringify(url.href)}); });`;
  return new Worker(code, { eval: true, workerData, execArgv: [] });
}
