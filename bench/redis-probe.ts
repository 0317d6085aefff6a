import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

/** Longer than a server takes from one stocktaking of its connections to the next. */
const STOCK_MS = 1100;

/** How often each command was executed, or sent, by its name in capitals. */
export type Commands = Readonly<Record<string, number>>;

/** What a server has done until now. What the probe itself sent is left out. */
export interface RedisMark {
  /** As the server counts them, also those inside scripts. */
  readonly executed: Commands;
  /** Processor time, in ms. */
  readonly cpuMs: number;
  /** Megabytes of its process. */
  readonly rss: number;
}

/** What connections sent while one listened. */
export interface Overheard {
  readonly sent: Commands;
  /** Executed by scripts. */
  readonly inside: Commands;
}

/** Looks at a Redis from a connection of its own, and keeps what it costs apart from what it measures. */
export class RedisProbe {
  readonly #client: Redis;
  readonly #own = new Map<string, number>();

  private constructor(client: Redis) {
    this.#client = client;
  }

  static async open(url: string): Promise<RedisProbe> {
    const client = new Redis(url, { protocol: 2, disableClientInfo: true, enableReadyCheck: false, lazyConnect: true });
    await client.connect();
    return new RedisProbe(client);
  }

  async mark(): Promise<RedisMark> {
    // The server counts a command when it is done, so this INFO is not among them.
    const own = new Map(this.#own);
    const { info, field } = await this.#info();
    return {
      executed: executedBy(info, own),
      cpuMs: (field('used_cpu_user') + field('used_cpu_sys')) * 1000,
      rss: field('used_memory_rss') / 2 ** 20,
    };
  }

  /**
   * Bytes of memory in use, without the buffers of connections. The server takes stock of those now and then, so this
   * waits until two looks agree.
   */
  async bytes(): Promise<number> {
    for (let last = Number.NaN; ; ) {
      const { field } = await this.#info();
      const bytes = field('used_memory') - field('mem_clients_normal');
      if (bytes === last) return bytes;
      last = bytes;
      await sleep(STOCK_MS);
    }
  }

  /** Whether nothing waits in a queue or is held, in Celery's layout. */
  async isDrained(queue: string): Promise<boolean> {
    return (await this.#send('EXISTS', queue, 'unacked')) === 0;
  }

  /** Listens to all that is sent from now on. Costs the server something for each command. The function ends it. */
  async listen(): Promise<() => Promise<Overheard>> {
    const own = /\baddr=(\S+)/.exec(String(await this.#send('CLIENT', 'INFO')))?.[1];
    add(this.#own, 'MONITOR');
    const monitor = await this.#client.monitor();
    const [sent, inside] = [new Map<string, number>(), new Map<string, number>()];
    const heard = Promise.withResolvers<void>();
    const last = `lovage-bench-end-${process.pid}`;
    monitor.on('monitor', (_time: string, [name = '', ...args]: string[], source: string) => {
      if (source !== own) add(source === 'lua' ? inside : sent, name.toUpperCase());
      else if (args[0] === last) heard.resolve();
    });
    return async () => {
      // What came before this has been heard when this is.
      await this.#send('ECHO', last);
      await heard.promise;
      monitor.disconnect();
      return { sent: Object.fromEntries(sent), inside: Object.fromEntries(inside) };
    };
  }

  close(): void {
    this.#client.disconnect();
  }

  async #info() {
    const info = String(await this.#send('INFO', 'everything'));
    const field = (name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1]);
    return { info, field };
  }

  #send(name: string, ...args: string[]): Promise<unknown> {
    add(this.#own, name);
    return this.#client.call(name, ...args);
  }
}

/** Counts of `INFO commandstats`, without those of `own`. */
function executedBy(info: string, own: ReadonlyMap<string, number>): Commands {
  const executed = new Map<string, number>();
  // The subcommands of CLIENT and others stand behind a bar.
  for (const [, name = '', calls] of info.matchAll(/^cmdstat_([^|:]+)[^:]*:calls=(\d+)/gm)) {
    add(executed, name.toUpperCase(), Number(calls));
  }
  for (const [name, calls] of own) add(executed, name, -calls);
  return Object.fromEntries([...executed].filter(([, calls]) => calls !== 0));
}

/** How often each command came between two counts. */
export function commandsBetween(before: Commands, after: Commands): Commands {
  const counts = Object.entries(after).map(([name, calls]): [string, number] => [name, calls - (before[name] ?? 0)]);
  return Object.fromEntries(counts.filter(([, calls]) => calls !== 0));
}

/** How many commands these are. */
export function total(commands: Commands): number {
  return Object.values(commands).reduce((a, b) => a + b, 0);
}

function add(tally: Map<string, number>, name: string, calls = 1): void {
  tally.set(name, (tally.get(name) ?? 0) + calls);
}
