import { ConfigError, StoreAccessError, StoreError, StoreMissingError } from '../errors.ts';
import type { ScalingTarget } from './target.ts';

export interface HerokuOptions {
  /** Name of the Heroku app. */
  readonly herokuApp: string;
  /** Process type of its Procfile. Default: `worker`. */
  readonly processType?: string;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/**
 * A process type of a Heroku app: its dynos are counted and scaled by Heroku's Platform API. The token comes from
 * `HEROKU_API_KEY` and is never shown; `HEROKU_API_URL` is for stand-ins.
 * @throws ConfigError without a token
 */
export function herokuTarget({
  herokuApp,
  processType = 'worker',
  environment = process.env,
}: HerokuOptions): ScalingTarget {
  const token = environment.HEROKU_API_KEY;
  if (!token)
    throw new ConfigError(
      'the provider heroku needs a token in HEROKU_API_KEY: heroku authorizations:create -d lovage prints one',
    );
  const base = environment.HEROKU_API_URL || 'https://api.heroku.com';
  const name = `heroku ${herokuApp}/${processType}`;
  const request = async (path: string, signal: AbortSignal, body?: object): Promise<unknown> => {
    const response = await fetch(`${base}/apps/${encodeURIComponent(herokuApp)}${path}`, {
      method: body ? 'PATCH' : 'GET',
      headers: {
        accept: 'application/vnd.heroku+json; version=3',
        authorization: `Bearer ${token}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
      signal,
    }).catch((cause) => {
      throw new StoreError(`${name}: Heroku's API cannot be reached (${reasonOf(cause)})`, { cause });
    });
    if (!response.ok) throw await refusal(name, response);
    return response.json();
  };
  return {
    name,
    async counts(signal) {
      const [formation, dynos] = await Promise.all([
        request(`/formation/${encodeURIComponent(processType)}`, signal) as Promise<{ quantity?: unknown }>,
        request('/dynos', signal) as Promise<readonly { type?: unknown; state?: unknown }[]>,
      ]);
      if (typeof formation.quantity !== 'number' || !Array.isArray(dynos))
        throw new StoreError(`${name}: Heroku's API gave no numbers of dynos`);
      const count = (...states: string[]) =>
        dynos.filter(({ type, state }) => type === processType && states.includes(String(state))).length;
      return { running: count('up'), pending: count('starting', 'restarting'), desired: formation.quantity };
    },
    async setDesired(quantity, signal) {
      await request(`/formation/${encodeURIComponent(processType)}`, signal, { quantity });
    },
    async close() {},
  };
}

async function refusal(name: string, response: Response): Promise<Error> {
  const text = await response.text().catch(() => '');
  const said = /"message":"((?:[^"\\]|\\.)*)"/.exec(text)?.[1] ?? response.statusText;
  if (response.status === 401 || response.status === 403)
    return new StoreAccessError(`${name}: Heroku refused the token of HEROKU_API_KEY (${said})`);
  if (response.status === 404) return new StoreMissingError(`${name} does not exist: ${said}`);
  return new StoreError(`${name}: Heroku answered ${response.status} (${said})`);
}

function reasonOf(error: unknown): string {
  const { cause, message } = error as Error;
  return cause instanceof Error ? cause.message : message;
}
