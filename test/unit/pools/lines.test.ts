import { describe, expect, test } from 'vitest';
import { Lines } from '../../../src/pools/lines.ts';

function linesOf(...chunks: readonly (string | Uint8Array)[]): string[] {
  const lines: string[] = [];
  const stream = new Lines((line) => lines.push(line));
  for (const chunk of chunks) stream.write(chunk);
  stream.flush();
  return lines;
}

describe('output in lines', () => {
  test('joins what comes in pieces, and ends the last line', () => {
    expect(linesOf('a', 'b\nc\r\n', '\n', 'rest')).toEqual(['ab', 'c', '', 'rest']);
  });

  test('keeps a character together whose bytes come apart', () => {
    const bytes = new TextEncoder().encode('grüße\n');
    expect(linesOf(bytes.slice(0, 3), bytes.slice(3))).toEqual(['grüße']);
  });

  test('cuts a line that never ends', () => {
    expect(linesOf('x'.repeat(200_000)).map((line) => line.length)).toEqual([65_536, 65_536, 65_536, 3_392]);
  });
});
