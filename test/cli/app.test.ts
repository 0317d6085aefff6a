import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Place } from './lovage.ts';

const one = (name: string) => `import { Lovage } from 'lovage'; export const ${name} = new Lovage('${name}');`;

/** The name of the app that `-A` finds. */
async function found(place: Place, path: string): Promise<string> {
  const { stdout, stderr } = await place.run(['-A', path, 'report', '--json']);
  expect(stderr).toBe('');
  return JSON.parse(stdout).app.name;
}

async function refused(place: Place, path: string): Promise<string> {
  const { status, stdout, stderr } = await place.run(['-A', path, 'report']);
  expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
  expect(stderr).toMatch(/^error CONFIG: /);
  expect(stderr).not.toMatch(/src\/cli|node:internal/);
  return stderr;
}

describe('-A finds', () => {
  test('a file, with or without its ending, a folder with an index', async () => {
    const place = new Place();
    mkdirSync(join(place.folder, 'shop'));
    place.write('app.ts', one('a'));
    place.write('plain.mjs', one('b'));
    place.write('shop/index.ts', one('c'));
    expect(await found(place, 'app.ts')).toBe('a');
    expect(await found(place, './app')).toBe('a');
    expect(await found(place, 'plain')).toBe('b');
    expect(await found(place, 'shop')).toBe('c');
  });

  test('the default export, else app, else the only one, else the one that is named', async () => {
    const place = new Place();
    const three = `${one('x')} export const app = new Lovage('named app');`;
    place.write('default.ts', `${three} export default new Lovage('default');`);
    place.write('named.ts', `${three} export default 3;`);
    expect(await found(place, 'default.ts')).toBe('default');
    expect(await found(place, 'named.ts')).toBe('named app');
    expect(await found(place, 'named.ts:x')).toBe('x');
    place.write('twice.ts', `${one('only')} export const again = only;`);
    expect(await found(place, 'twice.ts')).toBe('only');
  });
});

test('what an app leaves open keeps no command', async () => {
  const place = new Place();
  place.write('app.ts', `${one('open')} setInterval(() => {}, 1000);`);
  expect((await place.run(['-A', 'app.ts', 'queues'])).status).toBe(0);
});

describe('-A explains', () => {
  test('a path that is not there', async () => {
    const place = new Place();
    mkdirSync(join(place.folder, 'proj'));
    place.write('tasks.ts', one('app'));
    place.write('proj/main.ts', one('app'));
    expect(await refused(place, 'taks.ts')).toContain(
      `there is no file ${join(place.folder, 'taks.ts')} (nor with .ts, .mts, .js, .mjs); did you mean -A ./tasks.ts?`,
    );
    expect(await refused(place, 'proj.main')).toContain('did you mean -A ./proj/main.ts?');
    expect(await refused(place, 'somewhere/else.ts')).toContain('expected a path, such as -A ./src/app.ts');
  });

  test('a folder without an index', async () => {
    const place = new Place();
    mkdirSync(join(place.folder, 'shop'));
    expect(await refused(place, 'shop')).toContain('has no index.ts');
    place.write('shop/app.ts', one('app'));
    expect(await refused(place, 'shop')).toContain('it has -A ./shop/app.ts');
  });

  test('a file that throws, with its stack', async () => {
    const place = new Place();
    place.write('app.ts', `\nthrow new Error('no database');`);
    const text = await refused(place, 'app.ts');
    expect(text).toMatch(
      /the app file \.\/app\.ts failed while it was loaded\n\nError: no database\n {4}at .*app\.ts:2:7\)?\n$/,
    );
    place.write(
      'options.ts',
      `import { Lovage } from 'lovage'; export default new Lovage('x', { brokr: 'memory://' } as never);`,
    );
    expect(await refused(place, 'options.ts')).toMatch(
      /ConfigError: Lovage has no option 'brokr'; did you mean 'broker'\?[\s\S]*at .*options\.ts:1/,
    );
    place.write('thrown.ts', `throw 'text';`);
    expect(await refused(place, 'thrown.ts')).toContain('thrown value: text');
  });

  test('no app, several apps, an export that is none', async () => {
    const place = new Place();
    place.write('none.ts', 'export const x = 1;');
    place.write('two.ts', `${one('a')} export const b = new Lovage('b'); export const c = 3;`);
    place.write('copy.ts', 'export const app = { sendTask() {}, connections() {}, tasks: new Map() };');
    expect(await refused(place, 'none.ts')).toContain(
      "./none.ts exports no Lovage app; add: export const app = new Lovage('name')",
    );
    expect(await refused(place, 'two.ts')).toContain(
      './two.ts exports several apps: a, b; say which one, such as -A ./two.ts:a',
    );
    expect(await refused(place, 'two.ts:c')).toContain('exports c, but it is no Lovage app; it exports the apps a, b');
    expect(await refused(place, 'two.ts:d')).toContain("has no export 'd'; it exports the apps a, b");
    expect(await refused(place, 'copy.ts')).toContain('made by another copy of Lovage');
  });

  test.each([
    ['an enum', 'enum Colour { Red }\nexport default Colour.Red;'],
    ['a parameter property', 'class A { constructor(readonly x: number) {} }\nexport default A;'],
    ['a decorator', 'const d = () => {};\n@d\nclass A {}\nexport default A;'],
  ])('TypeScript that Node cannot strip: %s', async (_what, text) => {
    const place = new Place();
    for (const type of ['module', 'commonjs']) {
      place.write('package.json', JSON.stringify({ type }));
      place.write('app.ts', text);
      expect(await refused(place, 'app.ts')).toContain(
        'Use erasable syntax (no enum, namespace, parameter property or decorator), or build to JavaScript',
      );
    }
  });

  test('an import with the ending of the built file', async () => {
    const place = new Place();
    place.write('tasks.ts', 'export {};');
    place.write('app.ts', `import './tasks.js';`);
    expect(await refused(place, 'app.ts')).toContain('there is ./tasks.ts; import it with its real ending, .ts');
  });

  test('where a path from the environment came from', async () => {
    const { status, stderr } = await new Place().run(['queues'], { APP: 'nowhere' });
    expect(status).toBe(2);
    expect(stderr).toMatch(/^error CONFIG: environment variable APP nowhere: there is no file/);
  });

  test('--json: the same as a document on stderr', async () => {
    const { status, stdout, stderr } = await new Place().run(['--json', '-A', 'nowhere.ts', 'report']);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(JSON.parse(stderr)).toEqual({ error: { code: 'CONFIG', message: expect.stringContaining('nowhere.ts') } });
  });
});
