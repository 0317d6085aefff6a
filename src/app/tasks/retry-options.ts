import { kinds, type OptionsOf, type OptionTable, option } from '../../util/options.ts';
import { callOptionTable, retryLimit } from './task-options.ts';

/** Every option of `self.retry()`. What is not given stays as it is in the message. */
export const retryOptionTable = {
  error: option<unknown>({
    kind: kinds.custom('anything', () => true),
    doc: 'What went wrong; the task fails with it when no retries are left.',
  }),
  countdown: option({ kind: kinds.seconds(), doc: 'Seconds from now. Without it and `eta`: defaultRetryDelay.' }),
  eta: option({ kind: callOptionTable.eta.kind, doc: 'Run again at this instant.' }),
  maxRetries: option({ kind: retryLimit, doc: "Overrides the task's own, in this run." }),
  throw: option({
    kind: kinds.flag,
    default: true,
    doc: '`false`: this run goes on and ends as it will, and the task runs once more besides.',
  }),
  args: option<readonly unknown[]>({ kind: kinds.custom('a list', Array.isArray), doc: 'Other arguments.' }),
  kwargs: option({ kind: kinds.map, doc: 'Other keyword arguments.' }),
  queue: option({ kind: kinds.text, doc: 'Another queue.' }),
  priority: callOptionTable.priority,
  expires: callOptionTable.expires,
  headers: option({ kind: kinds.map, doc: 'Other headers of your own.' }),
  link: callOptionTable.link,
  linkError: callOptionTable.linkError,
  ignoreResult: callOptionTable.ignoreResult,
  serializer: callOptionTable.serializer,
  compression: callOptionTable.compression,
  shadow: callOptionTable.shadow,
  argsRepr: callOptionTable.argsRepr,
  kwargsRepr: callOptionTable.kwargsRepr,
  timeLimit: callOptionTable.timeLimit,
  softTimeLimit: callOptionTable.softTimeLimit,
} satisfies OptionTable;

/** What `self.retry(options)` takes. Each option is a row of docs/config.md. */
export type RetryOptions = OptionsOf<typeof retryOptionTable>;

const { error: _error, throw: _throw, eta: _eta, ...automatic } = retryOptionTable;

/** The options that a task may fix for its automatic retries, as `retryKwargs`. */
export const retryKwargsTable = automatic satisfies OptionTable;
export type RetryKwargs = OptionsOf<typeof retryKwargsTable>;
