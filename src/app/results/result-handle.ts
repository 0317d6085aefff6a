import type { ResultNode } from '../../wire/result-tuple.ts';
import { GroupResult } from './group-result.ts';
import { AsyncResult, type ResultSource } from './result.ts';

/** Handles on a tree of results: of a task, or of a group with those of its members, each with its parents. */
export function resultHandle(
  node: ResultNode,
  source: ResultSource,
  isIgnored: (taskId: string) => boolean = () => false,
): AsyncResult | GroupResult {
  const parent = node.parent && resultHandle(node.parent, source, isIgnored);
  if (!node.members) return new AsyncResult(node.id, source, { ignored: isIgnored(node.id), parent });
  const results = node.members.map((member) => resultHandle(member, source, isIgnored));
  return new GroupResult(node.id, results as AsyncResult[], source, parent);
}
