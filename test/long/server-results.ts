/**
 * Runs the server's benchmarks and its soak one after another and writes `docs/results/serving.md`: run it on a machine
 * that does nothing else. Not the other benchmarks: see `benchmarks.ts`.
 *
 * `npm run results:serving [-- --minutes 60]`; some ten minutes on two cores beside the soak's.
 */
import { parseArgs } from "node:util";
import { type Benchmark, writeResultsPage } from "../helpers/results-page.ts";

const { values } = parseArgs({ options: { minutes: { type: "string", default: "60" } } });

const BENCHMARKS: readonly Benchmark[] = [
  {
    title: "Requests",
    command: ["test/bench/server.ts"],
    about:
      "Team requests of 8 agents (30 features, 64-64, 6 actions, adapters of rank 8) over 16 kept-alive connections, each " +
      "sending its next when its last is answered, and `alone` over one. `bare` is a `node:http` server, `express` an " +
      "Express route, both reading and answering the same bytes with the same graph, without checks and without batches. " +
      "What is outside ONNX Runtime is told three times: of a request's time in the engine, as the protocol's statistics " +
      "count it and `perf_analyzer` prints it, which is the one with a bound; of the time from the request being there " +
      "whole to its reply handed to the socket; and of the processor's time, HTTP included.",
  },
  {
    title: "Swapping adapters under load",
    command: ["test/bench/server-swap.ts"],
    about:
      "Half of the highest load, without and with a swap every 10 ms, pushed over HTTP. Latencies count from the moment at " +
      "which a request was due. Each reply is compared with what the adapter versions that it names must act: `mixed` ones " +
      "act otherwise, `stale` ones name a version older than one that was acknowledged before the request was sent.",
  },
  {
    title: "Thousands of adapters on one backbone",
    command: ["test/bench/server-adapters.ts"],
    about:
      "A recurrent policy (64 and 64 units, adapters of rank 8) with 10,000 adapters of one agent on disk and at most 1,000 " +
      "in memory, against merged policies with a session each. Each reply is compared with what its adapter must act.",
  },
  {
    title: "Soak",
    command: ["test/long/server-soak.ts", "--minutes", values.minutes],
    about:
      "Requests of every kind, sequences whose state the server holds, mistakes, connections that break off, swaps, models " +
      "that come and go, at once. Each reply is checked; memory is read each second after garbage was collected, the first " +
      "third left out.",
  },
];

writeResultsPage(
  {
    path: "docs/results/serving.md",
    title: "Serving",
    command: "npm run results:serving",
    about: "The server has one core, the load the other: read ratios, not times.",
  },
  BENCHMARKS,
);
