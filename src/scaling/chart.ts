import type { Sample, SimulationResult } from './simulation.ts';

const width = 920;
const left = 76;
const right = 24;
const top = 62;
const panelHeight = 150;
const gap = 46;
const colours = {
  backlog: '#2f6fa7',
  running: '#2e7d32',
  desired: '#8a6d00',
  metric: '#a8442a',
  target: '#555555',
  grid: '#e3e3e3',
  text: '#333333',
} as const;

export interface ChartOptions {
  readonly title: string;
  /** Of the metric. */
  readonly target: number;
  /** What the metric is, such as `messages for each task`. */
  readonly metricName: string;
}

/** One line of a panel. */
interface Line {
  readonly name: string;
  readonly colour: string;
  readonly points: readonly (readonly [seconds: number, value: number])[];
  readonly dashed?: boolean;
  /** Values hold until the next one. */
  readonly steps?: boolean;
  readonly filled?: boolean;
}

interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
  /** For values that differ by orders of magnitude. */
  readonly log?: boolean;
}

/** Draws backlog, tasks and metric over time, one below the other, as an SVG document. */
export function simulationChart({ samples, seconds }: SimulationResult, options: ChartOptions): string {
  const { title, target, metricName } = options;
  const line = (value: (sample: Sample) => number | undefined) =>
    samples.flatMap((sample) => {
      const y = value(sample);
      return y === undefined ? [] : [[sample.at, y] as const];
    });
  const metric = line((sample) => sample.metric);
  const top = Math.max(target, ...metric.map(([, value]) => value));
  const panels: Panel[] = [
    {
      title: 'Backlog (messages that wait)',
      lines: [{ name: 'waiting', colour: colours.backlog, points: line(({ ready }) => ready), filled: true }],
    },
    {
      title: 'Tasks',
      lines: [
        { name: 'wanted', colour: colours.desired, points: line(({ desired }) => desired), steps: true, dashed: true },
        { name: 'running', colour: colours.running, points: line(({ running }) => running), steps: true },
      ],
    },
    {
      title: `Metric (${metricName})`,
      log: top > 20 * target,
      lines: [
        {
          name: `target ${short(target)}`,
          colour: colours.target,
          points: [
            [0, target],
            [seconds, target],
          ],
          dashed: true,
        },
        { name: 'metric', colour: colours.metric, points: metric, steps: true },
      ],
    },
  ];
  return svg(title, panels, Math.max(1, seconds));
}

