/** Vega-Lite specification in, SVG text out: drawn without a browser. Not what a chart shows. */
import type { TopLevelSpec } from "vega-lite";
import { escapeMarkup } from "../base/markup.ts";
import { DARK_STYLE, VEGA_CONFIG } from "./theme.ts";

/**
 * One self-contained `<svg>` that may stand in a file of its own or inside a page beside others: no script, no
 * outside reference, no identifiers that could clash, and a dark variant. `description` is for those who cannot see.
 */
export async function renderSvg(specification: object, description: string): Promise<string> {
  // Loaded here: a command that draws nothing should not wait for them.
  const [vega, vegaLite] = await Promise.all([import("vega"), import("vega-lite")]);
  // Vega-Lite's type of a specification is too deep to assemble layers against; compile() checks it.
  const { spec } = vegaLite.compile({ ...specification, config: VEGA_CONFIG } as unknown as TopLevelSpec);
  const view = new vega.View(vega.parse(spec), { renderer: "none", logLevel: vega.Error });
  try {
    return finish(await view.toSVG(), description);
  } finally {
    view.finalize();
  }
}

function finish(svg: string, description: string): string {
  const opening = /^<svg[^>]*viewBox="([\d. -]+)"[^>]*>/.exec(svg);
  if (opening === null) throw new Error("Vega's SVG has no viewBox");
  const [, , width = "0", height = "0"] = opening[1]!.split(" ");
  const head =
    `<svg xmlns="http://www.w3.org/2000/svg" class="lorasa-plot" role="img" viewBox="${opening[1]}" ` +
    `width="${width}" height="${height}" style="max-width:100%;height:auto">` +
    `<title>${escapeMarkup(description)}</title><style>${DARK_STYLE}</style>`;
  return head + svg.slice(opening[0].length).replace(/ d="[^"]*"/g, shortened);
}

/** Path coordinates to a hundredth of a pixel. */
function shortened(path: string): string {
  return path.replace(/\d+\.\d{3,}/g, (number) => String(Number(Number(number).toFixed(2))));
}
