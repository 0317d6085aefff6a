export type Random = () => number;

/** A generator of numbers from 0 to 1 that gives the same ones each time (mulberry32). */
export function seeded(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Which values beyond those of JSON may come. */
export interface Kinds {
  readonly dates?: boolean;
  readonly bytes?: boolean;
}

const STRINGS = [
  '',
  'a',
  'yes',
  'n',
  '1e5',
  '08',
  '~',
  'NaN',
  '__proto__',
  '__type__',
  'é☃😀',
  '"\\\n\t\0',
  '\x7f\x85\u2028',
  '=',
  '<<',
  '- a: b #c',
];
const NUMBERS = [
  0,
  1,
  -1,
  255,
  65_536,
  2 ** 31,
  2 ** 32,
  -(2 ** 33),
  2.5,
  1e-7,
  1e16,
  1e21,
  1.7e308,
  Number.MAX_SAFE_INTEGER,
];
const SPECIAL = [Number.NaN, Infinity, -Infinity, 2n ** 53n, -(2n ** 60n), 2n ** 64n - 1n];

/** A value of up to four levels, picked from the corners where serializers differ. */
export function randomValue(random: Random, kinds: Kinds = {}, level = 0): unknown {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const choice = Math.floor(random() * (level < 4 ? 12 : 8));
  if (choice <= 1) return pick(STRINGS);
  if (choice <= 3) return pick(NUMBERS);
  if (choice === 4) return pick(SPECIAL);
  if (choice === 5) return pick([true, false, null]);
  if (choice === 6 && kinds.dates === true) return new Date(Math.floor(random() * 4e12) - 1e12);
  if (choice === 7 && kinds.bytes === true)
    return Uint8Array.from({ length: Math.floor(random() * 9) }, () => random() * 256);
  if (choice <= 7) return random();
  const length = Math.floor(random() * 4);
  if (choice <= 9) return Array.from({ length }, () => randomValue(random, kinds, level + 1));
  const keys = Array.from({ length }, () => pick(STRINGS)).filter((key) => key !== '__proto__' && key !== '__type__');
  return Object.fromEntries(keys.map((key) => [key, randomValue(random, kinds, level + 1)]));
}
