const units = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
] as const;

/** How long ago an instant (epoch milliseconds) was, in its largest unit: `5 min ago`. */
export function ago(epochMs: number, now: number = Date.now()): string {
  const past = now - epochMs;
  const [unit, size] = units.find(([, ms]) => past >= ms) ?? [];
  return unit === undefined ? 'just now' : `${Math.floor(past / size)} ${unit} ago`;
}
