import { startRedis } from '../support/redis-server.ts';
import { GraphShop, graphLaws } from './graph-laws.ts';

graphLaws('redis', async () => {
  const server = await startRedis();
  return new GraphShop(server.url, () => server.stop());
});
