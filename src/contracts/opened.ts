import type { JoinStore } from './backend.ts';
import type { DeadLetters } from './broker.ts';
import type { Bus } from './bus.ts';
import type { LimitStore } from './limits.ts';
import type { ParkedMessages } from './moving.ts';

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

/** The dead letters of a broker that has them once it is started: each call gets them first. */
export function deadLettersOf(get: () => Promise<DeadLetters>): DeadLetters {
  return {
    list: async (...args) => (await get()).list(...args),
    getMany: async (...args) => (await get()).getMany(...args),
    retryMany: async (...args) => (await get()).retryMany(...args),
    dropMany: async (...args) => (await get()).dropMany(...args),
  };
}

/** The bus of a broker that has one once it is started: each call gets it first. */
export function busOf(get: () => Promise<Bus>): Bus {
  return {
    emitMany: async (...args) => (await get()).emitMany(...args),
    listen: async (...args) => (await get()).listen(...args),
  };
}

/** The parked messages of a broker that has them once it is started: each call gets them first. */
export function parkedOf(get: () => Promise<ParkedMessages>): ParkedMessages {
  return {
    list: async (...args) => (await get()).list(...args),
    takeMany: async (...args) => (await get()).takeMany(...args),
  };
}
