import { type ExecFileException, execFile } from 'node:child_process';
import {
  cpSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../support/workplace.ts';

const root = join(import.meta.dirname, '..', '..');
const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'lovage-pack-'));
const project = join(folder, 'project');
let tarball = '';

beforeAll(async () => {
  await run(process.execPath, [join(root, 'scripts', 'build.ts')]);
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: root,
  });
  const listed = JSON.parse(stdout) as { filename: string }[] | Record<string, { filename: string }>;
  const [entry] = Object.values(listed);
  tarball = join(folder, entry?.filename ?? '');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), '{ "name": "shop", "private": true, "type": "module" }\n');
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', tarball], { cwd: project });
}, 180_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The code blocks of a Markdown file: language and text. */
function blocks(file: string): { language: string; text: string }[] {
  return [...readFileSync(join(root, file), 'utf8').matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((m) => ({
    language: m[1] ?? '',
    text: m[2] ?? '',
  }));
}

/** Runs a file of the project with this Node; fails with what it printed. */
async function node(...args: readonly string[]): Promise<string> {
  const { stdout } = await run(process.execPath, args, { cwd: project, timeout: 60_000 }).catch(
    (error: ExecFileException & { stderr: string }) => {
      throw new Error(`node ${args.join(' ')}: ${error.message}\n${error.stderr}`);
    },
  );
  return stdout;
}

describe('the package', () => {
  test('has a clean manifest and types that every kind of project can read', async () => {
    const bin = (name: string) => join(root, 'node_modules', '.bin', name);
    await run(bin('publint'), ['run', tarball, '--strict'], { cwd: root });
    await run(bin('attw'), [tarball, '--profile', 'esm-only'], { cwd: root });
  }, 60_000);

  test('holds what is needed to use it, and nothing else', async () => {
    const { stdout } = await run('tar', ['-tzf', tarball]);
    const files = stdout
      .trim()
      .split('\n')
      .map((file) => file.replace('package/', ''));
    expect(files).toEqual(
      expect.arrayContaining([
        'package.json',
        'README.md',
        'LICENSE',
        'CHANGELOG.md',
        'dist/index.js',
        'dist/index.d.ts',
        'dist/cli/main.js',
      ]),
    );
    expect(
      files.filter((file) => !/^(package\.json|README\.md|LICENSE|CHANGELOG\.md|dist\/.*\.(js|d\.ts))$/.test(file)),
    ).toEqual([]);
  });

  test('importing it opens nothing, reads no driver, and lets the process end', async () => {
    const script = `
      import 'lovage';
      import 'lovage/aws';
      import 'lovage/scaling';
      import 'lovage/testing';
      const open = process.getActiveResourcesInfo().filter((r) => !/^(TTYWrap|PipeWrap|FSReqPromise|CloseReq)$/.test(r));
      console.log(JSON.stringify(open));`;
    writeFileSync(join(project, 'import.mjs'), script);
    expect(JSON.parse(await node('import.mjs'))).toEqual([]);
  });

  test('the examples of the README run there, in TypeScript and in JavaScript', async () => {
    for (const { language, text } of blocks('README.md')) {
      const name = /^\/\/ (\S+\.(?:ts|mjs))\n/.exec(text)?.[1];
      if (language === 'ts' || language === 'js') {
        if (!name) throw new Error(`a ${language} block of the README has no file name in its first line:\n${text}`);
        writeFileSync(join(project, name), text);
      }
    }
    const lovage = join(project, 'node_modules', 'lovage', 'dist', 'cli', 'main.js');
    const worker = run(process.execPath, [lovage, '-A', './tasks.ts', 'worker', '-l', 'info'], { cwd: project });
    let output = '';
    worker.child.stderr?.on('data', (data) => (output += String(data)));
    worker.child.stdout?.on('data', (data) => (output += String(data)));
    try {
      await until(() => output.includes('ready'));
      expect(await node('client.ts')).toBe('5\n[ 2, 4, 6 ]\n');
      expect(await node('plain.mjs')).toBe('42\n');
      expect(await node('more-tasks.ts')).toMatch(/^[0-9a-f-]{36}\n$/);
      for (const line of shellLines().filter((line) => line.startsWith('npx lovage') && !line.includes(' worker'))) {
        const args = [...line.slice('npx lovage '.length).matchAll(/'([^']*)'|(\S+)/g)].map((m) => m[1] ?? m[2] ?? '');
        const printed = await node(lovage, ...args);
        if (line.includes('--wait')) expect(printed).toContain('5');
      }
    } finally {
      worker.child.kill('SIGTERM');
    }
    await worker;
  }, 120_000);

  test('the programs in docs run there too', async () => {
    const programs = globSync('docs/*.md', { cwd: root }).flatMap((file) =>
      blocks(file).filter(({ language }) => language === 'ts'),
    );
    expect(programs.length).toBeGreaterThan(0);
    for (const [i, { text }] of programs.entries()) {
      // A block that says its name is a file for the programs after it.
      const named = /^\/\/ (\S+\.ts)\n/.exec(text)?.[1];
      if (named !== undefined) {
        mkdirSync(dirname(join(project, named)), { recursive: true });
        writeFileSync(join(project, named), text);
        continue;
      }
      writeFileSync(join(project, `docs-${i}.ts`), text);
      const said = [...text.matchAll(/console\.log\(.*?[;,] \/\/ (.*)$/gm)].map((match) => match[1]);
      expect(await node(`docs-${i}.ts`)).toBe(said.map((line) => `${line}\n`).join(''));
    }
  }, 60_000);

  test('the examples of the README pass the compiler', async () => {
    const types = join(project, 'node_modules', '@types');
    mkdirSync(types, { recursive: true });
    if (!existsSync(join(types, 'node'))) {
      symlinkSync(join(root, 'node_modules', '@types', 'node'), join(types, 'node'));
      cpSync(join(root, 'node_modules', 'undici-types'), join(project, 'node_modules', 'undici-types'), {
        recursive: true,
      });
    }
    const flags = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2023',
      '--lib',
      'es2024,esnext.disposable',
      '--types',
      'node',
      '--allowImportingTsExtensions',
      '--skipLibCheck',
      'false',
    ];
    await run(join(root, 'node_modules', '.bin', 'tsc'), [...flags, 'tasks.ts', 'client.ts', 'more-tasks.ts'], {
      cwd: project,
    }).catch((error: { stdout: string }) => {
      throw new Error(error.stdout);
    });
  }, 60_000);

  test('every line of a shell block in the README is one that the tests run', () => {
    const known = [
      /^npm ci && npm run demo$/, // test/demo
      /^npm ci && npm test$/, // this run
      /^npm install lovage$/, // beforeAll, from the tarball
      /^npx lovage -A \.\/tasks\.ts /,
      /^node (client\.ts|plain\.mjs)$/,
    ];
    expect(shellLines().filter((line) => !known.some((pattern) => pattern.test(line)))).toEqual([]);
  });
});

function shellLines(): string[] {
  return blocks('README.md')
    .filter(({ language }) => language === 'sh')
    .flatMap(({ text }) => text.trim().split('\n'));
}
