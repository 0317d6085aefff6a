import { ConfigError } from '../errors.ts';
import { checkOptions, type OptionsOf, type OptionTable, show } from './options.ts';

/**
 * Reads what stands behind the `?` of a store's URL by an option table; `given` (the factory's argument) wins.
 * @throws ConfigError for an unknown name (with the nearest known one) or a value of the wrong kind
 */
export function readUrlOptions<Table extends OptionTable>(
  table: Table,
  query: string,
  given: OptionsOf<Table>,
  where: string,
): OptionsOf<Table> {
  const values: Record<string, unknown> = {};
  for (const [name, text] of new URLSearchParams(query)) {
    const kind = Object.hasOwn(table, name) ? table[name]?.kind : undefined;
    const value = kind ? kind.parse(text) : text;
    if (kind && value === undefined) {
      throw new ConfigError(`option '${name}' of ${where}: expected ${kind.expected}, got ${show(text)}`);
    }
    values[name] = value;
  }
  Object.assign(values, given);
  checkOptions(table, values, where);
  return values as OptionsOf<Table>;
}
