/** A model's files over HTTP, from servers that say wrong things, and from a cache that was damaged. */
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type FetchOptions, type FetchProgress, fetchFiles } from '../../src/web/fetch-files.ts';

const JSON_TEXT = '{ "model_type": "mamba" }';

let server: Server | undefined;
afterEach(() => {
  vi.unstubAllGlobals();
  server?.close();
  server?.closeAllConnections();
});

async function serve(answer: RequestListener): Promise<string> {
  server = createServer(answer);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/model`;
}

const config = (url: string, options?: FetchOptions) => fetchFiles(url, ['config.json'], options);

describe('a server', () => {
  it('that announces more than there can be is believed no further than its bytes', async () => {
    const url = await serve((_, response) => {
      response.writeHead(200, { 'content-length': 1e15 }).write(JSON_TEXT);
      setImmediate(() => response.destroy());
    });
    await expect(config(url)).rejects.toThrow(`${url}/config.json: could not be fetched (`);
  });

  it('that never ends a config.json is stopped after what a config can have', async () => {
    let isOpen = true;
    const url = await serve((_, response) => {
      response.on('close', () => {
        isOpen = false;
      });
      const more = () => {
        while (isOpen && response.write(' '.repeat(1 << 16)));
        response.once('drain', more);
      };
      more();
    });
    await expect(config(url)).rejects.toThrow(`${url}/config.json: expected at most 1000000 bytes; got more`);
    await expect.poll(() => isOpen).toBe(false);
  });

  it('gives any bytes, in any pieces, with or without their length', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 1000 }), { maxLength: 5 }),
        fc.boolean(),
        async (pieces, isSaid) => {
          const whole = Buffer.concat(pieces);
          const url = await serve((_, response) => {
            response.writeHead(200, isSaid ? { 'content-length': whole.length } : {});
            for (const piece of pieces) response.write(piece);
            response.end();
          });
          const seen: FetchProgress[] = [];
          const found = await fetchFiles(url, ['x.bin'], { onProgress: now => void seen.push(now) });
          server!.close();
          expect(found).toEqual({ 'x.bin': new Uint8Array(whole) });
          expect(seen.at(-1)).toMatchObject({
            loaded: whole.length,
            total: isSaid ? whole.length : undefined,
          });
        },
      ),
      { numRuns: 20 },
    ));
});

describe('what was kept', () => {
  let entries: Map<string, Response>;
  let asked: string[];
  beforeEach(() => {
    entries = new Map();
    asked = [];
    const store = {
      match: async (url: URL) => entries.get(url.href)?.clone(),
      put: async (url: URL, response: Response) => void entries.set(url.href, response),
    };
    vi.stubGlobal('caches', { open: async () => store });
  });

  const serveConfig = () =>
    serve((request, response) => {
      asked.push(request.method!);
      response.writeHead(200, { etag: '"1"' }).end(request.method === 'HEAD' ? undefined : JSON_TEXT);
    });
  const text = async (url: string, options?: FetchOptions) =>
    new TextDecoder().decode((await config(url, options))['config.json']);

  it('is taken where the server still has it, and fetched anew where that is asked for', async () => {
    const url = await serveConfig();
    for (const cache of [undefined, undefined, 'reload', undefined] as const)
      expect(await text(url, { cache })).toBe(JSON_TEXT);
    expect(asked).toEqual(['GET', 'HEAD', 'GET', 'HEAD']);
  });

  it.each<[string, (whole: string) => string | null]>([
    ['cut off', whole => whole.slice(0, 9)],
    ['empty', () => ''],
    ['without a body', () => null],
    ['with a flipped bit', whole => whole.replace('m', 'n')],
  ])('is fetched again where it is %s', async (_, damage) => {
    const url = await serveConfig();
    await config(url);
    const [[key, kept]] = entries;
    entries.set(key, new Response(damage(await kept.clone().text()), { headers: kept.headers }));
    expect(await text(url)).toBe(JSON_TEXT);
    expect(asked).toEqual(['GET', 'HEAD', 'GET']);
    expect(await text(url)).toBe(JSON_TEXT);
    expect(asked).toEqual(['GET', 'HEAD', 'GET', 'HEAD']);
  });
});
