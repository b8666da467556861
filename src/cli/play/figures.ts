/** What a task tells of its episodes besides their return, as a line of text. */

/** Such as `won 94 %, dead allies 2.3`; empty without any. */
export function figuresText(figures: Readonly<Record<string, number>>): string {
  return Object.entries(figures)
    .map(([name, value]) => {
      const words = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
      return name === "won" ? `won ${(100 * value).toFixed(0)} %` : `${words} ${value.toFixed(1)}`;
    })
    .join(", ");
}
