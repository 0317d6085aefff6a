import type { JoinStore } from './backend.ts';
import type { LimitStore } from './limits.ts';

/** The joins of a backend that has them once it is started: each call gets them first. */
export function joinsOf(get: () => Promise<JoinStore>): JoinStore {
  return {
    setSize: async (...args) => (await get()).setSize(...args),
    addMany: async (...args) => (await get()).addMany(...args),
    grow: async (...args) => (await get()).grow(...args),
    read: async (...args) => (await get()).read(...args),
    take: async (...args) => (await get()).take(...args),
  };
}

/** The limits of a backend that has them once it is started: each call gets them first. */
export function limitsOf(get: () => Promise<LimitStore>): LimitStore {
  return {
    claimMany: async (...args) => (await get()).claimMany(...args),
    renewMany: async (...args) => (await get()).renewMany(...args),
    releaseMany: async (...args) => (await get()).releaseMany(...args),
    finishMany: async (...args) => (await get()).finishMany(...args),
    reserveMany: async (...args) => (await get()).reserveMany(...args),
  };
}
