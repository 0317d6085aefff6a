/** The same object with some members replaced: how a test has a real broker or backend fail on purpose. */
export function override<T extends object>(target: T, members: Partial<T>): T {
  return new Proxy(target, {
    get(real, name) {
      if (Object.hasOwn(members, name)) return members[name as keyof T];
      const value: unknown = Reflect.get(real, name);
      return typeof value === 'function' ? value.bind(real) : value;
    },
  });
}
