import { ConfigError } from '../../errors.ts';

/** Who kills this process some time after SIGTERM, and when. */
export interface Platform {
  readonly name: string;
  /** Seconds from SIGTERM to SIGKILL. */
  readonly killsAfter: number;
}

/** How long the end of a worker may take, in milliseconds from the moment it is told to stop. */
export interface Grace {
  /** What running tasks get. */
  readonly tasksMs: number;
  /** When the process must be gone, whatever hangs. */
  readonly endMs: number;
  /** What must be left for the end when running tasks have used up their time. */
  readonly lastMs: number;
  readonly platform: Platform | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** What Docker, and most others, wait. */
const usualKill = 10;

/**
 * The platform, as far as the environment tells: Heroku (`DYNO`) kills after 10 s; ECS (`ECS_CONTAINER_METADATA_URI_V4`)
 * after 30 s, unless `ECS_CONTAINER_STOP_TIMEOUT` (such as `120`, `120s` or `2m`) says otherwise.
 * @throws ConfigError where that variable is no time
 */
export function platformOf(environment: Environment): Platform | undefined {
  if (environment.DYNO) return { name: 'Heroku', killsAfter: 10 };
  if (!environment.ECS_CONTAINER_METADATA_URI_V4) return undefined;
  return { name: 'ECS', killsAfter: seconds('ECS_CONTAINER_STOP_TIMEOUT', environment) ?? 30 };
}

/**
 * How long running tasks get, and when the process must be gone. `tasks` is what somebody has set, in seconds, and wins;
 * without it, it is what is safe on this platform: two seconds less than it waits.
 */
export function graceOf(tasks: number | undefined, platform: Platform | undefined): Grace {
  const killMs = (platform?.killsAfter ?? usualKill) * 1000;
  // A platform that is in a hurry leaves less for the end.
  const reserveMs = Math.min(2000, killMs / 5);
  const tasksMs = tasks === undefined ? killMs - reserveMs : tasks * 1000;
  const lastMs = 0.75 * reserveMs;
  return { tasksMs, lastMs, endMs: Math.max(killMs - reserveMs / 4, tasksMs + lastMs), platform };
}

function seconds(variable: string, environment: Environment): number | undefined {
  const text = environment[variable];
  if (!text) return undefined;
  const [, number, unit] = /^(\d+(?:\.\d+)?)(s|m)?$/.exec(text.trim()) ?? [];
  const value = Number(number) * (unit === 'm' ? 60 : 1);
  if (value > 0) return value;
  throw new ConfigError(`environment variable ${variable}: expected a time such as 30, 30s or 2m, got '${text}'`);
}
