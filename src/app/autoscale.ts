import { kinds } from '../util/options.ts';

/** How many tasks a worker may run at once when it sets that by itself: at most, and at least. Celery's order. */
export type Autoscale = readonly [max: number, min: number];

/** More slots than this are a mistake. */
const mostSlots = 100_000;

const isSlots = (value: unknown) => kinds.int(1, mostSlots).is(value);

/** Values of `workerAutoscale`; on the command line `10,3`, or `10` where the least is 1. */
export const autoscaleKind = kinds.custom<Autoscale>(
  'max,min: two whole numbers from 1 up, the larger one first, such as [10, 3], or 10,3 on the command line',
  (value) => Array.isArray(value) && value.length === 2 && value.every(isSlots) && Number(value[0]) >= Number(value[1]),
  (text) => {
    const parts = text.split(',').map((part) => kinds.int(1, mostSlots).parse(part));
    const [max, min = parts.length === 1 ? 1 : undefined] = parts;
    return max !== undefined && min !== undefined && parts.length <= 2 && max >= min ? [max, min] : undefined;
  },
);
