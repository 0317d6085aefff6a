import type { Logger } from '../../app/logger.ts';
import { ConfigError, StoreError } from '../../errors.ts';
import type { Worker } from '../../worker/worker.ts';

export interface ProtectionOptions {
  /** Minutes that a protection lasts unless it is renewed. 1 to 2880; default 10. It is renewed at half of its time. */
  readonly expiresInMinutes?: number;
  /** How often it is looked whether the worker is busy. Default: a second, so that shorter work asks for nothing. */
  readonly everyMs?: number;
  /** The least time between two requests: AWS limits how many there may be. Default: 5 seconds. */
  readonly gapMs?: number;
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

/** What is asked of the agent may take so long. */
const patienceMs = 10_000;
/** After failures, the gap grows up to this. */
const maxGapMs = 60_000;

/**
 * Protects an ECS task from scale-in while its worker is busy, and no longer: asked for when the worker gets to work,
 * renewed while it works, given back when it has nothing left. Elsewhere than on ECS it does nothing. Failures are logged
 * and tried again; they cost no task. Where ECS says that the task is being stopped already (`DEPLOYMENT_BLOCKED`), the
 * worker stops in order: it takes nothing more. Returns what ends it; it ends by itself with the worker.
 * @throws ConfigError for a time out of range
 */
export function protectFromScaleIn(worker: Worker, options: ProtectionOptions = {}): () => Promise<void> {
  const { expiresInMinutes = 10, everyMs = 1_000, gapMs = 5_000, environment = process.env } = options;
  if (!Number.isInteger(expiresInMinutes) || expiresInMinutes < 1 || expiresInMinutes > 2880)
    throw new ConfigError(`expiresInMinutes: expected a whole number from 1 to 2880, got ${expiresInMinutes}`);
  const agent = environment.ECS_AGENT_URI;
  if (!agent) return async () => {};
  const url = `${agent}/task-protection/v1/state`;
  const protection = new Protection({ url, worker, expiresInMinutes, gapMs });
  const timer = setInterval(() => protection.look(), everyMs).unref();
  const end = async () => {
    clearInterval(timer);
    stopListening();
    await protection.end();
  };
  const stopListening = worker.onState((state) => {
    if (state === 'stopped' || state === 'failed') void end();
  });
  return end;
}

interface Parts {
  readonly url: string;
  readonly worker: Worker;
  readonly expiresInMinutes: number;
  readonly gapMs: number;
}

class Protection {
  readonly #parts: Parts;
  readonly #logger: Logger;
  /** What the agent was last told; `undefined` where that is not known, after a failure. */
  #isOn: boolean | undefined = false;
  #askedAt = Number.NEGATIVE_INFINITY;
  #onSince = 0;
  #failures = 0;
  #asking: Promise<void> | undefined;
  #over = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#logger = parts.worker.app.logger;
  }

  /** Asks for what the worker needs now, if that is not what it has. */
  look(): void {
    const { worker, gapMs, expiresInMinutes } = this.#parts;
    if (this.#asking || this.#over) return;
    const now = performance.now();
    const { busy } = worker;
    const renew = busy && now - this.#onSince > expiresInMinutes * 30_000;
    if (busy === this.#isOn && !renew) return;
    const gap = Math.min(maxGapMs, gapMs * 2 ** Math.min(Math.max(0, this.#failures - 1), 10));
    if (now - this.#askedAt < gap) return;
    this.#asking = this.#ask(busy).finally(() => {
      this.#asking = undefined;
    });
  }

  /** Gives the protection back. */
  async end(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.#asking;
    if (this.#isOn !== false) await this.#ask(false);
  }

  async #ask(enabled: boolean): Promise<void> {
    const { worker } = this.#parts;
    this.#askedAt = performance.now();
    try {
      const failure = await this.#put(enabled);
      if (failure === undefined) {
        if (enabled) this.#onSince = performance.now();
        if (enabled !== this.#isOn) this.#logger.debug({}, `protection from scale-in is ${enabled ? 'on' : 'off'}`);
        this.#isOn = enabled;
        this.#failures = 0;
        return;
      }
      if (failure.reason === 'DEPLOYMENT_BLOCKED' && enabled) {
        this.#over = true;
        this.#logger.warn(
          {},
          'ECS is about to stop this task, and does not protect it any more: the worker stops in order',
        );
        void worker.stop().catch(() => {});
        return;
      }
      if (failure.reason === 'TASK_NOT_VALID') {
        this.#over = true;
        this.#logger.info({}, 'this task belongs to no service of ECS, so there is no scale-in to be protected from');
        return;
      }
      throw new StoreError(`${failure.reason}: ${failure.detail}`);
    } catch (error) {
      this.#isOn = undefined;
      this.#failures += 1;
      const fields = { error, failures: this.#failures };
      const text = `protection from scale-in could not be turned ${enabled ? 'on' : 'off'}; tasks go on, it is tried again`;
      if (this.#failures === 1) this.#logger.warn(fields, text);
      else this.#logger.debug(fields, text);
    }
  }

  /** `undefined` when it was done, else what the agent says. */
  async #put(enabled: boolean): Promise<{ reason: string; detail: string } | undefined> {
    const { url, expiresInMinutes } = this.#parts;
    const body = { ProtectionEnabled: enabled, ...(enabled && { ExpiresInMinutes: expiresInMinutes }) };
    const response = await fetch(url, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(patienceMs),
    });
    const text = await response.text();
    const { protection, failure, error } = answerOf(text);
    if (protection?.ProtectionEnabled === enabled) return undefined;
    if (failure) return { reason: String(failure.Reason), detail: String(failure.Detail) };
    if (error) return { reason: String(error.Code), detail: String(error.Message) };
    return { reason: `HTTP ${response.status}`, detail: text.slice(0, 200) };
  }
}

type Part = Readonly<Record<string, unknown>> | undefined;

function answerOf(text: string): { protection?: Part; failure?: Part; error?: Part } {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}
