/**
 * What a promise comes to, or `undefined` where that takes longer than `ms`. Whatever comes of it later is dropped, also
 * an error.
 */
export function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(undefined), ms);
    const done = () => clearTimeout(timer);
    promise.then(resolve, reject).then(done, done);
  });
}
