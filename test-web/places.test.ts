/** Pages and servers that do not give all: compressed answers of another origin, content policies, damaged caches, lost workers. */
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ISOLATED, type Site, serve } from '../scripts/serve.mjs';
import type { WebLoadOptions, WebModel } from '../src/web/index.ts';
import { launch, missing, visit } from './browser.ts';

declare const quamba: typeof import('../src/web/index.ts');

const MODEL = 'models/mamba-books-15m';
const CODE = { '/page/': 'test-web/package', '/page/quamba/': 'dist/browser' };
const MOUNTS = { ...CODE, '/page/books/': MODEL };
const policy = (...words: string[]) => ({
  'Content-Security-Policy': `default-src 'self'; ${words.join('; ')}`,
});
const WASM = "script-src 'self' 'wasm-unsafe-eval' 'unsafe-inline'";

describe.skipIf(missing)(`in a page of Chromium${missing}`, () => {
  let browser: Browser;
  let site: Site | undefined;
  let other: Server | undefined;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser?.close());
  afterEach(() => {
    site?.close();
    other?.close();
    other?.closeAllConnections();
    other = undefined;
  });

  async function inPage(
    use: (page: Page) => Promise<unknown>,
    {
      mounts = MOUNTS as Record<string, string>,
      headers = {} as Readonly<Record<string, string>>,
      answers = {},
    } = {},
    expected?: RegExp,
  ) {
    site = await serve(mounts, headers, answers);
    await visit(browser, `${site.address}/page/`, use, { expected });
  }

  /** What a model says of itself and writes, or why there is none. */
  const written = (page: Page, url: string | undefined, options: WebLoadOptions = {}, maxTokens = 2) =>
    page.evaluate(
      async ([address, how, most]) => {
        let model: WebModel | undefined;
        try {
          model = await quamba.load(address, how);
          let text = '';
          const pieces = model.generate('The old man', { maxTokens: most, temperature: 0 });
          for await (const piece of pieces) text += piece.text;
          const { backend, about, notes } = model;
          return { text, backend, threads: about?.threads, notes };
        } catch (error) {
          return { error: (error as Error).message };
        } finally {
          await model?.dispose();
        }
      },
      [url, options, maxTokens] as const,
    );

  it.each([
    ['hides that it compresses', {}],
    ['tells that it compresses', { 'access-control-expose-headers': 'content-encoding' }],
  ])('a server of another origin that %s gives a model', async (_, exposed) => {
    other = createServer((request, response) => {
      const file = request.url!.split('/').at(-1)!;
      const bytes = gzipSync(readFileSync(`${MODEL}/${file}`), { level: 1 });
      const headers = { 'access-control-allow-origin': '*', 'content-encoding': 'gzip', ...exposed };
      response.writeHead(200, { ...headers, 'content-length': bytes.length });
      response.end(request.method === 'HEAD' ? undefined : bytes);
    });
    await once(other.listen(0, '127.0.0.1'), 'listening');
    const there = `http://127.0.0.1:${(other.address() as AddressInfo).port}/books`;
    await inPage(async page => {
      expect(await written(page, there)).toEqual({ text: "'s face", backend: 'wasm', threads: 1, notes: [] });
    });
  });

  it('a policy without blob: gives one thread, and says why', () =>
    inPage(
      async page => {
        const { notes, ...ran } = await written(page, 'books', { threads: 2 });
        expect(ran).toEqual({ text: "'s face", backend: 'wasm', threads: 1 });
        expect(notes).toEqual([
          'has 1 of 2 threads: a thread could not start: a Content-Security-Policy must allow it (worker-src blob:)',
        ]);
      },
      { headers: { ...ISOLATED, ...policy(WASM) } },
      /Content Security Policy/,
    ));

  it('a policy without wasm-unsafe-eval gives the reference, and says why', () =>
    inPage(
      async page => {
        const { notes, ...ran } = await written(page, 'books');
        expect(ran).toEqual({ text: "'s face", backend: 'reference', threads: undefined });
        expect(notes).toEqual([
          "runs on the reference, which is slow: WebAssembly may not be compiled here; a Content-Security-Policy must allow it (script-src 'wasm-unsafe-eval')",
        ]);
      },
      { headers: policy("script-src 'self' 'unsafe-inline'") },
      /Content Security Policy/,
    ));

  it('no more threads than the machine has', () =>
    inPage(
      async page => {
        const most = await page.evaluate('navigator.hardwareConcurrency');
        const { threads, notes } = await written(page, 'books', { threads: 1000 });
        expect(threads).toBe(most);
        expect(notes).toEqual([`has ${most} of 1000 threads: this machine runs ${most} at once`]);
      },
      { headers: ISOLATED },
    ));

  it('what is no address and no option is refused in a sentence', () =>
    inPage(async page => {
      const refused = async (url: unknown, options: object) =>
        (await written(page, url as string, options)).error;
      expect(await refused('books', { recpe: 'quamba' })).toMatch(
        /^load: no field "recpe" \(did you mean recipe\?\); expected recipe, /,
      );
      expect(await refused({ recipe: 'quamba' }, {})).toBe(
        "load: expected the address of a model's folder; got an object",
      );
      expect(await refused('books', { worker: 7 })).toBe(
        'load: worker: expected the address of a script; got 7',
      );
      expect(await refused('books', { threads: 1.5 })).toMatch(
        /^load: threads expected a whole number >= 1; got 1.5/,
      );
      await expect.poll(() => page.workers().length).toBe(0);
    }));

  it('a worker that no bundler took along is told with its address, and comes from one that is given', async () => {
    const others = readdirSync('dist/browser').filter(file => file !== 'worker.js');
    const alone = {
      '/page/': 'test-web/package',
      ...Object.fromEntries(others.map(file => [`/page/quamba/${file}`, `dist/browser/${file}`])),
      '/elsewhere/': 'dist/browser',
      '/page/books/': MODEL,
    };
    await inPage(
      async page => {
        const { error } = await written(page, 'books');
        expect(error).toBe(
          `quamba: the worker's script did not load; it was looked for at ${site!.address}/page/quamba/worker.js, where no bundler took it along; the option worker of load says where it is (a Content-Security-Policy must allow it: worker-src)`,
        );
        const { error: lost } = await written(page, 'books', { worker: '/nowhere.js' });
        expect(lost).toContain(`it was looked for at ${site!.address}/nowhere.js (`);
        const { text } = await written(page, 'books', { worker: '/elsewhere/worker.js' });
        expect(text).toBe("'s face");
      },
      { mounts: alone },
      /404/,
    );
  });

  it('a file that was kept and is no longer what it should be is fetched again, though the server calls it the same', async () => {
    let isWell = false;
    const whole = readFileSync(`${MODEL}/config.json`, 'utf8');
    const answers = { '/page/books/config.json': () => (isWell ? whole : whole.slice(0, 20)) };
    await inPage(
      async page => {
        const { error } = await written(page, 'books', {}, 1);
        expect(error).toContain('books/config.json: expected JSON');
        isWell = true;
        expect((await written(page, 'books', {}, 1)).text).toBe("'s");
      },
      { answers, headers: { etag: '"the same"' } },
    );
  });
});
