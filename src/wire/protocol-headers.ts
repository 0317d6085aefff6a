/** Headers of a hybrid message that may stand in the body instead (wire SPEC 1.4). */
export const HYBRID_KEYS: readonly string[] = [
  ...['lang', 'task', 'id', 'root_id', 'parent_id', 'group', 'meth', 'shadow', 'eta', 'expires', 'retries'],
  ...['timelimit', 'argsrepr', 'kwargsrepr', 'origin'],
];

/** Header names that mean something to Celery or kombu; all others are the sender's own (wire SPEC 1.1, 2.4, 3.1). */
export const RESERVED_HEADERS: ReadonlySet<string> = new Set([
  ...HYBRID_KEYS,
  ...['group_index', 'ignore_result', 'replaced_task_nesting', 'stamped_headers', 'stamps'],
  ...['compression', 'redelivered'],
]);
