/** `quamba pull` from a server that means harm, or is broken: it ends, with a sentence, and has not taken much. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hubSettings } from '../../src/hub/cache.ts';
import { type PullOptions, pull } from '../../src/hub/pull.ts';
import { hubRequest, LIMITS } from '../../src/hub/request.ts';
import { workFolder } from '../cli/run.ts';
import { json, toyFiles } from '../cli/toy.ts';
import { COMMANDS } from '../formats/file.ts';
import { type Hub, startHub } from './server.ts';

const work = workFolder();
const TOY = 'state-spaces/toy-hf';
const HARM = '\x1b]0;owned\x07\x9b31m\u202e\nquamba: all is well';
const { 'model.safetensors': weights, ...noWeights } = toyFiles();
const index = (name: string) => ({
  ...noWeights,
  'model.safetensors.index.json': json({ weight_map: { a: name } }),
});

let hub: Hub;
let run = 0;
let waits: number[];
beforeEach(async () => {
  waits = [];
  hub = await startHub({
    [TOY]: { ...noWeights, 'model.safetensors': weights },
    'a/harm': index(HARM),
    'a/long': index('x'.repeat(3e6)),
  });
});
afterEach(() => hub.close());

const settings = (more = {}) => ({
  endpoint: hub.endpoint,
  cache: join(work, `hub-${run}`),
  offline: false,
  ...more,
});
/** Nothing waits here; what would have been waited is kept. */
const wait = async (milliseconds: number) => void waits.push(milliseconds);
function attempt(model = TOY, options: PullOptions = {}) {
  run++;
  return pull(model, { settings: settings(), pause: 1, wait, ...options });
}
async function refusal(model?: string, options?: PullOptions): Promise<string> {
  const { message } = await attempt(model, options).then(
    () => new Error('it was pulled'),
    (failure: Error) => failure,
  );
  expect(message).not.toMatch(COMMANDS);
  expect(message.length).toBeLessThan(2000);
  return message.replaceAll(hub.endpoint, 'HUB');
}
type Answer = (request: IncomingMessage, response: ServerResponse) => unknown;
/** The requests of this kind are answered so. */
const answer = (of: string, how: Answer) => {
  hub.faults.answer = (request, response, kind) => {
    if (kind !== of) return false;
    how(request, response);
    return true;
  };
};

describe.each(['revision', 'tree'])('an answer of the API (%s)', kind => {
  it('without end is left', async () => {
    answer(kind, (_, response) => {
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536, ' ')));
      };
      response.writeHead(200, { 'content-type': 'application/json' }).on('drain', more);
      more();
    });
    expect(await refusal(TOY, { limits: { ...LIMITS, bytes: 1_000_000 } })).toBe(
      `${TOY}: HUB lists its files without end (more than 1000000 bytes)`,
    );
  });

  it.each([429, 500, 503])('%i is asked for again, as long as the server says', async status => {
    let left = 2;
    hub.faults.answer = (_, response, of) => {
      if (of !== kind || left-- <= 0) return false;
      response.writeHead(status, { 'retry-after': left === 1 ? '7' : 'Thu, 01 Jan 1970 00:00:00 GMT' }).end();
      return true;
    };
    expect((await attempt()).files).toHaveLength(2);
    expect(waits).toEqual([7000, 4]);
  });

  it('is given up after some attempts, and at once where the server wants us to wait for long', async () => {
    answer(kind, (_, response) => response.writeHead(503).end());
    expect(await refusal(TOY, { attempts: 3 })).toBe(`${TOY}: HUB answers 503: the answer is an error`);
    expect(waits).toEqual([2, 4]);
    waits = [];
    answer(kind, (_, response) => response.writeHead(429, { 'retry-after': '3600' }).end());
    expect(await refusal()).toBe(
      `${TOY}: HUB answers 429: too many requests; it asks for 3600 s of patience, so try again later`,
    );
    expect(waits).toEqual([]);
  });

  it('that is no JSON is told without what a terminal would obey', async () => {
    answer(kind, (_, response) => response.end(HARM));
    expect(await refusal()).toMatch(/^state-spaces\/toy-hf: HUB does not answer as the hub does \(/);
  });
});

