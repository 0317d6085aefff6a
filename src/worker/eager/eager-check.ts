import type { TaskHost } from '../../app/host.ts';
import { bodyOf, headerOf, isMap, kindOf, signaturesIn, tasksOf } from '../../canvas/wire-tree.ts';
import { NotRegisteredError } from '../../errors.ts';
import type { WireSignature } from '../../wire/task-message.ts';
import { definitionOf } from '../running/builtin-tasks.ts';

/**
 * Refuses what cannot run here, before any of it runs: each task of a signature, of its links and of its errbacks needs its
 * code.
 * @throws NotRegisteredError
 */
export function checkRegistered(host: TaskHost, signature: WireSignature): void {
  for (const name of tasksNamed(signature)) {
    if (definitionOf(host, name)) continue;
    const close = host.nearestTask(name);
    throw new NotRegisteredError(
      `'${name}' cannot run here: this application has no task of that name${close ? ` (did you mean '${close}'?)` : ''}. An eager run needs the code: import the file that registers it, or await app.loadTasks()`,
    );
  }
}

function tasksNamed(signature: WireSignature): string[] {
  const links = [...signaturesIn(signature.options, 'link'), ...signaturesIn(signature.options, 'link_error')];
  const chain = signaturesIn(signature.options, 'chain');
  return [...partsNamed(signature), ...[...links, ...chain].flatMap(tasksNamed)];
}

function partsNamed(signature: WireSignature): string[] {
  switch (kindOf(signature)) {
    case 'task': {
      // What `celery.map` and its like call for each item.
      const { task: inner } = signature.kwargs;
      const called = signature.task.startsWith('celery.') && isMap(inner) && typeof inner.task === 'string';
      return called ? [signature.task, String(inner.task)] : [signature.task];
    }
    case 'chord':
      return [...tasksNamed(headerOf(signature)), ...tasksNamed(bodyOf(signature))];
    default:
      return tasksOf(signature).flatMap(tasksNamed);
  }
}
