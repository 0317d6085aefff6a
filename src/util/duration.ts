/** Reads `90s`, `2m`, `1.5h` or plain seconds; `undefined` for what is no time. */
export function parseDuration(text: string): number | undefined {
  const [, number, unit = 's'] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?$/.exec(text.trim()) ?? [];
  if (number === undefined) return undefined;
  return Number(number) * ({ ms: 0.001, s: 1, m: 60, h: 3600, d: 86_400 }[unit] ?? 1);
}
