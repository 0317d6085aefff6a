import type { StandardSchemaV1 } from '@standard-schema/spec';
import { ArgumentsError } from '../../errors.ts';

/**
 * Checks a list of arguments against a task's schema and returns what the schema makes of it.
 * @throws ArgumentsError naming each argument that does not fit
 */
export async function validateArguments(
  task: string,
  schema: StandardSchemaV1,
  args: readonly unknown[],
): Promise<readonly unknown[]> {
  const result = await schema['~standard'].validate(args);
  if (result.issues) {
    const text = result.issues.map((issue) => `${pathText(issue.path)}: ${issue.message}`).join('; ');
    throw new ArgumentsError(`arguments of ${task} do not fit its schema: ${text}`);
  }
  if (!Array.isArray(result.value)) {
    throw new ArgumentsError(
      `the schema of ${task} must describe the list of arguments (for zod: z.tuple([...])), it gave ${typeof result.value}`,
    );
  }
  return result.value;
}

function pathText(path: StandardSchemaV1.Issue['path']): string {
  const keys = (path ?? []).map((segment) => (typeof segment === 'object' ? segment.key : segment));
  const [first, ...others] = keys;
  return `argument ${first === undefined ? 'list' : String(first)}${others.map((key) => `.${String(key)}`).join('')}`;
}
