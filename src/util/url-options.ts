import { ConfigError } from '../errors.ts';
import { checkOptions, type OptionsOf, type OptionTable, show } from './options.ts';

/**
 * Reads what stands behind the `?` of a store's URL by an option table; `given` (the factory's argument) wins. A text in
 * `given`, such as one from an environment variable, is read as the URL's are.
 * @throws ConfigError for an unknown name (with the nearest known one) or a value of the wrong kind
 */
export function readUrlOptions<Table extends OptionTable>(
  table: Table,
  query: string,
  given: OptionsOf<Table>,
  where: string,
): OptionsOf<Table> {
  const values: Record<string, unknown> = {};
  const read = (name: string, text: string) => {
    const kind = Object.hasOwn(table, name) ? table[name]?.kind : undefined;
    const value = kind ? kind.parse(text) : text;
    if (kind && value === undefined) {
      throw new ConfigError(`option '${name}' of ${where}: expected ${kind.expected}, got ${show(text)}`);
    }
    values[name] = value;
  };
  for (const [name, text] of new URLSearchParams(query)) read(name, text);
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === 'string') read(name, value);
    else values[name] = value;
  }
  checkOptions(table, values, where);
  return values as OptionsOf<Table>;
}
