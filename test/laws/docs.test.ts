import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { configDocs } from '../../scripts/docs.ts';

const root = join(import.meta.dirname, '..', '..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');

describe('documentation', () => {
  test('docs/config.md is what the option tables say (run: node scripts/docs.ts)', () => {
    expect(read('docs/config.md')).toBe(configDocs());
  });

  test('the way from Redis to SQS has the same code, sections, tables, links and figures in English and in Japanese', () => {
    const [english, japanese] = ['', '.ja'].map((language) => skeleton(read(`docs/from-redis-to-sqs${language}.md`)));
    expect(english?.code.length).toBeGreaterThan(4);
    expect(japanese).toEqual(english);
  });

  test('every row of the table of failures in docs/canvas.md names tests that there are', () => {
    const [, section = ''] = /## What happens when something fails\n([\s\S]*?)\n## /.exec(read('docs/canvas.md')) ?? [];
    const rows = [...section.matchAll(/^\|(?! what happens|-).*\| (.*) \|$/gm)].map(([, cell = '']) => cell);
    expect(rows.length).toBeGreaterThan(20);
    const named = rows.map((cell) => /^(?:`(test\/[^`]+)` )?`([^`]+)`$/.exec(cell));
    expect(rows.filter((_, i) => !named[i])).toEqual([]);
    const missing = named.flatMap((found) => {
      const [, file = 'test/app/canvas/failures.test.ts', name = ''] = found ?? [];
      return read(file).includes(name) ? [] : [`${file}: ${name}`];
    });
    expect(missing).toEqual([]);
  });

  test('every error code of src/errors.ts has its row in docs/errors.md, and no other is there', () => {
    const codes = [...read('src/errors.ts').matchAll(/readonly code(?:: string)? = '([A-Z_]+)'/g)].map((m) => m[1]);
    const documented = [...read('docs/errors.md').matchAll(/^\| `([A-Z_]+)` \|/gm)].map((m) => m[1]);
    expect(documented.toSorted()).toEqual([...new Set(codes)].toSorted());
  });
});

/** What two languages of a page have in common. */
function skeleton(page: string) {
  const lines = page.replace(/^```.*?^```$/gms, '').split('\n');
  return {
    code: [...page.matchAll(/^ *```\w+\n(.*?)^ *```$/gms)].map(([, code]) => code),
    headings: lines.flatMap((line) => /^#+ /.exec(line) ?? []),
    rows: lines.filter((line) => line.startsWith('|')).map((line) => line.split('|').length),
    items: lines.filter((line) => /^(- |\d\. )/.test(line)).length,
    pages: [...page.matchAll(/\]\(([\w.-]+\.md)/g)]
      .map(([, name]) => name)
      .filter((name) => !name?.startsWith('from-')),
    numbers: lines.flatMap((line) => line.match(/\d[\d,]*\.\d\d|\d+,\d{3}(?! 万)/g) ?? []),
  };
}
