import { ConfigError } from '../errors.ts';

/**
 * What tasks cost, in US dollars: Fargate, Linux on x86, us-east-1, as other pages told it in 2026. Check them against
 * https://aws.amazon.com/fargate/pricing, and give your own with `--prices`.
 */
export const defaultPrices = {
  /** A vCPU for an hour. */
  vcpuHour: 0.04048,
  /** A GB of memory for an hour. */
  gbHour: 0.004445,
};

export type Prices = typeof defaultPrices;

/** Reads prices from JSON; what it does not have stays as it is. @throws ConfigError */
export function readPrices(text: string, from: string): Prices {
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`${from}: expected JSON (${error instanceof Error ? error.message : String(error)})`);
  }
  const names = Object.keys(defaultPrices);
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new ConfigError(`${from}: expected an object with ${names.join(', ')}`);
  for (const [name, price] of Object.entries(given)) {
    if (!names.includes(name))
      throw new ConfigError(`${from}: there is no price '${name}'; there are ${names.join(', ')}`);
    if (typeof price !== 'number' || !(price >= 0))
      throw new ConfigError(`${from}: expected ${name} in dollars, got ${String(price)}`);
  }
  return { ...defaultPrices, ...given };
}

/** What so many hours of a task of this size cost, in dollars. */
export function costOf(
  taskHours: number,
  { vcpu, gb }: { readonly vcpu: number; readonly gb: number },
  prices: Prices,
): number {
  return taskHours * (vcpu * prices.vcpuHour + gb * prices.gbHour);
}
