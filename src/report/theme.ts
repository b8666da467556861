/** The look of every chart: colours, type and lines. Series colours stay apart under every kind of colour blindness. */

/** Light and dark value of each role; a chart is drawn in the light ones and restyled where the reader's scheme is dark. */
export const INK = {
  text: { light: "#1f2933", dark: "#e6e9ed" },
  muted: { light: "#5b6774", dark: "#a5b0bd" },
  grid: { light: "#e4e8ec", dark: "#2e3640" },
  rule: { light: "#8a95a1", dark: "#7c8896" },
} as const;

/** Series colours in order of use; each has contrast of 4.5 or more on its background, so that labels wear it too. */
export const SERIES = [
  { light: "#0854d4", dark: "#4391fa" },
  { light: "#c55108", dark: "#f0641a" },
  { light: "#088469", dark: "#43e6b6" },
  { light: "#a32091", dark: "#f8a6ea" },
  { light: "#493407", dark: "#f2db7e" },
  { light: "#2d3640", dark: "#838a90" },
] as const;

/** Marker of each series in the same order: a second way to tell them apart. */
export const SHAPES = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross"] as const;

export const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";

/** Vega-Lite's configuration. */
export const VEGA_CONFIG = {
  background: "transparent",
  aria: false,
  // Below, room for descenders.
  padding: { left: 0, top: 0, right: 0, bottom: 4 },
  font: FONT,
  view: { stroke: null },
  title: {
    anchor: "start",
    frame: "bounds",
    fontSize: 15,
    fontWeight: 600,
    color: INK.text.light,
    subtitleColor: INK.muted.light,
    subtitleFontSize: 12,
    subtitlePadding: 4,
    offset: 14,
  },
  axis: {
    domain: false,
    ticks: false,
    gridColor: INK.grid.light,
    gridWidth: 1,
    labelColor: INK.muted.light,
    labelFontSize: 12,
    labelPadding: 6,
    titleColor: INK.muted.light,
    titleFontSize: 12,
    titleFontWeight: "normal",
    titlePadding: 10,
  },
} as const;

/** Style sheet that recolours a chart of class `lorasa-plot` in a dark scheme. */
export const DARK_STYLE = `@media (prefers-color-scheme:dark){${[...Object.values(INK), ...SERIES]
  .flatMap(({ light, dark }) => [
    `.lorasa-plot [fill="${light}"]{fill:${dark}}`,
    `.lorasa-plot [stroke="${light}"]{stroke:${dark}}`,
  ])
  .join("")}}`;
