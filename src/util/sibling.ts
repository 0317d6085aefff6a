/**
 * A file of this package beside the one that asks: as TypeScript in the repository, as JavaScript in the package. Both are
 * told by `from`, the `import.meta.url` of who asks; `name` has no ending.
 */
export function sibling(from: string, name: string): URL {
  return new URL(`./${name}${from.endsWith('.ts') ? '.ts' : '.js'}`, from);
}
