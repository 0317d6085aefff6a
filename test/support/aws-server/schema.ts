/** Checks JSON against the Smithy schemas that the clients of the AWS SDK export, such as `RunTaskRequest$`. */

/** A schema as the SDK writes it: a number for a simple type, a tuple for the others, or a function that gives one. */
type Schema = number | string | readonly unknown[] | (() => Schema);

const kindOf = { list: 1, map: 2, structure: 3, union: 4, error: -3, operation: 9 } as const;
const listFlag = 64;
const mapFlag = 128;
/** Numbers of simple types; see `@smithy/types`. Timestamps travel as seconds since the epoch. */
const simple: Readonly<Record<number, (value: unknown) => boolean>> = {
  0: (value) => typeof value === 'string',
  1: (value) => typeof value === 'number' || value === 'NaN' || value === 'Infinity' || value === '-Infinity',
  2: (value) => typeof value === 'boolean',
  4: (value) => typeof value === 'number',
  5: (value) => typeof value === 'string',
  7: (value) => typeof value === 'number',
  15: () => true,
  17: (value) => typeof value === 'number',
  21: (value) => typeof value === 'string',
};
const names: Readonly<Record<number, string>> = {
  0: 'a text',
  1: 'a number',
  2: 'true or false',
  4: 'seconds since the epoch',
  5: 'a date',
  7: 'seconds since the epoch',
  17: 'a whole number',
  21: 'base64',
};

/** Everything in `value` that the schema does not know, or knows otherwise: one line each, none when all is well. */
export function faultsOf(value: unknown, schema: Schema, path = ''): string[] {
  const real = resolve(schema);
  if (typeof real === 'string') return [];
  if (typeof real === 'number') return simpleFaults(value, real, path);
  const [kind, , , , first, second] = real;
  if (kind === kindOf.list) return listFaults(value, first as Schema, path);
  if (kind === kindOf.map) return mapFaults(value, second as Schema, path);
  if (kind === kindOf.structure || kind === kindOf.union || kind === kindOf.error)
    return structureFaults(value, real, path);
  if (kind === 0) return faultsOf(value, first as Schema, path);
  throw new Error(`${path}: a schema of kind ${String(kind)} is not known here`);
}

/** Input and output of an operation of a client, by its name, such as `RunTask`. */
export function schemasOf(client: object, action: string): { input: Schema; output: Schema } | undefined {
  const operation = (client as Record<string, unknown>)[`${action}$`];
  if (!Array.isArray(operation) || operation[0] !== kindOf.operation) return undefined;
  return { input: operation[4] as Schema, output: operation[5] as Schema };
}

/** Whether a client knows an error of this name. */
export function knowsError(client: object, name: string): boolean {
  const schema = (client as Record<string, unknown>)[`${name}$`];
  return Array.isArray(schema) && schema[0] === kindOf.error;
}

function resolve(schema: Schema): number | string | readonly unknown[] {
  if (typeof schema === 'function') return resolve(schema());
  // A member with traits of its own.
  if (Array.isArray(schema) && schema.length === 2) return resolve(schema[0] as Schema);
  return schema as number | string | readonly unknown[];
}

function simpleFaults(value: unknown, type: number, path: string): string[] {
  if (type & mapFlag) return mapFaults(value, type & ~mapFlag, path);
  if (type & listFlag) return listFaults(value, type & ~listFlag, path);
  const check = simple[type];
  if (!check) throw new Error(`${path}: a simple schema ${type} is not known here`);
  return check(value) ? [] : [`${path}: expected ${names[type]}, got ${JSON.stringify(value)}`];
}

function listFaults(value: unknown, item: Schema, path: string): string[] {
  if (!Array.isArray(value)) return [`${path}: expected a list, got ${JSON.stringify(value)}`];
  return value.flatMap((one, index) => faultsOf(one, item, `${path}[${index}]`));
}

function mapFaults(value: unknown, item: Schema, path: string): string[] {
  if (!isObject(value)) return [`${path}: expected a map, got ${JSON.stringify(value)}`];
  return Object.entries(value).flatMap(([key, one]) => faultsOf(one, item, `${path}.${key}`));
}

function structureFaults(value: unknown, schema: readonly unknown[], path: string): string[] {
  const [kind, , name, , members = [], schemas = [], required = 0] = schema as [
    number,
    string,
    string,
    unknown,
    (readonly string[])?,
    (readonly Schema[])?,
    number?,
  ];
  if (!isObject(value)) return [`${path || name}: expected an object, got ${JSON.stringify(value)}`];
  const given = Object.keys(value).filter((key) => value[key] !== undefined && value[key] !== null);
  const unknown = given
    .filter((key) => !members.includes(key))
    .map((key) => `${path}.${key}: ${name} has no such member`);
  const missing = members.slice(0, required).filter((key) => !given.includes(key));
  const several = kind === kindOf.union && given.length !== 1 ? [`${path}: expected one member of ${name}`] : [];
  const inside = given
    .filter((key) => members.includes(key))
    .flatMap((key) => faultsOf(value[key], schemas[members.indexOf(key)] as Schema, `${path}.${key}`));
  return [...unknown, ...missing.map((key) => `${path}.${key}: ${name} must have it`), ...several, ...inside];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
