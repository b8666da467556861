/** What the engine tells, as metrics count it and as events of the log. Not what the events hold: see `log.ts`. */
import type { AdapterEvent, EngineEvents } from "../engine/events.ts";
import type { Log } from "./log.ts";

/** Adapters that are only read from their files again are no news. */
const EVENT_OF = {
  loaded: "adapter_loaded",
  replaced: "adapter_replaced",
  "rolled back": "adapter_rolled_back",
  unloaded: "adapter_unloaded",
  evicted: "adapter_evicted",
  read: undefined,
} as const satisfies Record<AdapterEvent["kind"], string | undefined>;

export function logEngine(metrics: EngineEvents, log: Pick<Log, "write" | "fault">): EngineEvents {
  return {
    batch: metrics.batch,
    adapter(told) {
      metrics.adapter(told);
      const { kind, model, adapter, version, sha256 } = told;
      const event = EVENT_OF[kind];
      if (event) log.write(event, { model, adapter, version, sha256 });
    },
    model(told) {
      metrics.model(told);
      const { kind, model, seconds, bytes } = told;
      log.write(`model_${kind}`, { model, ms: Math.round(seconds * 1000), bytes });
    },
    device(told) {
      metrics.device(told);
      const { moved, ...fields } = told;
      log.write(moved ? "model_moved_to_cpu" : "device_failed", fields);
    },
    cpuNodes(told) {
      metrics.cpuNodes(told);
      const { model, graph, nodes } = told;
      log.write("nodes_on_cpu", { model, graph, nodes: nodes.join(", ") });
    },
    fault(error) {
      metrics.fault(error);
      log.fault(error);
    },
  };
}
