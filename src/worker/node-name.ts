import { hostname } from 'node:os';

/** A node name from Celery's pattern: `%h` full host, `%n` its first part, `%d` the rest; a name without `@` gets the host. */
export function nodeName(pattern: string): string {
  const host = hostname();
  const [first = host, ...rest] = host.split('.');
  const full = pattern.includes('@') ? pattern : `${pattern}@%h`;
  return full.replaceAll('%h', host).replaceAll('%n', first).replaceAll('%d', rest.join('.'));
}
