import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { refusedWorkerOptions } from '../../src/cli/commands/worker.ts';
import { descendants, lovageProgram, missingCommands } from '../../src/cli/program.ts';
import { version } from '../../src/cli/version.ts';
import { Place } from './lovage.ts';

const docs = readFileSync(new URL('../../docs/cli.md', import.meta.url), 'utf8');
const program = lovageProgram();
const hidden = new Set(Object.keys(missingCommands));
const commands = descendants(program).filter((command) => !hidden.has(command.name()));

const fullName = (command: Command): string =>
  command.parent ? `${fullName(command.parent)} ${command.name()}` : command.name();

/** The part of the page below a command's heading, up to the next one. */
function section(heading: string): string {
  const [, text] = new RegExp(`^#+ ${heading}$([\\s\\S]*?)(?=^#|$(?![\\s\\S]))`, 'm').exec(docs) ?? [];
  if (text === undefined) throw new Error(`docs/cli.md has no section '${heading}'`);
  return text;
}

/** Options that a section has a row for. */
const rows = (text: string) => [...text.matchAll(/^\| `(-.*?)` \|/gm)].map(([, flags]) => flags);

describe('docs/cli.md and --help say the same', () => {
  test.each(commands.map((command) => [fullName(command), command] as const))('%s', (name, command) => {
    const shown = command
      .createHelp()
      .visibleOptions(command)
      .map(({ flags }) => flags);
    expect(rows(section(name))).toEqual(shown.filter((flags) => flags !== '-h, --help'));
    if (command.commands.length === 0) expect(section(name)).toContain('```console\n$ lovage ');
  });

  test('options of every command', () => {
    const shown = program
      .createHelp()
      .visibleOptions(program)
      .map(({ flags }) => flags);
    expect(rows(section('Options of every command'))).toEqual(shown);
  });

  test('what is refused', () => {
    const text = section('lovage worker');
    for (const flags of Object.keys(refusedWorkerOptions)) expect(text).toContain(`\`${flags.replace(/ [<].*/, '')}\``);
    for (const name of hidden) expect(text).toContain(`\`${name}\``);
  });

  test('every example has options that exist', () => {
    const examples = [...docs.matchAll(/^\$ (?:npx )?lovage (.*)$/gm)].map(([, line = '']) => line);
    expect(examples.length).toBeGreaterThan(9);
    for (const line of examples) {
      const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? '');
      const { operands, unknown } = lovageProgram().parseOptions(words);
      let command: Command = program;
      const rest = [...operands, ...unknown];
      for (;;) {
        const next = command.commands.find((child) => child.name() === rest[0]);
        if (!next) break;
        command = next;
        rest.shift();
      }
      expect(command, line).not.toBe(program);
      expect(command.parseOptions(rest).unknown, line).toEqual([]);
    }
  });
});

describe('lovage', () => {
  test('alone prints help', async () => {
    const { status, stdout } = await new Place().run([]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Usage: lovage/);
    for (const child of program.commands)
      expect(stdout.includes(`\n  ${child.name()} `)).toBe(!hidden.has(child.name()));
  });

  test('--version and --help end with 0, help that nobody asked for with 2', async () => {
    const place = new Place();
    expect(await place.run(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
    expect((await place.run(['call', '--help'])).status).toBe(0);
    const { status, stderr } = await place.run(['dlq']);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^Usage: lovage dlq/);
  });

  test('an unknown command: the nearest one', async () => {
    expect(await new Place().run(['wrker'])).toEqual({
      status: 2,
      stdout: '',
      stderr: "error CONFIG: unknown command 'wrker'\n(Did you mean worker?)\n",
    });
  });

  test('paints where it is told to, and never with -C', async () => {
    const place = new Place();
    await place.run(['call', 'x']);
    expect((await place.run(['queues'], { FORCE_COLOR: '1' })).stdout).toContain('\u001b[1m');
    expect((await place.run(['queues', '-C'], { FORCE_COLOR: '1' })).stdout).not.toContain('\u001b');
  });
});
