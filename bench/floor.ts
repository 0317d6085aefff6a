/**
 * The floor under a queue on Redis: bare ioredis that does the least a queue must do whose tasks survive its workers, with
 * the messages and results of Lovage. What Lovage needs beyond this is the price of all it does besides.
 */
/** Where its messages wait. */
export const QUEUE = 'celery';

/** In front of a task's id: the key of its result, and the channel that tells of it. */
export const RESULT = 'celery-task-meta-';

/** Messages that one command moves. */
export const BATCH = 100;

/** KEYS: queue, unacked. ARGV: max. Takes messages and records them as held. */
export const TAKE = `
local taken = redis.call('RPOP', KEYS[1], ARGV[1])
if not taken then return {} end
local held = {}
for _, message in ipairs(taken) do
  held[#held + 1] = string.match(message, '"delivery_tag": *"([^"]+)"')
  held[#held + 1] = message
end
redis.call('HSET', KEYS[2], unpack(held))
return taken
`;

/** KEYS: unacked. ARGV: key, result, tag of each task. Stores and tells the results, and forgets the messages. */
export const DONE = `
local tags = {}
for i = 1, #ARGV, 3 do
  redis.call('SET', ARGV[i], ARGV[i + 1], 'PX', 86400000)
  redis.call('PUBLISH', ARGV[i], ARGV[i + 1])
  tags[#tags + 1] = ARGV[i + 2]
end
redis.call('HDEL', KEYS[1], unpack(tags))
`;

/** The parts of an envelope that the floor reads. */
export interface FloorMessage {
  readonly body: string;
  readonly headers: { readonly id: string };
  readonly properties: { readonly delivery_tag: string };
}

/** Makes envelopes of the no-op task like `sample`, an envelope that Lovage sent for the argument 0. */
export function envelopesLike(sample: string): (id: string, tag: string, arg: number) => string {
  const { body, headers, properties }: FloorMessage = JSON.parse(sample);
  const content = Buffer.from(body, 'base64').toString().replace('[[0]', '[[@]');
  const blanks = { [body]: '@body', [headers.id]: '@id', [properties.delivery_tag]: '@tag' };
  let form = sample;
  for (const [text, blank] of Object.entries(blanks)) form = form.replaceAll(text, `\0${blank}\0`);
  const parts = form.split('\0');
  return (id, tag, arg) => {
    let envelope = '';
    for (const part of parts) {
      if (part === '@id') envelope += id;
      else if (part === '@tag') envelope += tag;
      else if (part === '@body') envelope += Buffer.from(content.replace('@', String(arg))).toString('base64');
      else envelope += part;
    }
    return envelope;
  };
}
