import { Heap } from '../util/heap.ts';
import { backlogOf } from './backlog.ts';
import { exponential, seeded } from './random.ts';
import { percentiles, type Sample, type Simulation, type SimulationResult } from './simulation.ts';
import { newTracking, track } from './tracking.ts';

/** From one point of the chart to the next. */
const sampleEvery = 15;
const minute = 60;
/** It ends at the latest so long after the last message has come: by then something is wrong with the policy. */
const patience = 48 * 3600;
/** Quiet time after the end, for the chart. */
const epilogue = 300;

/** Plays arrivals through a policy, message by message. The same input gives the same result. */
export function simulate(input: Simulation): SimulationResult {
  return new Play(input).run();
}

interface Message {
  readonly arrivedAt: number;
  startedAt: number;
}

interface Task {
  readonly since: number;
  state: 'pending' | 'running' | 'stopping' | 'gone';
  readonly runs: Set<Message>;
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly act: () => void;
}

class Play {
  readonly #input: Simulation;
  readonly #random: () => number;
  readonly #events = new Heap<Event>((a, b) => a.at < b.at || (a.at === b.at && a.order < b.order));
  #order = 0;
  #now = 0;
  /** Messages that wait; those before `#head` are taken. */
  #waiting: Message[] = [];
  #head = 0;
  #nextArrival = 0;
  #tasks: Task[] = [];
  /** Tasks that run or start, and room in those that run: kept, because every message asks. */
  #alive = 0;
  #room = 0;
  #desired: number;
  #tracking = newTracking;
  #metric: number | undefined;
  /** What was published in this minute. */
  #published: number[] = [];
  readonly #samples: Sample[] = [];
  readonly #waits: number[] = [];
  readonly #latencies: number[] = [];
  #interrupted = 0;
  #taskSeconds = 0;
  #peak = 0;
  #quietSince: number | undefined;

  constructor(input: Simulation) {
    this.#input = input;
    this.#random = seeded(input.seed);
    this.#desired = input.initialTasks;
  }

  run(): SimulationResult {
    const { arrivals, interval, initialTasks } = this.#input;
    for (let i = 0; i < initialTasks; i++) this.#startTask(0);
    this.#arriveNext();
    // At the same moment: first look, then decide, then draw.
    this.#every(interval, () => this.#look());
    this.#every(minute, () => this.#decide());
    this.#every(sampleEvery, () => this.#sample());
    const end = (arrivals.at(-1) ?? 0) + patience;
    for (let event = this.#events.pop(); event && event.at <= end; event = this.#events.pop()) {
      this.#now = event.at;
      event.act();
      if (this.#isOver()) break;
    }
    for (const task of this.#tasks) this.#remove(task);
    return {
      samples: this.#samples,
      messages: arrivals.length,
      done: this.#latencies.length,
      interrupted: this.#interrupted,
      wait: percentiles(this.#waits),
      latency: percentiles(this.#latencies),
      taskHours: this.#taskSeconds / 3600,
      peakTasks: this.#peak,
      seconds: this.#now,
    };
  }

  #at(at: number, act: () => void): void {
    this.#events.push({ at, order: this.#order++, act });
  }

  #every(seconds: number, act: () => void): void {
    const again = () => {
      act();
      this.#at(this.#now + seconds, again);
    };
    this.#at(0, again);
  }

  #arriveNext(): void {
    const at = this.#input.arrivals[this.#nextArrival];
    if (at === undefined) return;
    this.#at(at, () => {
      for (; this.#input.arrivals[this.#nextArrival] === at; this.#nextArrival++)
        this.#waiting.push({ arrivedAt: at, startedAt: at });
      this.#feed();
      this.#arriveNext();
    });
  }

