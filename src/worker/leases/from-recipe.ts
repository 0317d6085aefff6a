import type { Recipe } from '../../contracts/common.ts';

/** Makes in this thread what a recipe tells. The caller says what that is: nothing here can know. */
export async function fromRecipe<T>({ module: path, factory, args }: Recipe): Promise<T> {
  const module: Record<string, ((...args: readonly unknown[]) => T) | undefined> = await import(path);
  const make = module[factory];
  if (!make) throw new Error(`${path} has no export '${factory}'`);
  return make(...args);
}
