import type { Drivers } from './app/connections.ts';

/** URL schemes and the drivers behind them: the one place that names drivers. Nothing is loaded until a URL asks for it. */
export const drivers: Drivers = {
  brokers: {
    memory: async () => (await import('./brokers/memory.ts')).memoryBroker,
    sqlite: async () => (await import('./brokers/sqlite.ts')).sqliteBroker,
  },
  backends: {
    memory: async () => (await import('./backends/memory.ts')).memoryBackend,
    sqlite: async () => (await import('./backends/sqlite.ts')).sqliteBackend,
  },
};
