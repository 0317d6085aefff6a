import type { WireSignature } from '../wire/task-message.ts';
import { bodyOf, headerOf, kindOf, tasksOf, textIn } from './wire-tree.ts';

/** One task of a workflow that is drawn. */
export interface GraphNode {
  /** The task's name, or what is known in its place. */
  readonly label: string;
  readonly taskId?: string | undefined;
  readonly state?: string | undefined;
}

/** A workflow as a picture: tasks, and which of them waits for which. */
export interface Graph {
  readonly nodes: readonly GraphNode[];
  /** Places in `nodes`. */
  readonly edges: readonly (readonly [from: number, to: number])[];
}

/** Where a part of a picture begins and ends. */
interface Part {
  readonly entries: readonly number[];
  readonly exits: readonly number[];
}

/** The picture of a signature: what follows what when it is sent, links included. */
export function graphOf(signature: WireSignature): Graph {
  const nodes: GraphNode[] = [];
  const edges: [number, number][] = [];
  const connect = (from: readonly number[], to: readonly number[]) => {
    for (const a of from) for (const b of to) edges.push([a, b]);
  };
  const inRow = (parts: readonly Part[]): Part => {
    const real = parts.filter(({ entries }) => entries.length > 0);
    real.forEach((part, i) => {
      connect(real[i - 1]?.exits ?? [], part.entries);
    });
    return { entries: real[0]?.entries ?? [], exits: real.at(-1)?.exits ?? [] };
  };
  const inParallel = (parts: readonly Part[]): Part => ({
    entries: parts.flatMap(({ entries }) => entries),
    exits: parts.flatMap(({ exits }) => exits),
  });
  const draw = (one: WireSignature): Part => {
    const drawn = drawWhole(one);
    const links = Array.isArray(one.options.link) ? (one.options.link as WireSignature[]) : [];
    for (const link of links) connect(drawn.exits, draw(link).entries);
    return drawn;
  };
  const drawWhole = (one: WireSignature): Part => {
    switch (kindOf(one)) {
      case 'chain':
        return inRow(tasksOf(one).map(draw));
      case 'group':
        return inParallel(tasksOf(one).map(draw));
      case 'chord':
        return inRow([draw(headerOf(one)), draw(bodyOf(one))]);
      default: {
        nodes.push({ label: one.task, taskId: textIn(one.options, 'task_id') });
        return { entries: [nodes.length - 1], exits: [nodes.length - 1] };
      }
    }
  };
  draw(signature);
  return { nodes, edges };
}

/** Fill and line of each state; others look like one that waits. */
const colours: Readonly<Record<string, readonly [fill: string, line: string]>> = {
  SUCCESS: ['#d9f2df', '#2e7d43'],
  FAILURE: ['#fbdcdc', '#b3261e'],
  REVOKED: ['#fdeccd', '#96650b'],
  STARTED: ['#d9e8fb', '#1d5fa8'],
  RETRY: ['#fdf6cd', '#857209'],
};
const waiting = ['#f4f4f4', '#777777'] as const;

/** The picture as Mermaid's flowchart, which Markdown on GitHub draws. */
export function mermaidOf({ nodes, edges }: Graph): string {
  const states = [...new Set(nodes.flatMap(({ state }) => state ?? []))].filter((state) => state in colours);
  return [
    'flowchart LR',
    ...nodes.map(({ label, state }, i) => {
      const text = [label, ...(state ? [state] : [])].map(escapeMermaid).join('<br/>');
      return `  n${i}["${text}"]${state && state in colours ? `:::${state}` : ''}`;
    }),
    ...edges.map(([from, to]) => `  n${from} --> n${to}`),
    ...states.map((state) => {
      const [fill, line] = colours[state] ?? waiting;
      return `  classDef ${state} fill:${fill},stroke:${line}`;
    }),
  ].join('\n');
}

function escapeMermaid(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('"', '&quot;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

const box = { width: 150, height: 40, gapX: 60, gapY: 18, margin: 12 };

/** The picture as SVG: tasks in columns, each right of all that it waits for. */
export function svgOf(graph: Graph): string {
  const { nodes, edges } = graph;
  const columns = columnsOf(graph);
  const rows = new Map<number, number>();
  const places = columns.map((column) => {
    const row = rows.get(column) ?? 0;
    rows.set(column, row + 1);
    return {
      x: box.margin + column * (box.width + box.gapX),
      y: box.margin + row * (box.height + box.gapY),
    };
  });
  const width = 2 * box.margin + (Math.max(0, ...columns) + 1) * (box.width + box.gapX) - box.gapX;
  const height = 2 * box.margin + Math.max(1, ...rows.values()) * (box.height + box.gapY) - box.gapY;
  const lines = edges.map(([from, to]) => {
    const [a, b] = [places[from], places[to]];
    if (!a || !b) return '';
    const [x, y, toX, toY] = [a.x + box.width, a.y + box.height / 2, b.x, b.y + box.height / 2];
    const bend = (toX - x) / 2;
    return `<path d="M${x} ${y}C${x + bend} ${y} ${toX - bend} ${toY} ${toX} ${toY}" fill="none" stroke="#777777" marker-end="url(#end)"/>`;
  });
  const boxes = nodes.map(({ label, state, taskId }, i) => {
    const { x = 0, y = 0 } = places[i] ?? {};
    const [fill, line] = (state && colours[state]) || waiting;
    const middle = x + box.width / 2;
    const title = [label, taskId, state].filter((part) => part !== undefined).join(' ');
    return [
      `<g><title>${escapeXml(title)}</title>`,
      `<rect x="${x}" y="${y}" width="${box.width}" height="${box.height}" rx="6" fill="${fill}" stroke="${line}"/>`,
      `<text x="${middle}" y="${y + (state ? 17 : 24)}" text-anchor="middle">${escapeXml(shortened(label))}</text>`,
      ...(state
        ? [`<text x="${middle}" y="${y + 32}" text-anchor="middle" fill="${line}">${escapeXml(state)}</text>`]
        : []),
      '</g>',
    ].join('');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#777777"/></marker></defs>',
    ...lines,
    ...boxes,
    '</svg>',
  ].join('\n');
}

/** For each node the longest way to it. A circle, which no workflow has, is cut. */
function columnsOf({ nodes, edges }: Graph): number[] {
  const before = Map.groupBy(edges, ([, to]) => to);
  const columns = new Map<number, number>();
  const columnOf = (node: number): number => {
    const known = columns.get(node);
    if (known !== undefined) return known;
    columns.set(node, 0);
    const column = Math.max(-1, ...(before.get(node) ?? []).map(([from]) => columnOf(from))) + 1;
    columns.set(node, column);
    return column;
  };
  return nodes.map((_, i) => columnOf(i));
}

function shortened(label: string): string {
  return label.length <= 22 ? label : `${label.slice(0, 10)}…${label.slice(-11)}`;
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
