import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { drivers } from '../../src/drivers.ts';

const root = join(import.meta.dirname, '..', '..');
const schemesIn = (folder: string) =>
  globSync(`src/${folder}/*.ts`, { cwd: root })
    .map((file) => file.replace(/.*\/|\.ts$/g, ''))
    .sort();

/** A source file without its doc comments. */
const code = (file: string) => readFileSync(join(root, file), 'utf8').replace(/\/\*\*[\s\S]*?\*\//g, '');

describe('a driver', () => {
  test('of each file is in drivers.ts, and other schemes are other names of these', async () => {
    for (const [folder, named] of [
      ['brokers', drivers.brokers],
      ['backends', drivers.backends],
    ] as const) {
      expect(Object.keys(named)).toEqual(expect.arrayContaining(schemesIn(folder)));
      const own = await Promise.all(schemesIn(folder).map((scheme) => named[scheme]?.()));
      const all = await Promise.all(Object.values(named).map((load) => load()));
      expect(new Set(all)).toEqual(new Set(own));
    }
  });

  test.each([...new Set([...schemesIn('brokers'), ...schemesIn('backends')])])(
    '%s has a conformance test and a page',
    (scheme) => {
      const suites = globSync(`test/conformance/${scheme}*.test.ts`, { cwd: root });
      const suite = suites.map((file) => readFileSync(join(root, file), 'utf8')).join();
      if (schemesIn('brokers').includes(scheme)) expect(suite).toContain('brokerConformance(');
      if (schemesIn('backends').includes(scheme)) expect(suite).toContain('backendConformance(');
      expect(existsSync(join(root, 'docs', `${scheme}.md`))).toBe(true);
      expect(readFileSync(join(root, 'README.md'), 'utf8')).toContain(`docs/${scheme}.md`);
    },
  );

  test('that needs a package has it as an optional peer, loaded only when asked for', () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const wanted = globSync('src/**/*.ts', { cwd: root }).flatMap((file) =>
      [...code(file).matchAll(/import\('([^.'][^']*)'\)/g)].map((match) => match[1] ?? ''),
    );
    const outside = [...new Set(wanted)].filter(
      (name) => !name.startsWith('node:') && !(name in manifest.dependencies),
    );
    expect(outside.toSorted()).toEqual(Object.keys(manifest.peerDependencies).toSorted());
    expect(Object.keys(manifest.peerDependenciesMeta).toSorted()).toEqual(outside.toSorted());
  });

  test('and all else import at once only what is a dependency', () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const used = globSync('src/**/*.ts', { cwd: root }).flatMap((file) =>
      [...code(file).matchAll(/^(?:import|export)[^;]*? from '([^.'][^']*)'/gm)].map((match) => match[1] ?? ''),
    );
    const outside = [...new Set(used)].filter((name) => !name.startsWith('node:'));
    expect(outside.filter((name) => !(name in manifest.dependencies))).toEqual([]);
  });
});
