import { writeFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import { readTrackingConfig } from '../../aws/scaling/policy.ts';
import { ConfigError } from '../../errors.ts';
import { arrivalsOf, parseRates, readArrivals } from '../../scaling/arrivals.ts';
import { type Formula, formulas } from '../../scaling/backlog.ts';
import { simulationChart } from '../../scaling/chart.ts';
import { seeded } from '../../scaling/random.ts';
import { checkPolicy } from '../../scaling/scaler.ts';
import { simulate } from '../../scaling/simulate.ts';
import type { Percentiles, Simulation } from '../../scaling/simulation.ts';
import { awsTracking } from '../../scaling/tracking.ts';
import { type Aim, addTargetOptions, aimOf, readOptionFile, type TargetOptions } from '../autoscale-options.ts';
import { pairs } from '../output.ts';
import { listPrices, type PriceTable, readPrices } from '../prices.ts';
import { run, status } from '../run.ts';
import type { Session } from '../session.ts';
import { amount, duration, wholeNumber } from '../values.ts';

interface Options extends TargetOptions {
  readonly arrivals?: string;
  readonly rate?: string;
  readonly for: number;
  readonly backlog: number;
  readonly even?: boolean;
  readonly spread: 'fixed' | 'exponential';
  readonly tracking?: string;
  readonly formula: Formula;
  readonly tasks?: number;
  readonly interval: number;
  readonly boot: number;
  readonly stopTimeout: number;
  readonly fromZero: boolean;
  readonly protection: boolean;
  readonly vcpu: number;
  readonly memory: number;
  readonly prices?: string;
  readonly seed: number;
  readonly svg?: string;
  readonly title: string;
}

/** More are not simulated in good time. */
const maxTasks = 1_000;

/** `lovage autoscale simulate`: what a policy would do with some messages, what it would cost, and a picture of it. */
export function simulateCommand(): Command {
  const command = new Command('simulate')
    .description('play messages through a policy: how long they wait, what it costs, and a chart')
    .option(
      '--arrivals <file>',
      'when messages came: a line for each, with seconds or an ISO time, perhaps a comma and how many',
    )
    .option('--rate <rates>', 'or how many come: 2/s, 90/m, or a course such as 2/s@0,50/s@5m,0@15m')
    .option('--for <time>', 'how long they come', duration, 3600)
    .option('--backlog <n>', 'messages that wait at the start', wholeNumber(0), 0)
    .option('--even', 'at even intervals in place of random ones');
  addTargetOptions(command)
    .option('--policy, --tracking <file>', 'the JSON of target tracking, in place of target and cooldowns')
    .addOption(
      new Option('--spread <spread>', 'how runs differ in time')
        .choices(['fixed', 'exponential'])
        .default('exponential'),
    )
    .addOption(new Option('--formula <formula>', 'as of the monitor').choices([...formulas]).default('work'))
    .option('--tasks <n>', 'tasks at the start (default: --min)', wholeNumber(0))
    .option('--interval <seconds>', 'from one look of the monitor to the next', wholeNumber(1), 60)
    .option('--boot <time>', 'from the decision to the first message of a new task', duration, 45)
    .option('--stop-timeout <time>', 'what a task without protection gets at its end', duration, 30)
    .option('--no-from-zero', 'nothing starts the first task')
    .option('--no-protection', 'scale-in takes busy tasks, too')
    .option('--vcpu <n>', 'vCPUs of a task', amount, 0.25)
    .option('--memory <gb>', 'GB of memory of a task', amount, 0.5)
    .option('--prices <file>', 'a JSON file with prices of your own, as of `lovage doctor`')
    .option('--seed <n>', 'for other random numbers', wholeNumber(0, 2 ** 32 - 1), 1)
    .option('--svg <file>', 'draw a chart into this file')
    .option('--title <text>', 'what stands above it', 'Simulation');
  return command.action(run<[Options]>(play));
}

async function play({ out }: Session, options: Options): Promise<number> {
  const { aim, simulation } = simulationOf(options);
  const prices = options.prices === undefined ? listPrices : readPrices(options.prices);
  const result = simulate(simulation);
  const { samples, ...summary } = result;
  const [vcpu, memory] = [dollars(prices, 'fargate.vcpu'), dollars(prices, 'fargate.memory')];
  const cost = summary.taskHours * (options.vcpu * vcpu + options.memory * memory);
  if (options.svg !== undefined)
    writeChart(options, simulationChart(result, { ...aim, title: options.title, metricName: metricNameOf(aim) }));
  out.answer({ ...summary, cost, prices: { region: prices.region, asOf: prices.asOf, vcpu, memory } }, () =>
    pairs([
      ['messages', `${summary.done} of ${summary.messages} done in ${time(summary.seconds)}`],
      ['latency', percentilesText(summary.latency)],
      ['of it waiting', percentilesText(summary.wait)],
      ['cut off', `${summary.interrupted} runs, which ran again`],
      ['tasks', `at most ${summary.peakTasks}, ${summary.taskHours.toFixed(2)} hours together`],
      [
        'cost',
        `$${cost.toFixed(4)} at $${vcpu} a vCPU hour and $${memory} a GB hour (${prices.region}, ${prices.asOf})`,
      ],
    ]),
  );
  if (summary.done < summary.messages)
    out.note('it was given up two days after the last message: this policy never gets them done');
  return summary.done < summary.messages ? status.failed : status.ok;
}

function simulationOf(options: Options): { readonly aim: Aim; readonly simulation: Simulation } {
  const { min, max, serviceTime, concurrency = 1, seed } = options;
  if (!serviceTime) throw new ConfigError('expected --service-time above 0, such as --service-time 1.5s');
  if (max === undefined) throw new ConfigError('expected --max, the most tasks that there may be');
  if (max > maxTasks) throw new ConfigError(`option --max: the simulation takes up to ${maxTasks} tasks, got ${max}`);
  const given =
    options.tracking === undefined
      ? undefined
      : readTrackingConfig(readOptionFile(options.tracking, '--tracking'), options.tracking);
  const aim: Aim = given
    ? { metric: 'perTask', target: given.TargetValue ?? Number.NaN }
    : aimOf({ ...options, concurrency });
  const policy = {
    ...awsTracking,
    target: aim.target,
    min,
    max,
    scaleOutCooldownMs: (given ? (given.ScaleOutCooldown ?? 300) : options.scaleOutCooldown) * 1000,
    scaleInCooldownMs: (given ? (given.ScaleInCooldown ?? 300) : options.scaleInCooldown) * 1000,
  };
  checkPolicy(policy);
  const simulation: Simulation = {
    arrivals: arrivalsFrom(options),
    serviceTime,
    spread: options.spread,
    concurrency,
    policy,
    metric: aim.metric,
    formula: options.formula,
    fromZero: options.fromZero,
    initialTasks: Math.min(max, options.tasks ?? min),
    interval: options.interval,
    boot: options.boot,
    protection: options.protection,
    stopTimeout: options.stopTimeout,
    seed,
  };
  return { aim, simulation };
}

function arrivalsFrom({ arrivals, rate, backlog, even, seed, for: seconds }: Options): number[] {
  if (arrivals !== undefined) {
    if (rate !== undefined) throw new ConfigError('expected --arrivals or --rate, not both');
    return readArrivals(readOptionFile(arrivals, '--arrivals'), arrivals);
  }
  if (rate === undefined && backlog === 0) throw new ConfigError('expected messages: --arrivals, --rate or --backlog');
  // Not the numbers that the runs get.
  const random = even ? undefined : seeded(seed ^ 0x5bd1e995);
  const times = arrivalsOf({ steps: parseRates(rate ?? '0'), seconds, backlog, random });
  if (times.length === 0) throw new ConfigError('no message would come: try a higher --rate or a longer --for');
  return times;
}

function writeChart({ svg = '' }: Options, text: string): void {
  try {
    writeFileSync(svg, text);
  } catch (error) {
    throw new ConfigError(`option --svg: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function dollars({ items }: PriceTable, key: string): number {
  const { dollars: price = 0, per = 1 } = items[key] ?? {};
  return price / per;
}

function metricNameOf({ metric }: Aim): string {
  return metric === 'perTask' ? 'messages for each task' : 'seconds that a message waits';
}

function percentilesText({ p50, p90, p99, max }: Percentiles): string {
  return `half ${time(p50)}, 90 % ${time(p90)}, 99 % ${time(p99)}, longest ${time(max)}`;
}

function time(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(1)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