  get #ready(): number {
    return this.#waiting.length - this.#head;
  }

  #count(state: Task['state']): number {
    return this.#tasks.filter((task) => task.state === state).length;
  }

  #inFlight(): number {
    return this.#tasks.reduce((sum, { runs }) => sum + runs.size, 0);
  }

  /** Gives what waits to tasks that have room. */
  #feed(): void {
    const { concurrency } = this.#input;
    for (const task of this.#tasks) {
      if (this.#ready === 0 || this.#room === 0) break;
      if (task.state !== 'running') continue;
      while (task.runs.size < concurrency && this.#ready > 0) this.#begin(task, this.#take());
    }
    this.#stopSurplus();
  }

  #take(): Message {
    const message = this.#waiting[this.#head++] as Message;
    if (this.#head > 10_000 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    return message;
  }

  #begin(task: Task, message: Message): void {
    const { serviceTime, spread } = this.#input;
    message.startedAt = this.#now;
    task.runs.add(message);
    this.#room -= 1;
    const seconds = spread === 'fixed' ? serviceTime : exponential(serviceTime, this.#random);
    this.#at(this.#now + seconds, () => this.#finish(task, message));
  }

  #finish(task: Task, message: Message): void {
    // It was cut off, and runs elsewhere.
    if (!task.runs.delete(message)) return;
    if (task.state === 'running') this.#room += 1;
    this.#waits.push(message.startedAt - message.arrivedAt);
    this.#latencies.push(this.#now - message.arrivedAt);
    if (task.state === 'stopping' && task.runs.size === 0) this.#remove(task);
    else this.#feed();
  }

  #look(): void {
    const { formula, metric, concurrency, serviceTime } = this.#input;
    const depth = { ready: this.#ready, inFlight: this.#inFlight(), delayed: 0, dead: 0 };
    const tasks = { running: this.#count('running'), pending: this.#count('pending'), desired: this.#desired };
    const runtimes = new Map([['q', serviceTime]]);
    const at = new Date(0);
    const reading = backlogOf({ at, queues: ['q'], depths: [depth], tasks, formula, runtimes, concurrency });
    this.#metric = reading.total[metric];
    if (this.#metric !== undefined) this.#published.push(this.#metric);
    if (this.#input.fromZero && reading.unserved > 0 && this.#desired === 0) this.#scale(1);
  }

  /** As CloudWatch and Application Auto Scaling do each minute. */
  #decide(): void {
    const values = this.#published.splice(0);
    const value = values.length === 0 ? undefined : values.reduce((a, b) => a + b, 0) / values.length;
    const look = { at: this.#now * 1000, value, current: this.#desired };
    const { state, desired } = track(this.#tracking, look, this.#input.policy);
    this.#tracking = state;
    this.#scale(desired);
  }

  #scale(desired: number): void {
    this.#desired = desired;
    while (this.#alive < desired) this.#startTask(this.#input.boot);
    this.#stopSurplus();
  }

  #startTask(boot: number): void {
    const task: Task = { since: this.#now, state: boot > 0 ? 'pending' : 'running', runs: new Set() };
    this.#tasks.push(task);
    this.#alive += 1;
    if (boot === 0) this.#room += this.#input.concurrency;
    this.#peak = Math.max(this.#peak, this.#tasks.length);
    if (boot > 0)
      this.#at(this.#now + boot, () => {
        if (task.state !== 'pending') return;
        task.state = 'running';
        this.#room += this.#input.concurrency;
        this.#feed();
      });
  }

  /** Ends tasks beyond the desired number: first those that start, then idle ones, and busy ones where nothing protects them. */
  #stopSurplus(): void {
    let surplus = this.#alive - this.#desired;
    if (surplus <= 0) return;
    const rank = ({ state, runs }: Task) => (state === 'pending' ? 0 : runs.size === 0 ? 1 : 2);
    const candidates = this.#tasks
      .filter(
        ({ state, runs }) =>
          state === 'pending' || (state === 'running' && (!this.#input.protection || runs.size === 0)),
      )
      .sort((a, b) => rank(a) - rank(b) || b.since - a.since);
    for (const task of candidates) {
      if (surplus-- <= 0) return;
      this.#stopTask(task);
    }
  }

  #stopTask(task: Task): void {
    this.#alive -= 1;
    if (task.state === 'running') this.#room -= this.#input.concurrency - task.runs.size;
    if (task.runs.size === 0) {
      this.#remove(task);
      return;
    }
    task.state = 'stopping';
    this.#at(this.#now + this.#input.stopTimeout, () => this.#cutOff(task));
  }

  #cutOff(task: Task): void {
    if (task.state !== 'stopping') return;
    const lost = [...task.runs];
    task.runs.clear();
    this.#interrupted += lost.length;
    this.#waiting.push(...lost);
    this.#remove(task);
    this.#feed();
  }

  #remove(task: Task): void {
    if (task.state === 'gone') return;
    task.state = 'gone';
    this.#taskSeconds += this.#now - task.since;
    this.#tasks = this.#tasks.filter((one) => one !== task);
  }

  #sample(): void {
    this.#samples.push({
      at: this.#now,
      ready: this.#ready,
      inFlight: this.#inFlight(),
      running: this.#count('running') + this.#count('stopping'),
      pending: this.#count('pending'),
      desired: this.#desired,
      metric: this.#metric,
    });
  }

  /** Everything is done, and as few tasks run as may. */
  #isOver(): boolean {
    const { arrivals, policy } = this.#input;
    const isQuiet =
      this.#nextArrival === arrivals.length &&
      this.#ready === 0 &&
      this.#inFlight() === 0 &&
      this.#desired === policy.min &&
      this.#tasks.length === policy.min;
    if (!isQuiet) this.#quietSince = undefined;
    else this.#quietSince ??= this.#now;
    return this.#quietSince !== undefined && this.#now - this.#quietSince >= epilogue;
  }
}
