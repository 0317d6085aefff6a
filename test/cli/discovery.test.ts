import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { lovageModule, Place } from './lovage.ts';

const app = `
import { Lovage } from 'lovage';
export const app = new Lovage('shop');
app.autodiscoverTasks(['./apps/*/tasks.ts'], { from: import.meta.url });
`;
const tasks = (name: string, rest = '') => `
import { app } from '../../app.ts';
export const task = app.task('${name}', (x: number) => x + 1);
${rest}`;

/** A project with an application and the task files of its folders. */
function project(files: Readonly<Record<string, string>>, main = app): Place {
  const place = new Place();
  for (const [name, text] of Object.entries({ 'app.ts': main, ...files })) {
    mkdirSync(dirname(join(place.folder, name)), { recursive: true });
    place.write(name, text);
  }
  return place;
}

async function refused(place: Place): Promise<string> {
  const { status, stderr } = await place.run(['-A', 'app.ts', 'worker']);
  expect(status).toBe(2);
  return stderr;
}

describe('app.autodiscoverTasks', () => {
  test('has worker and command line load one file of each folder, though it imports the application', async () => {
    const place = project({
      'apps/mail/tasks.ts': tasks('mail.send'),
      'apps/shop/tasks.ts': tasks('shop.order'),
      'apps/shop/other.ts': `throw new Error('not asked for');`,
      'apps/node_modules/tasks.ts': `throw new Error('not asked for');`,
    });
    const worker = place.start(['-A', 'app.ts', 'worker', '-l', 'info']);
    await worker.says('ready.');
    for (const name of ['mail.send', 'shop.order']) {
      const { stdout } = await place.run(['-A', 'app.ts', 'call', name, '--args', '[1]', '--wait']);
      expect(stdout).toContain('2');
    }
    expect(worker.stderr).not.toContain('registered no task');
  });

  test('loads in the order of the paths, once; a file that registers nothing is worth a warning', async () => {
    const place = project({
      'apps/b/tasks.ts': `console.error('b');`,
      'apps/a/tasks.ts': tasks('a.one', `console.error('a');`),
      'check.ts': `
        import { app } from './app.ts';
        await Promise.all([app.loadTasks(), app.loadTasks()]);
        await app.loadTasks();
        console.log([...app.tasks.keys()].join());`,
    });
    const { status, stdout, stderr } = await place.runNode('check.ts');
    expect([status, stdout]).toEqual([0, 'a.one\n']);
    expect(stderr).toMatch(/^a\nb\n.*WARNING.* a task file registered no task {2}file=\.\/apps\/b\/tasks\.ts\n$/);
  });

  test('one name in two files: an error that names both', async () => {
    const place = project({ 'apps/a/tasks.ts': tasks('one'), 'apps/b/tasks.ts': tasks('one') });
    expect(await refused(place)).toContain(
      "TASK_REGISTRY: task 'one' is registered in ./apps/a/tasks.ts and in ./apps/b/tasks.ts; give one of them another name",
    );
  });

  test('one name twice in a file, in a helper, and in the application itself', async () => {
    const twice = project({ 'apps/a/tasks.ts': tasks('one', `app.task('one', () => 1);`) });
    expect(await refused(twice)).toContain("task 'one' is registered twice in ./apps/a/tasks.ts");
    const helped = project({
      'register.ts': `import { app } from './app.ts'; export const register = (name: string) => app.task(name, () => 1);`,
      'apps/a/tasks.ts': `import { register } from '../../register.ts'; register('one');`,
      'apps/b/tasks.ts': `import { register } from '../../register.ts'; register('one');`,
    });
    expect(await refused(helped)).toContain('registered in ./apps/a/tasks.ts and in ./apps/b/tasks.ts');
    const own = project({ 'apps/a/tasks.ts': tasks('one') }, `${app}\napp.task('one', () => 1);`);
    expect(await refused(own)).toContain('registered in ./app.ts and in ./apps/a/tasks.ts');
  });

  test('a file that throws is named, with its stack; a pattern that matches nothing too', async () => {
    const place = project({ 'apps/a/tasks.ts': tasks('a.one', `throw new Error('no database');`) });
    const said = await refused(place);
    expect(said).toContain('the task file ./apps/a/tasks.ts failed while it was loaded');
    expect(said).toMatch(/Error: no database\n\s+at .*apps\/a\/tasks\.ts:4/);
    expect(await refused(project({}))).toContain("no file matches './apps/*/tasks.ts' in ");
  });

  test('refuses what is no pattern and no place', async () => {
    const place = project({
      'check.ts': `
        import { Lovage } from '${lovageModule}';
        const app = new Lovage('x');
        for (const wrong of [['./a.ts'], ['./a.ts', { from: import.meta.url }], [['']], [['./a.ts']]]) {
          try { (app.autodiscoverTasks as Function)(...wrong); console.log('taken'); }
          catch (error) { console.log(error.message); }
        }`,
    });
    const { stdout } = await place.runNode('check.ts');
    const [a, b, c, d] = stdout.split('\n');
    for (const line of [a, b, c]) expect(line).toContain('expected a list of patterns first');
    expect(d).toContain('expected { from: import.meta.url } last');
  });

  test('of a built application, finds the built files', async () => {
    const place = project({
      'dist/app.js': `import { Lovage } from 'lovage'; export const app = new Lovage('built');
        app.autodiscoverTasks(['./apps/*/tasks.ts'], { from: import.meta.url });`,
      'dist/apps/a/tasks.js': `import { app } from '../../app.js'; app.task('built.one', () => 1);`,
      'check.ts': `import { app } from './dist/app.js'; await app.loadTasks(); console.log([...app.tasks.keys()].join());`,
    });
    const { stdout, stderr } = await place.runNode('check.ts');
    expect([stdout, stderr]).toEqual(['built.one\n', '']);
  });
});
