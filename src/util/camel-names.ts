/** `visibility_timeout` as `visibilityTimeout`: Celery's and kombu's spelling in ours. Other names stay as they are. */
export function camelName(name: string): string {
  return name.replace(/(?<=[a-z0-9])[_-]([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** An object with its names in our spelling. */
export function camelKeys(options: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [camelName(name), value]));
}

/** What stands behind the `?` of a URL, with its names in our spelling. */
export function camelQuery(query: string): string {
  const renamed = [...new URLSearchParams(query)].map(([name, value]): [string, string] => [camelName(name), value]);
  return new URLSearchParams(renamed).toString();
}
