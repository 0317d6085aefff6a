/** Lets one waiter sleep until something may have changed. */
export class Bell {
  #wake: (() => void) | undefined;

  /** Resolves once `isOpen` says so, which is asked now and after each ring; or at an abort. */
  async until(isOpen: () => boolean, signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !isOpen()) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const wake = () => resolve();
      this.#wake = wake;
      signal.addEventListener('abort', wake, { once: true });
      await promise;
      signal.removeEventListener('abort', wake);
    }
  }

  ring(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
