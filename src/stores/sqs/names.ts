import { ConfigError } from '../../errors.ts';
import type { SqsLocation } from './url.ts';

const FIFO = '.fifo';
const DEAD = '-dead';

/** The name in SQS of a queue, with prefix, by Celery's mapping: a dot becomes a dash, other punctuation an underscore. */
export function sqsName(queue: string, { prefix, isFifo }: Pick<SqsLocation, 'prefix' | 'isFifo'>): string {
  const whole = prefix + queue;
  const ends = whole.endsWith(FIFO);
  const base = mapped(ends ? whole.slice(0, -FIFO.length) : whole);
  const name = ends || isFifo ? base + FIFO : base;
  if (/^[\w-]+(\.fifo)?$/.test(name) && name.length <= 80) return name;
  throw new ConfigError(
    `queue '${queue}': its name in SQS would be '${name}'; expected letters, digits, '-' and '_', at most 80 of them`,
  );
}

/** Celery's mapping alone, character by character. */
export function mapped(text: string): string {
  return text.replaceAll('.', '-').replace(/[!-,/:-@[-^`{-~]/g, '_');
}

/** A name in SQS with something behind it: `orders.fifo` and `-dead` make `orders-dead.fifo`. */
export function withSuffix(name: string, suffix: string): string {
  return isFifoName(name) ? name.slice(0, -FIFO.length) + suffix + FIFO : name + suffix;
}

/** The name of the queue for one step of priority: that of step 0 is the queue itself. */
export function stepName(name: string, step: number): string {
  return step === 0 ? name : withSuffix(name, `-p${step}`);
}

/** The name in SQS of our own dead letters of a queue. */
export function deadName(name: string): string {
  return withSuffix(name, DEAD);
}

/** Whether it is the name in SQS of dead letters of ours. */
export function isDeadName(name: string): boolean {
  return (isFifoName(name) ? name.slice(0, -FIFO.length) : name).endsWith(DEAD);
}

/** Whether a queue is a FIFO queue, by its name in SQS, its URL or its ARN. */
export function isFifoName(name: string): boolean {
  return name.endsWith(FIFO);
}

/** What a name in SQS is without prefix and, where every queue is FIFO, without `.fifo`; the way back from {@link sqsName}, as far as there is one. */
export function queueOf(name: string, { prefix, isFifo }: Pick<SqsLocation, 'prefix' | 'isFifo'>): string {
  const bare = name.slice(prefix.length);
  return isFifo && isFifoName(bare) ? bare.slice(0, -FIFO.length) : bare;
}
