import { readFileSync, writeFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import type { LovageApp } from '../../app/app.ts';
import { type Graph, type GraphNode, graphOf, mermaidOf, svgOf } from '../../canvas/graph.ts';
import { ConfigError } from '../../errors.ts';
import { decodeJson } from '../../wire/json.ts';
import { fromTuple, type ResultNode } from '../../wire/result-tuple.ts';
import type { ResultMeta } from '../../wire/task-message.ts';
import { run, status } from '../run.ts';

interface Options {
  readonly format: 'mermaid' | 'svg';
  readonly output?: string;
}

/** `lovage graph SIGNATURE|ID`: draws a workflow, with the states of its tasks as far as they are known. */
export function graphCommand(): Command {
  return new Command('graph')
    .description('draw a workflow, with the states of its tasks')
    .argument('<what>', "a signature in JSON, '@file' with one, or the id of a task or of a saved group")
    .addOption(new Option('--format <format>', 'how').choices(['mermaid', 'svg']).default('mermaid'))
    .option('-o, --output <file>', 'write it to this file')
    .action(
      run<[string, Options]>(async (session, what, { format, output }) => {
        const app = await session.app();
        const text = what.startsWith('@') ? readText(what.slice(1)) : what.trim();
        const graph = text.startsWith('{') ? await ofSignature(app, text) : await ofResults(app, text);
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
  const states = await statesOf(app, ids);
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

async function statesOf(app: LovageApp, ids: readonly string[]): Promise<Map<string, ResultMeta>> {
  const results = await app.results();
  const records = await results.required().fetchMany(ids);
  return new Map(records.flatMap((record) => (record ? [[record.taskId, results.decode(record)] as const] : [])));
}

/** Upwards from a task to the first of its workflow, then down along all that was sent. */
async function ofResults(app: LovageApp, id: string): Promise<Graph> {
  const results = await app.results();
  const saved = await results.fetchGroup(id);
  const nodes = new Map<string, GraphNode>();
  const edges = new Map<string, readonly [from: string, to: string]>();
  const link = (from: string, to: string) => edges.set(`${from} ${to}`, [from, to]);
  let left = saved ? tasksIn(saved) : [id];
  while (left.length > 0) {
    const known = await statesOf(app, left);
    const next: string[] = [];
    for (const taskId of left) {
      const meta = known.get(taskId);
      nodes.set(taskId, { label: meta?.name ?? shortId(taskId), taskId, state: meta?.state ?? 'PENDING' });
      // A task that has replaced another, or is retried, has itself for its parent.
      if (meta?.parentId !== undefined && meta.parentId !== taskId) {
        link(meta.parentId, taskId);
        next.push(meta.parentId);
      }
      for (const child of (meta?.children ?? []).flatMap((tuple) => fromTuple(tuple) ?? []).flatMap(tasksIn)) {
        if (child !== taskId) link(taskId, child);
        next.push(child);
      }
    }
    left = [...new Set(next)].filter((one) => !nodes.has(one));
  }
  const places = new Map([...nodes.keys()].map((taskId, i) => [taskId, i]));
  const pairs = [...edges.values()].map(([from, to]) => [places.get(from) ?? 0, places.get(to) ?? 0] as const);
  return { nodes: [...nodes.values()], edges: pairs };
}

/** All tasks of a tree of results, parents included. */
function tasksIn({ id, parent, members }: ResultNode): string[] {
  return [...(parent ? tasksIn(parent) : []), ...(members ? members.flatMap(tasksIn) : [id])];
}

function shortId(id: string): string {
  return id.length > 13 ? `…${id.slice(-12)}` : id;
}
