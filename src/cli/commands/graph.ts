import { readFileSync, writeFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import type { LovageApp } from '../../app/app.ts';
import { type Graph, graphOf, mermaidOf, svgOf } from '../../canvas/graph.ts';
import { ConfigError } from '../../errors.ts';
import { decodeJson } from '../../wire/json.ts';
import { graphOfResults, statesOf } from '../result-graph.ts';
import { run, status } from '../run.ts';

interface Options {
  readonly format: 'mermaid' | 'svg';
  readonly output?: string;
}

/** `lovage graph SIGNATURE|ID`: draws a workflow, with the states of its tasks as far as they are known. */
export function graphCommand(): Command {
  return new Command('graph')
    .description('draw a workflow, with the states of its tasks')
    .argument(
      '<what>',
      "a signature in JSON, '@file' with one, or the id of a task, of a saved group or of the header of a chord",
    )
    .addOption(new Option('--format <format>', 'how').choices(['mermaid', 'svg']).default('mermaid'))
    .option('-o, --output <file>', 'write it to this file')
    .addHelpText(
      'after',
      '\nThe body of a chord is found from the group of its header, its members and its first task, unless a Python client\nhas sent it: then from its own id. A task of which nothing is stored yet is shown, but not what it belongs to.',
    )
    .action(
      run<[string, Options]>(async (session, what, { format, output }) => {
        const app = await session.app();
        const text = what.startsWith('@') ? readText(what.slice(1)) : what.trim();
        const graph = text.startsWith('{') ? await ofSignature(app, text) : await graphOfResults(app, text);
        const drawn = format === 'svg' ? svgOf(graph) : mermaidOf(graph);
        if (output !== undefined) {
          writeFileSync(output, `${drawn}\n`);
          session.out.answer({ file: output, tasks: graph.nodes.length }, () => output);
        } else session.out.answer(graph, () => drawn);
        return status.ok;
      }),
    );
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new ConfigError(`@${file}: ${(error as Error).message}`);
  }
}

async function ofSignature(app: LovageApp, text: string): Promise<Graph> {
  const graph = graphOf(app.signature(parsed(text)).toWire());
  const ids = graph.nodes.flatMap(({ taskId }) => taskId ?? []);
  if (ids.length === 0) return graph;
  const states = await statesOf(await app.results(), ids);
  const nodes = graph.nodes.map((node) => ({
    ...node,
    state: node.taskId && (states.get(node.taskId)?.state ?? 'PENDING'),
  }));
  return { ...graph, nodes };
}

function parsed(text: string): Record<string, unknown> {
  try {
    return decodeJson(text) as Record<string, unknown>;
  } catch (error) {
    throw new ConfigError(`expected a signature in JSON: ${(error as Error).message}`);
  }
}
