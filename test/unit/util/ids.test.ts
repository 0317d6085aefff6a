import { expect, test } from 'vitest';
import { derivedId, newId } from '../../../src/util/ids.ts';

const uuid = (version: number) =>
  new RegExp(`^[0-9a-f]{8}-[0-9a-f]{4}-${version}[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`);

test('fresh ids are UUIDs that begin with the time, and all differ', () => {
  const before = Date.now();
  const ids = Array.from({ length: 10_000 }, newId);
  const after = Date.now();
  expect(ids.filter((id) => !uuid(7).test(id))).toEqual([]);
  expect(new Set(ids).size).toBe(ids.length);
  const times = ids.map((id) => Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16));
  expect(times.every((time) => time >= before && time <= after)).toBe(true);
});

test('derived ids are the same each time, and differ by every part', () => {
  expect(derivedId('a', 'link', 0)).toMatch(uuid(5));
  expect(derivedId('a', 'link', 0)).toBe(derivedId('a', 'link', 0));
  expect(
    new Set([
      derivedId('a', 'link', 0),
      derivedId('a', 'link', 1),
      derivedId('b', 'link', 0),
      derivedId('al', 'ink', 0),
    ]).size,
  ).toBe(4);
});
