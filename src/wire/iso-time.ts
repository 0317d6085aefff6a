/** Python's `datetime.isoformat()` and epoch milliseconds, both ways (wire SPEC, conventions). */

/** First and last millisecond of the years 1 to 9999, all that Python's datetime can hold. */
const FIRST_MS = -62_135_596_800_000;
const LAST_MS = 253_402_300_799_999;

const ISO_TIME =
  /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(Z|[+-]\d\d:?\d\d(?::?\d\d(?:\.\d+)?)?)?)?$/;

/** What was written last: the tasks of a batch end in the same millisecond. */
let last = { ms: Number.NaN, zone: '', text: '' };

/**
 * Writes an instant the way Python writes an aware UTC datetime: `2031-01-02T03:04:05.678000+00:00`, without the
 * fraction when it is zero. `undefined` for an instant outside the years 1 to 9999, or not a number.
 */
export function formatIsoTime(epochMs: number, zone: '+00:00' | 'Z' = '+00:00'): string | undefined {
  const ms = Math.floor(epochMs);
  if (!(ms >= FIRST_MS && ms <= LAST_MS)) return undefined;
  if (ms !== last.ms || zone !== last.zone) last = { ms, zone, text: write(ms, zone) };
  return last.text;
}

function write(ms: number, zone: string): string {
  const text = new Date(ms).toISOString();
  const seconds = text.slice(0, 19);
  const fraction = text.slice(20, 23);
  return fraction === '000' ? seconds + zone : `${seconds}.${fraction}000${zone}`;
}

/**
 * Reads what Python's `datetime.isoformat()` wrote, as epoch milliseconds; microseconds are cut. A time without an
 * offset is taken as UTC. `undefined` when the text is no such time.
 */
export function parseIsoTime(text: string): number | undefined {
  const match = ISO_TIME.exec(text);
  if (match === null) return undefined;
  const [, year, month, day, hour = '0', minute = '0', second = '0', fraction = '', zone = 'Z'] = match;
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return undefined;
  const date = new Date(0);
  // Date.UTC takes the years 0 to 99 as 1900 to 1999; setUTCFullYear does not.
  date.setUTCFullYear(Number(year), Number(month) - 1, Number(day));
  const rolledOver = date.getUTCMonth() !== Number(month) - 1 || date.getUTCDate() !== Number(day);
  if (rolledOver || Number(year) === 0) return undefined;
  const ms = Number(fraction.slice(0, 3).padEnd(3, '0'));
  date.setUTCHours(Number(hour), Number(minute), Number(second), ms);
  return date.getTime() - offsetMs(zone);
}

function offsetMs(zone: string): number {
  if (zone === 'Z') return 0;
  const digits = zone.slice(1).replaceAll(':', '');
  const seconds = Number(digits.slice(0, 2)) * 3600 + Number(digits.slice(2, 4)) * 60 + Number(digits.slice(4) || 0);
  return (zone.startsWith('-') ? -seconds : seconds) * 1000;
}
