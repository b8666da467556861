/** How a comparison was made, for the page's last section. */
import { formatCount } from "../../base/format.ts";
import { VERSION } from "../../base/version.ts";
import type { Page } from "../../report/page.ts";
import type { Device } from "../../runtime/session.ts";
import type { CompareResult } from "./compare-team.ts";
import { different } from "./page-charts.ts";

type Facts = NonNullable<Page["measured"]>["facts"];

/** What moves between host and device in a step. */
const DEVICE_MEANINGS = {
  cpu: "cpu: sessions of one thread; nothing is copied",
  webgpu: "webgpu: backbone and bank stay in its memory, observations go up, actions and states come down",
  cuda: "cuda: the backbone stays in its memory; every run copies its other tensors, the bank too",
} as const satisfies Record<Device, string>;

export function comparisonFacts(result: CompareResult): Facts {
  const { machine, rows, teamAgents } = result;
  const devices = [...new Set(rows.map(({ device }) => device))];
  const synthetic = different(rows.map(({ agents }) => agents)).filter((agents) => agents !== teamAgents);
  return [
    {
      name: "Equality",
      value:
        "All modes and the trained network side by side, on random raw observations over 12 steps with states carried " +
        "on, on every device; measuring starts only when no two differ by more than 1e-5 of their scale in fp32.",
    },
    {
      name: "Rounds",
      value: `${result.rounds}. Each mode in a fresh process each round, in one order and then the other, sizes too.`,
    },
    {
      name: "A step",
      value: "Tensors are in place; results are written into memory of the caller. No network, no JSON.",
    },
    ...(synthetic.length > 0
      ? [
          {
            name: "Synthetic teams",
            value: `${synthetic.join(", ")} agents: the trained weights repeated and moved a little, since only time and memory are measured there.`,
          },
        ]
      : []),
    {
      name: "Memory",
      value:
        "Resident size of the process without JavaScript's heap, before and after loading the team several times more; " +
        "what the library takes once is not in it.",
    },
    {
      name: devices.length === 1 ? "Device" : "Devices",
      value: `${devices.map((device) => DEVICE_MEANINGS[device]).join(". ")}.`,
    },
    {
      name: "Machine",
      value: `${machine.processor}, ${machine.cores} cores, ${machine.platform}, Node ${machine.node}`,
    },
    { name: "lorasa", value: VERSION },
    { name: "Duration", value: `${formatCount(result.seconds)} s` },
  ];
}
