import { dsvFormat } from 'd3-dsv';
import { describe, expect, test } from 'vitest';
import { splitCsv } from '../../examples/csv-import/chunks.ts';

/** The records of a text, read chunk by chunk as the example does. */
function inChunks(text: string, size: number, delimiter = ','): string[][] {
  const { parseRows } = dsvFormat(delimiter);
  const file = Buffer.from(text);
  const { header, chunks } = splitCsv(file, delimiter, size);
  const rows = chunks.flatMap(({ first, start, end }) =>
    parseRows(file.toString('utf8', start, end)).map((cells, i) => [String(first + i), ...cells]),
  );
  return [['0', ...(parseRows(header)[0] ?? [])], ...rows];
}

/** The same from the whole text at once. */
function atOnce(text: string, delimiter = ','): string[][] {
  return dsvFormat(delimiter)
    .parseRows(text.replace(/^\uFEFF/, ''))
    .map((cells, i) => [String(i), ...cells]);
}

describe('chunks of a CSV file', () => {
  test.each([
    ['plain', 'a,b\n1,2\n3,4\n'],
    ['no line break at the end', 'a,b\n1,2\n3,4'],
    ['Windows line breaks', 'a,b\r\n1,2\r\n3,4\r\n'],
    ['old Macintosh line breaks', 'a,b\r1,2\r3,4'],
    ['line breaks, commas and quotes in quotes', 'a,b\n"1\n\r\n,","say ""yes""\n"\n3,"4"\n'],
    ['a quote in the middle of a field', 'a,b\n5" pipe,x\n6" pipe,y\n'],
    ['more than ASCII', 'Straße,名前\nü,"日本\n語"\n🌿,é\n'],
    ['a byte order mark', '\uFEFF"a",b\n1,2\n3,4\n'],
    ['blank lines', 'a,b\n1,2\n\n3,4\n\n\n'],
    ['a header alone', 'a,b\n'],
    ['a header in quotes over two lines', '"a\nb",c\n1,2\n'],
  ])('hold the records that the whole file holds: %s', (_what, text) => {
    for (const size of [1, 2, 3, 100]) expect(inChunks(text, size)).toEqual(atOnce(text));
  });

  test('tabs divide fields where asked to', () => {
    const text = 'a\tb\n1\t"2\n3"\n4,5\t6\n';
    expect(inChunks(text, 1, '\t')).toEqual(atOnce(text, '\t'));
  });

  test('hold the same records for a thousand random files', () => {
    let seed = 7;
    const below = (n: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return Math.floor((seed / 2_147_483_648) * n);
    };
    const pick = (choices: readonly string[]) => choices[below(choices.length)] ?? '';
    const field = () => {
      const text = Array.from({ length: below(5) }, () => pick(['a', '"', ',', '\n', '\r\n', 'é', '🌿', ' '])).join('');
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    for (let i = 0; i < 1000; i++) {
      const record = () => Array.from({ length: 1 + below(3) }, field).join(',');
      const text = Array.from({ length: 1 + below(6) }, record).join(pick(['\n', '\r\n'])) + pick(['', '\n']);
      expect(inChunks(text, 1 + below(4)), JSON.stringify(text)).toEqual(text === '' ? [['0']] : atOnce(text));
    }
  });

  test('an empty file has no chunks', () => {
    expect(splitCsv(Buffer.alloc(0), ',', 10)).toEqual({ header: '', chunks: [] });
  });
});
