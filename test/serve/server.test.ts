/** `quamba serve` as its clients see it: OpenAI's own, and whoever sends what no client sends. */
import { connect } from 'node:net';
import fc from 'fast-check';
import OpenAI from 'openai';
import { afterAll, describe, expect, it } from 'vitest';
import { client as clientOf, EngineLost } from '../../src/serve/client.ts';
import type { WriteRequest } from '../../src/serve/protocol.ts';
import { ended } from '../open/writing.ts';
import { localServer } from './local.ts';

const served = await localServer();
const { model, address, running } = served;
afterAll(() => served.close());
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: 'none', maxRetries: 0 });
const messages = [{ role: 'user' as const, content: 'Hi' }];
const post = (path: string, body: unknown, more: RequestInit = {}) =>
  fetch(address + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...more,
  });
/** What the command line writes for the same request. */
const alone = (prompt: Int32Array, how: object) =>
  ended(model.generate(prompt, { temperature: 1, topP: 1, ...how }));
const idle = async () => {
  while (running.stats().writing > 0) await new Promise(setImmediate);
};

describe("OpenAI's client", () => {
  it('chats, and gets what the library writes', async () => {
    const answer = await client.chat.completions.create({ model: 'toy', messages, seed: 3, max_tokens: 9 });
    const { text, promptTokens, finishReason } = await alone(model.promptOf(messages), {
      seed: 3,
      maxTokens: 9,
    });
    expect(answer.choices).toMatchObject([
      { index: 0, message: { role: 'assistant', content: text }, logprobs: null },
    ]);
    expect(answer.choices[0].finish_reason).toBe(finishReason === 'length' ? 'length' : 'stop');
    expect(answer.usage).toMatchObject({ prompt_tokens: promptTokens.length });
    expect(answer.system_fingerprint).toBe(`quamba_${model.identity.slice(0, 12)}`);
  });

  it('gets the same in a stream, with the usage at its end', async () => {
    const body = { model: 'toy', messages, seed: 4, max_tokens: 12 };
    const whole = await client.chat.completions.create(body);
    const stream = await client.chat.completions.create({
      ...body,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('');
    expect(text).toBe(whole.choices[0].message.content);
    expect(chunks[0].choices[0].delta.role).toBe('assistant');
    expect(chunks.at(-2)!.choices[0].finish_reason).toBe(whole.choices[0].finish_reason);
    expect((chunks.at(-2) as unknown as { quamba: object }).quamba).toEqual(
      (whole as unknown as { quamba: object }).quamba,
    );
    expect(chunks.at(-1)!.usage!.total_tokens).toBe(whole.usage!.total_tokens);
  });

  it('completes texts and tokens, several choices of several prompts, each with its seed', async () => {
    const prompts = ['ab', 'cd'];
    const answer = await client.completions.create({
      model: 'toy',
      prompt: prompts,
      n: 2,
      seed: 5,
      max_tokens: 6,
    });
    const texts = await Promise.all(
      prompts.flatMap(prompt =>
        [5, 6].map(async seed => (await alone(model.encode(prompt), { seed, maxTokens: 6 })).text),
      ),
    );
    expect(answer.choices.map(({ text }) => text)).toEqual(texts);
    const ids = await client.completions.create({ model: 'toy', prompt: [97, 98], seed: 5, max_tokens: 6 });
    expect(ids.choices[0].text).toBe(texts[0]);
  });

  it('gets log probabilities, which add up to those of the text', async () => {
    const answer = await client.chat.completions.create({
      ...{ model: 'toy', messages, max_tokens: 5, temperature: 0, logprobs: true, top_logprobs: 3 },
    });
    const { pieces } = await alone(model.promptOf(messages), { temperature: 0, maxTokens: 5, logprobs: 3 });
    const content = answer.choices[0].logprobs!.content!;
    expect(content.map(({ logprob }) => logprob)).toEqual(pieces.map(({ logprob }) => logprob));
    expect(content.map(({ top_logprobs }) => top_logprobs.map(({ logprob }) => logprob))).toEqual(
      pieces.map(({ likeliest }) => likeliest!.map(({ logprob }) => logprob)),
    );
    const [{ token, bytes }] = content;
    expect(Buffer.from(bytes!).toString()).toBe(token);
  });

  it('is told what is wrong, in the form that it knows', async () => {
    const wrong = async (body: object) => {
      const error = await client.chat.completions.create({ model: 'toy', messages, ...body } as never).then(
        () => undefined,
        error => error,
      );
      return {
        status: error.status,
        type: error.type,
        param: error.param,
        message: error.message,
        code: error.code,
      };
    };
    expect(await wrong({ model: 'other' })).toMatchObject({
      status: 404,
      code: 'model_not_found',
      param: 'model',
    });
    expect(await wrong({ sed: 1 })).toMatchObject({
      status: 400,
      param: 'sed',
      message: '400 sed: there is no such field',
    });
    expect(await wrong({ temperature: 3 })).toMatchObject({ status: 400, param: 'temperature' });
    expect(await wrong({ messages: [] })).toMatchObject({ status: 400, param: 'messages' });
    expect(await wrong({ messages: [{ role: '' }] })).toMatchObject({
      status: 400,
      param: 'messages.0.role',
    });
    expect((await wrong({ messages: [{ role: 'user', content: '\ud800' }] })).message).toMatch(
      /lone surrogate/,
    );
    const models = await client.models.list();
    expect(models.data.map(({ id }) => id)).toEqual(['toy']);
    expect((await client.models.retrieve('toy')).id).toBe('toy');
  });

  it('that leaves frees its place at once', async () => {
    const stream = await client.chat.completions.create({
      model: 'toy',
      messages,
      max_tokens: 60,
      stream: true,
    });
    for await (const _ of stream) break;
    stream.controller.abort();
    await idle();
  });
});

it('penalties and a bias change what is drawn as the protocol says', async () => {
  const body = { prompt: 'ab', max_tokens: 8, temperature: 0, logprobs: 1 };
  const { choices } = await (await post('/v1/completions', { ...body, logit_bias: { 97: 100 } })).json();
  expect(choices[0].text).toBe('aaaaaaaa');
  const both = { ...body, logit_bias: { 97: 100, 98: 100 }, frequency_penalty: 2, max_tokens: 40 };
  expect(new Set((await (await post('/v1/completions', both)).json()).choices[0].text)).toEqual(
    new Set(['a', 'b']),
  );
});

it('every answer has the hash that it has alone, whoever else is there, comes, and leaves', async () => {
  const one = fc.record({
    prompt: fc.constantFrom('a', 'abc', 'x'.repeat(90), `${'x'.repeat(90)}y`),
    seed: fc.nat({ max: 3 }),
    max_tokens: fc.integer({ min: 1, max: 12 }),
    wait: fc.nat({ max: 20 }),
    leaves: fc.option(fc.nat({ max: 15 }), { freq: 4 }),
    stream: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(one, { minLength: 1, maxLength: 12 }), async requests => {
      const ask = async ({ wait, leaves, ...body }: (typeof requests)[number]) => {
        await new Promise(done => setTimeout(done, wait));
        const signal = leaves === null ? undefined : AbortSignal.timeout(leaves);
        try {
          const answer = await post('/v1/completions', body, { signal });
          const text = await answer.text();
          expect(answer.status).toBe(200);
          return /"answer_sha256":\["(\w+)"\]/.exec(text)![1];
        } catch (error) {
          if (!signal?.aborted) throw error;
          return undefined;
        }
      };
      const hashes = await Promise.all(requests.map(ask));
      for (const [i, hash] of hashes.entries()) {
        const { prompt, seed, max_tokens } = requests[i];
        const how = { seed, maxTokens: max_tokens, temperature: 1, topP: 1 };
        if (hash) expect(hash).toBe((await ended(model.complete(prompt, how))).answerHash);
      }
      await idle();
    }),
    { numRuns: 10 },
  );
});

describe('whoever sends what no client sends', () => {
  it.each([
    [
      'bytes that are no UTF-8',
      () => post('/v1/completions', '', { body: Uint8Array.of(0x22, 0xff, 0x22) }),
      400,
    ],
    ['no JSON', () => post('/v1/completions', '{"prompt": '), 400],
    ['too much', () => post('/v1/completions', { prompt: 'x'.repeat(200_000) }), 413],
    ['another type', () => post('/v1/completions', 'x', { headers: { 'content-type': 'text/plain' } }), 415],
    ['no body', () => post('/v1/completions', ''), 400],
    ['to nowhere', () => fetch(`${address}/v2`), 404],
    ['headers without end', () => fetch(address, { headers: { x: 'y'.repeat(100_000) } }), 431],
  ])('%s is told so', async (_, send, status) => {
    const answer = await send();
    expect(answer.status).toBe(status);
    if (status !== 431)
      expect(await answer.json()).toMatchObject({ error: { type: 'invalid_request_error' } });
  });

  it('half a request keeps nobody waiting', async () => {
    const { port } = new URL(address);
    const sockets = Array.from({ length: 50 }, () => connect(Number(port), '127.0.0.1'));
    for (const socket of sockets)
      socket.write('POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{"pro');
    for (const socket of sockets.slice(25)) socket.end();
    const answer = await post('/v1/completions', { prompt: 'a', max_tokens: 1 });
    expect(answer.status).toBe(200);
    for (const socket of sockets) socket.destroy();
  });
});

it('a stream over HTTP/1.0, which has no trailers, is whole', async () => {
  const body = JSON.stringify({ prompt: 'a', max_tokens: 2, seed: 1, stream: true });
  const { port } = new URL(address);
  const socket = connect(Number(port), '127.0.0.1');
  socket.write(
    `POST /v1/completions HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  let text = '';
  for await (const part of socket) text += part;
  expect(text).toContain('200 OK');
  expect(text).toContain('answer_sha256');
  expect(text).toMatch(/data: \[DONE\]\n\n$/);
});

describe('limits', () => {
  it('a request that finds no place is told when to come again', async () => {
    const small = await localServer({ parallel: 1, queue: 1 });
    const ask = (n: number) =>
      fetch(`${small.address}/v1/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ prompt: 'a', max_tokens: 64, seed: n }),
      });
    const answers = await Promise.all([1, 2, 3, 4, 5, 6].map(ask));
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([200, 200, 429, 429, 429, 429]);
    const refused = answers.find(({ status }) => status === 429)!;
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await refused.json()).toMatchObject({ error: { type: 'rate_limit_error' } });
    expect((await ask(7)).status).toBe(200);
    await small.close();
  });

  it('a key is asked for, but not of who only asks for health', async () => {
    const locked = await localServer({ apiKey: 'secret' });
    const status = async (path: string, key?: string) =>
      (await fetch(locked.address + path, { headers: key ? { authorization: `Bearer ${key}` } : {} })).status;
    expect([await status('/v1/models'), await status('/v1/models', 'other')]).toEqual([401, 401]);
    expect([await status('/v1/models', 'secret'), await status('/health')]).toEqual([200, 200]);
    await locked.close();
  });

  it('a model that is lost is told to all who wait for it', async () => {
    const other = await localServer();
    const asked = fetch(`${other.address}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ prompt: 'a', max_tokens: 64 }),
    });
    while (other.running.stats().writing === 0) await new Promise(setImmediate);
    other.lose('the process of the model ended (SIGKILL)');
    const answer = await asked;
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ error: { code: 'model_lost' } });
    await other.close();
  });
});

it('a request that cannot be sent, or that cannot take what comes for it, ends alone', async () => {
  const sent: object[] = [];
  let isThere = false;
  const asked = clientOf(order => {
    if (!isThere) throw new EngineLost('it is being loaded again');
    sent.push(order);
  });
  const request = {} as WriteRequest;
  const abort = new AbortController();
  const piece = () => {
    throw new Error('no');
  };
  await expect(asked.write(request, { piece }, abort.signal)).rejects.toThrow('it is being loaded again');
  abort.abort(); // nobody is there to be told
  isThere = true;
  const failing = asked.write(request, { piece }, new AbortController().signal);
  asked.take({ of: 2, piece: { text: 'a' } });
  await expect(failing).rejects.toThrow('no');
  expect(sent).toEqual([{ write: 2, request }, { cancel: 2 }]);
});

it('tells its figures', async () => {
  const text = await (await fetch(`${address}/metrics`)).text();
  expect(text).toMatch(/quamba_written_tokens_total\{model="toy"\} [1-9]/);
  expect(text).toMatch(/quamba_cached_tokens_total\{model="toy"\} [1-9]/);
  expect(text).toMatch(/quamba_writing\{model="toy"\} 0/);
  const { tokens } = await (await post('/tokenize', { text: 'ab' })).json();
  expect(tokens).toEqual([97, 98]);
});