describe('a list of files', () => {
  it('without end is left', async () => {
    const link = `<${hub.endpoint}/api/models/${TOY}/tree/main?again>; rel="next"`;
    answer('tree', (_, response) => response.writeHead(200, { link }).end('[]'));
    expect(await refusal(TOY, { limits: { ...LIMITS, requests: 10 } })).toBe(
      `${TOY}: HUB lists its files without end (more than 10 requests)`,
    );
    expect(hub.requests).toHaveLength(10);
  });

  it('does not go on at another server', async () => {
    const other = await startHub({});
    const link = `<${other.endpoint}/api/models/${TOY}/tree/main>; rel="next"`;
    answer('tree', (_, response) => response.writeHead(200, { link }).end('[]'));
    expect(await refusal()).toBe(
      `${TOY}: the list of its files goes on at ${other.endpoint}/api/models/${TOY}/tree/main, which is not HUB`,
    );
    await other.close();
    expect(other.requests).toEqual([]);
  });

  it('may name a configuration of any size, which is not fetched', async () => {
    const entries = [{ type: 'file', path: 'config.json', size: 1e15, oid: 'a'.repeat(40) }];
    answer('tree', (_, response) => response.end(JSON.stringify(entries)));
    expect(await refusal()).toBe(`${TOY}/config.json: expected at most 1000000 bytes; got 1000000000000000`);
  });
});

describe('an answer that hardly comes', () => {
  const limits = { ...LIMITS, window: 20, least: 1000 };
  const read = async () => {
    const { body } = await hubRequest(TOY, settings(), `${hub.endpoint}/${TOY}/resolve/main/x`, {}, limits);
    for await (const _ of body);
  };
  it.each<[string, Answer]>([
    ['never', () => {}],
    ['and stops', (_, response) => response.write('{')],
    [
      'a byte now and then',
      (_, response) => {
        const timer = setInterval(() => response.write(' '), 5);
        response.writeHead(200).on('close', () => clearInterval(timer));
      },
    ],
  ])('%s is left', async (_, how) => {
    answer('resolve', how);
    await expect(read()).rejects.toThrow(`${TOY}: ${hub.endpoint} sends too little in 0.02 s`);
  });

  it('because the connection breaks all the time is left too', async () => {
    Object.assign(hub.faults, { breakAfter: 10, breaks: 999, arrived: () => true });
    await refusal(TOY, { attempts: 3 });
    expect(hub.requests.filter(({ cdn }) => cdn)).toHaveLength(3);
  });
});

describe('words of others', () => {
  it('x-error-code', async () => {
    for (const code of ['__proto__', 'constructor', 'toString']) {
      answer('resolve', (_, response) => response.writeHead(403, { 'x-error-code': code }).end());
      expect(await refusal()).toBe(
        `${TOY}/config.json: HUB answers 403: access is refused; set HF_TOKEN to a token that may read it`,
      );
    }
  });

  it('the names of shards', async () => {
    expect(await refusal('a/harm')).toContain('a/harm: has no \\u001b]0;owned');
    expect(await refusal('a/long')).toMatch(/^a\/long: has no x+…$/);
  });
});

describe('settings', () => {
  it.each(['hf_SECRET\nhf_SECOND', 'hf_SECRET\r\nx', 'hf_SECRET x', 'hf_SECRET\x1b', 'hf_SECRETä'])(
    'a token such as %j is refused without its text',
    async token => {
      const { tokenFrom, token: found } = hubSettings({ HF_TOKEN: token });
      const sentence = await refusal(TOY, { settings: settings({ token: found, tokenFrom }) });
      expect(sentence).toBe(
        'HF_TOKEN: is no token; a line break or another character is in it that no token has',
      );
      expect(hub.requests).toEqual([]);
    },
  );

  it.each(['https://me:SECRET@mirror', 'nonsense', 'file:///etc', 'ftp://x'])(
    'an endpoint such as %s',
    async endpoint => {
      expect(await refusal(TOY, { settings: settings({ endpoint }) })).toBe(
        'HF_ENDPOINT: expected the address of a hub, such as https://huggingface.co, without a password',
      );
    },
  );

  it('a proxy that Node does not follow is named where nobody answers', async () => {
    const { proxy } = hubSettings({ https_proxy: 'http://user:SECRET@proxy' });
    const nobody = await startHub({});
    await nobody.close();
    expect(await refusal(TOY, { settings: settings({ endpoint: nobody.endpoint, proxy }) })).toBe(
      `${TOY}: ${nobody.endpoint} cannot be reached (ECONNREFUSED); is there a network? ` +
        'https_proxy is set, but Node follows it only from 22.21 or 24 on, with NODE_USE_ENV_PROXY=1',
    );
    expect(waits).toEqual([]);
    expect(hubSettings({}).proxy).toBeUndefined();
  });
});
