import type { Check } from '../../contracts/diagnosis.ts';

/** The clock of a service, as far as its answers tell it: their header `Date` has whole seconds only. */
export class ServiceClock {
  /** Within these bounds lies what has to be added to our clock. */
  #least = Number.NEGATIVE_INFINITY;
  #most = Number.POSITIVE_INFINITY;

  /** Epoch milliseconds. Our own clock where it agrees with the service's, and otherwise corrected as far as is known. */
  now(): number {
    const offset = Math.min(Math.max(0, this.#least), Math.max(this.#most, this.#least));
    return Date.now() + offset;
  }

  /** Learns from one answer: when it was asked for, when it came, and what its header `Date` says. */
  learn(date: string | undefined, sentAt: number, receivedAt: number): void {
    const told = date === undefined ? Number.NaN : Date.parse(date);
    if (Number.isNaN(told)) return;
    // The answer was written between the two, and at a moment of that second.
    const [least, most] = [told - receivedAt, told + 1000 - sentAt];
    this.#least = Math.max(this.#least, least);
    this.#most = Math.min(this.#most, most);
    // A clock was set meanwhile: only the last answer counts.
    if (this.#least > this.#most) [this.#least, this.#most] = [least, most];
  }
}

/** What the stack of a client of the SDK takes, as far as it is used here. */
interface Stack {
  add(
    middleware: (next: (args: never) => Promise<{ response: unknown }>) => (args: never) => Promise<never>,
    options: { readonly step: 'deserialize'; readonly name: string; readonly priority: 'low' },
  ): void;
}

/** The clock of the service that a client talks to. */
export function serviceClock({ middlewareStack }: { readonly middlewareStack: unknown }): ServiceClock {
  const clock = new ServiceClock();
  (middlewareStack as Stack).add(
    (next) => async (args) => {
      const sentAt = Date.now();
      const output = await next(args);
      const { headers } = Object(output.response) as { headers?: Readonly<Record<string, string>> };
      clock.learn(headers?.date ?? headers?.Date, sentAt, Date.now());
      return output as never;
    },
    { step: 'deserialize', name: 'lovageClock', priority: 'low' },
  );
  return clock;
}

/** For `lovage doctor`: whether our clock and the service's agree. */
export function clockCheck(clock: ServiceClock): Check {
  const what = 'clock of this machine';
  const skewMs = Math.round(clock.now() - Date.now());
  if (Math.abs(skewMs) < 1000) return { what, verdict: 'ok', found: 'agrees with that of AWS' };
  const found = `${Math.abs(skewMs / 1000).toFixed(1)} s ${skewMs > 0 ? 'behind' : 'ahead of'} that of AWS`;
  return { what, verdict: Math.abs(skewMs) < 60_000 ? 'warning' : 'problem', found, advice: 'set it right, with NTP' };
}