function svg(title: string, panels: readonly Panel[], seconds: number): string {
  const height = top + panels.length * (panelHeight + gap) + 14;
  const x = (at: number) => left + (at / seconds) * (width - left - right);
  const body = panels.map((panel, i) => drawPanel(panel, top + i * (panelHeight + gap), { x, seconds }));
  const bottom = top + panels.length * (panelHeight + gap) - gap;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="${colours.text}" role="img">`,
    `<title>${escaped(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="${left}" y="26" font-size="16" font-weight="bold">${escaped(title)}</text>`,
    ...body.flat(),
    `<text x="${(left + width - right) / 2}" y="${bottom + 38}" text-anchor="middle">time</text>`,
    '</svg>',
    '',
  ].join('\n');
}

interface Frame {
  readonly x: (at: number) => number;
  readonly seconds: number;
}

function drawPanel({ title, lines, log = false }: Panel, y0: number, { x, seconds }: Frame): string[] {
  const most = Math.max(1, ...lines.flatMap(({ points }) => points.map(([, value]) => value)));
  const ticks = log ? powers(most) : niceTicks(most);
  const scale = log ? (value: number) => Math.log10(1 + Math.max(0, value)) : (value: number) => value;
  const highest = scale(ticks.at(-1) ?? most);
  const y = (value: number) => y0 + panelHeight - (scale(value) / highest) * panelHeight;
  const grid = ticks.flatMap((tick) => [
    `<line x1="${left}" x2="${width - right}" y1="${px(y(tick))}" y2="${px(y(tick))}" stroke="${colours.grid}"/>`,
    `<text x="${left - 8}" y="${px(y(tick) + 4)}" text-anchor="end">${short(tick)}</text>`,
  ]);
  const times = timeTicks(seconds).flatMap((at) => [
    `<line x1="${px(x(at))}" x2="${px(x(at))}" y1="${y0 + panelHeight}" y2="${y0 + panelHeight + 5}" stroke="${colours.text}"/>`,
    `<text x="${px(x(at))}" y="${y0 + panelHeight + 19}" text-anchor="middle">${timeText(at)}</text>`,
  ]);
  return [
    `<text x="${left}" y="${y0 - 10}" font-weight="bold">${escaped(title)}${log ? ', logarithmic' : ''}</text>`,
    ...legend(lines, y0 - 10),
    ...grid,
    ...times,
    `<path d="M${left} ${y0}V${y0 + panelHeight}H${width - right}" fill="none" stroke="${colours.text}"/>`,
    ...lines.flatMap((line) => drawLine(line, x, y)),
  ];
}

/** From the right, where the title does not stand. */
function legend(lines: readonly Line[], y: number): string[] {
  const entries = [...lines].reverse();
  return entries.flatMap(({ name, colour, dashed }, i) => {
    const end = width - right - i * 130;
    return [
      `<line x1="${end - 112}" x2="${end - 88}" y1="${y - 4}" y2="${y - 4}" stroke="${colour}" stroke-width="2.5"${dash(dashed)}/>`,
      `<text x="${end - 82}" y="${y}">${escaped(name)}</text>`,
    ];
  });
}

function drawLine(
  { points, colour, dashed, steps, filled }: Line,
  x: (at: number) => number,
  y: (v: number) => number,
): string[] {
  const [first] = points;
  const last = points.at(-1);
  if (!first || !last) return [];
  let before = px(y(first[1]));
  const path = points.map(([at, value], i) => {
    const [h, v] = [px(x(at)), px(y(value))];
    if (i === 0) return `M${h} ${v}`;
    const text = steps ? (v === before ? '' : `H${h}V${v}`) : `L${h} ${v}`;
    before = v;
    return text;
  });
  const d = `${path.join('')}${steps ? `H${px(x(last[0]))}` : ''}`;
  const area = `<path d="${d}L${px(x(last[0]))} ${px(y(0))}L${px(x(first[0]))} ${px(y(0))}Z" fill="${colour}" fill-opacity="0.18"/>`;
  const stroke = `<path d="${d}" fill="none" stroke="${colour}" stroke-width="2" stroke-linejoin="round"${dash(dashed)}/>`;
  return filled ? [area, stroke] : [stroke];
}

function dash(dashed: boolean | undefined): string {
  return dashed ? ' stroke-dasharray="6 4"' : '';
}

/** About four round numbers from 0 to the first that is not below `most`. */
function niceTicks(most: number): number[] {
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10) * power, most >= 4 ? 1 : power);
  const count = Math.ceil(most / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, i) => i * step);
}

/** 0, 10, 100 ... to the first that is not below `most`. */
function powers(most: number): number[] {
  const count = Math.ceil(Math.log10(most));
  return [0, ...Array.from({ length: Math.max(1, count) }, (_, i) => 10 ** (i + 1))];
}

function timeTicks(seconds: number): number[] {
  const steps = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400, 172_800, 604_800];
  const step = steps.find((one) => seconds / one <= 12) ?? seconds / 10;
  return Array.from({ length: Math.floor(seconds / step) + 1 }, (_, i) => i * step);
}

function timeText(seconds: number): string {
  if (seconds === 0) return '0';
  if (seconds % 86_400 === 0) return `${seconds / 86_400} d`;
  if (seconds % 3600 === 0) return `${seconds / 3600} h`;
  if (seconds % 60 === 0)
    return seconds > 3600
      ? `${Math.floor(seconds / 3600)}:${String((seconds / 60) % 60).padStart(2, '0')} h`
      : `${seconds / 60} min`;
  return `${Math.round(seconds)} s`;
}

function short(value: number): string {
  if (value >= 1e6) return `${Number((value / 1e6).toPrecision(3))} M`;
  if (value >= 1e4) return `${Number((value / 1e3).toPrecision(3))} k`;
  return String(Number(value.toPrecision(4)));
}

function px(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
