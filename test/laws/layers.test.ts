import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { describe, expect, test } from 'vitest';

const src = join(import.meta.dirname, '..', '..', 'src');

/** Which folders of `src` each folder may import, besides itself. A file directly in `src` stands under its own name. */
const mayImport: Record<string, readonly string[]> = {
  'errors.ts': [],
  util: ['errors.ts'],
  wire: ['util', 'errors.ts'],
  contracts: ['wire', 'util', 'errors.ts'],
  stores: ['contracts', 'wire', 'util', 'errors.ts'],
  pools: ['contracts', 'wire', 'util', 'errors.ts'],
  brokers: ['stores', 'contracts', 'wire', 'util', 'errors.ts'],
  backends: ['stores', 'contracts', 'wire', 'util', 'errors.ts'],
  migrate: ['contracts', 'wire', 'util', 'errors.ts'],
  testing: ['contracts', 'wire', 'util', 'errors.ts'],
  app: ['canvas', 'contracts', 'wire', 'util', 'errors.ts'],
  canvas: ['app', 'contracts', 'wire', 'util', 'errors.ts'],
  control: ['app', 'canvas', 'contracts', 'wire', 'util', 'errors.ts'],
  worker: ['control', 'app', 'canvas', 'pools', 'contracts', 'wire', 'util', 'errors.ts'],
  scaling: ['worker', 'app', 'contracts', 'wire', 'util', 'errors.ts'],
  'drivers.ts': ['app', 'brokers', 'backends', 'contracts'],
  'index.ts': ['drivers.ts', 'worker', 'control', 'app', 'canvas', 'contracts', 'wire', 'errors.ts'],
  aws: ['scaling', 'worker', 'control', 'app', 'canvas', 'stores', 'contracts', 'wire', 'util', 'errors.ts'],
  cli: [
    'index.ts',
    'aws',
    'scaling',
    'migrate',
    'worker',
    'control',
    'app',
    'canvas',
    'contracts',
    'wire',
    'util',
    'errors.ts',
  ],
};

interface Import {
  readonly from: string;
  readonly to: string;
}

function imports(): Import[] {
  return globSync('**/*.ts', { cwd: src }).flatMap((file) => {
    const text = readFileSync(join(src, file), 'utf8');
    const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) => match[1] ?? '');
    return specifiers.map((to) => ({ from: file, to: relative(src, normalize(join(src, dirname(file), to))) }));
  });
}

const folderOf = (file: string) => file.split('/')[0] ?? file;

describe('the floors of the house', () => {
  test('every folder of src has its floor here', () => {
    const folders = new Set(globSync('**/*.ts', { cwd: src }).map(folderOf));
    expect([...folders].filter((folder) => !(folder in mayImport))).toEqual([]);
  });

  test('every import points down', () => {
    const wrong = imports().filter(({ from, to }) => {
      const [here, there] = [folderOf(from), folderOf(to)];
      return here !== there && !(mayImport[here] ?? []).includes(there);
    });
    expect(wrong.map(({ from, to }) => `${from} imports ${to}: move what both need to a lower folder`)).toEqual([]);
  });

  test('a driver uses no other driver, and only the store of its own name', () => {
    const wrong = imports().filter(({ from, to }) => {
      if (!/^(brokers|backends)\//.test(from)) return false;
      const scheme = from.split('/')[1]?.replace(/\.ts$/, '').split('-')[0] ?? '';
      if (/^(brokers|backends)\//.test(to))
        return !to.split('/')[1]?.startsWith(scheme) || folderOf(from) !== folderOf(to);
      return to.startsWith('stores/') && !to.startsWith(`stores/${scheme}`);
    });
    expect(wrong).toEqual([]);
  });

  test('importing lovage loads no driver: only drivers.ts names them, and lazily', () => {
    const named = imports().filter(
      ({ from, to }) => /^(brokers|backends|stores)\//.test(to) && !/^(brokers|backends|stores|aws)\//.test(from),
    );
    expect(new Set(named.map(({ from }) => from))).toEqual(new Set(['drivers.ts']));
    expect(readFileSync(join(src, 'drivers.ts'), 'utf8')).not.toMatch(/^import (?!type)/m);
  });
});
