/** The package in a page: the files of dist/browser as they are, and quamba in a bundle of somebody's own. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { build, createLogger, type Plugin } from 'vite';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ISOLATED, root, type Site, serve } from '../scripts/serve.mjs';
import { load } from '../src/open/node.ts';
import type { FetchProgress, WebModel } from '../src/web/index.ts';
import { launch, missing, visit } from './browser.ts';

/** What package/index.html puts there, and what a test keeps. */
declare const quamba: typeof import('../src/web/index.ts');
declare global {
  var model: WebModel;
}

const PLAN = '/some/where/books/plan.quamba.safetensors';
const MOUNTS = {
  '/some/where/': 'test-web/package',
  '/some/where/quamba/': 'dist/browser',
  '/some/where/books/': 'models/mamba-books-15m',
};
const PROMPT = 'The old man';

describe.skipIf(missing)(`the package in a page of Chromium${missing}`, () => {
  let browser: Browser;
  let site: Site | undefined;
  /** What Node writes after the prompt. */
  let expected: { readonly tokens: number[]; readonly text: string };
  beforeAll(async () => {
    browser = await launch();
    const node = await load();
    const written = node.generate(PROMPT, { maxTokens: 24, temperature: 0 });
    let step = await written.next();
    while (!step.done) step = await written.next();
    expected = { tokens: [...step.value.tokens], text: step.value.text };
    node.dispose();
  });
  afterAll(() => browser?.close());
  afterEach(() => site?.close());

  async function inPage(
    use: (page: Page) => Promise<unknown>,
    {
      headers = ISOLATED as Readonly<Record<string, string>>,
      expected = undefined as RegExp | undefined,
    } = {},
  ) {
    site = await serve(MOUNTS, headers);
    await visit(browser, `${site.address}/some/where/`, use, { expected });
  }

  const open = (page: Page, threads = 1) =>
    page.evaluate(async asked => {
      const progress: FetchProgress[] = [];
      const onProgress = (now: FetchProgress) => void progress.push(now);
      model = await quamba.load('books', { threads: asked, onProgress });
      const { backend, about } = model;
      return { progress, backend, about };
    }, threads);

  const write = (page: Page) =>
    page.evaluate(async prompt => {
      let text = '';
      const tokens: number[] = [];
      for await (const piece of model.generate(prompt, { maxTokens: 24, temperature: 0 })) {
        text += piece.text;
        tokens.push(piece.token);
      }
      return { tokens, text };
    }, PROMPT);

  const plans = (method: string) =>
    site!.asked.filter(asked => asked.path === PLAN && asked.method === method).length;

  it('loads by an address, tells how far it is, and writes what Node writes; the next visit fetches nothing again', () =>
    inPage(async page => {
      const { progress } = await open(page);
      const plan = progress.filter(({ file }) => PLAN.endsWith(file));
      expect(plan.length).toBeGreaterThan(2);
      expect(plan.map(({ loaded }) => loaded)).toEqual(
        plan.map(({ loaded }) => loaded).toSorted((a, b) => a - b),
      );
      expect(plan.at(-1)!.loaded).toBe(plan[0].total);
      expect(plan.some(({ fromCache }) => fromCache)).toBe(false);
      expect(await write(page)).toEqual(expected);
      expect([plans('GET'), plans('HEAD')]).toEqual([1, 0]);

      await page.reload();
      const second = await open(page);
      expect(second.progress.every(({ fromCache }) => fromCache)).toBe(true);
      expect(await write(page)).toEqual(expected);
      expect([plans('GET'), plans('HEAD')]).toEqual([1, 1]);
    }));

  it('what onProgress throws ends the loading, and the worker', () =>
    inPage(async page => {
      const loading = page.evaluate(() =>
        quamba.load('books', {
          onProgress() {
            throw new Error('the page has no bar');
          },
        }),
      );
      await expect(loading).rejects.toThrow('the page has no bar');
      await expect.poll(() => page.workers().length).toBe(0);
    }));

  it('comes from another origin, as from a CDN, with the model', async () => {
    const cdn = await serve(MOUNTS, { 'Access-Control-Allow-Origin': '*' });
    try {
      await inPage(
        async page => {
          const there = `${cdn.address}/some/where`;
          const content = `import { load } from '${there}/quamba/quamba.js'; globalThis.model = await load('${there}/books');`;
          await page.addScriptTag({ type: 'module', content });
          await page.waitForFunction(() => globalThis.model);
          expect(await write(page)).toEqual(expected);
          await page.evaluate(() => model.dispose());
          await expect.poll(() => page.workers().length).toBe(0);
        },
        { headers: {} },
      );
      expect(cdn.asked.map(({ path }) => path)).toContain(PLAN);
      expect(plans('GET')).toBe(0);
    } finally {
      cdn.close();
    }
  });

  it.for([
    ['2 threads where memory can be shared', ISOLATED, 2],
    ['1 thread of the 2 that were asked for where it cannot', {}, 1],
  ] as const)('runs on %s', ([, headers, threads]) =>
    inPage(
      async page => {
        const { backend, about } = await open(page, 2);
        expect({ backend, threads: about?.threads }).toEqual({ backend: 'wasm', threads });
        expect(await write(page)).toEqual(expected);
        expect(page.workers().length).toBe(threads);
        await page.evaluate(() => model.dispose());
        await expect.poll(() => page.workers().length).toBe(0);
      },
      { headers },
    ),
  );

  it('no worker stays, however often a model with threads is loaded, or cannot be', () =>
    inPage(async page => {
      const sentences = await page.evaluate(async () => {
        const failed = new Set<string>();
        for (let i = 0; i < 6; i++) {
          await quamba
            .load('books', { threads: 2, files: ['config.json'] })
            .catch(({ message }) => failed.add(message));
          const ready = await quamba.load('books', { threads: 2 });
          await ready.dispose();
        }
        return [...failed];
      });
      expect(sentences).toEqual([expect.stringContaining('model.safetensors')]);
      await expect.poll(() => page.workers().length).toBe(0);
    }));

  it('a reader that stops goes on later where it stopped', () =>
    inPage(async page => {
      await open(page);
      const text = await page.evaluate(async prompt => {
        const session = await model.session();
        const options = { maxTokens: 24, temperature: 0 };
        const tokens: number[] = [];
        for await (const { token } of session.generate(prompt, options)) if (tokens.push(token) === 9) break;
        // The worker may have been ahead of its reader.
        await session.reset();
        await session.feed([...(await model.encode(prompt)), ...tokens], { logits: 'last' });
        const restored = await model.session();
        await restored.restore(await session.snapshot());
        session.close();
        for await (const { token } of restored.generate('', { ...options, maxTokens: 24 - tokens.length }))
          tokens.push(token);
        restored.close();
        return tokens;
      }, PROMPT);
      expect(text).toEqual(expected.tokens);
    }));

  it('the functions of a page see the logits and change them, as in Node', () =>
    inPage(async page => {
      await open(page);
      const seen = await page.evaluate(async prompt => {
        const rows: number[] = [];
        const pieces: { token: number; likeliest: readonly number[] }[] = [];
        const writing = model.generate(prompt, {
          maxTokens: 4,
          temperature: 0,
          logprobs: 1,
          onLogits: ({ shape }) => rows.push(shape[0]),
          logitsProcessor(logits, tokens) {
            logits[100 + tokens.length] = 1000;
            return logits;
          },
        });
        for await (const { token, likeliest } of writing)
          pieces.push({ token, likeliest: likeliest!.map(each => each.token) });
        const prompted = (await model.encode(prompt)).length;
        return { rows, pieces, prompted };
      }, PROMPT);
      const { prompted } = seen;
      expect(seen.rows).toEqual([prompted, 1, 1, 1]);
      expect(seen.pieces.map(({ token }) => token)).toEqual([0, 1, 2, 3].map(i => 100 + prompted + i));
      expect(seen.pieces[0].likeliest).toEqual([expected.tokens[0]]);
    }));

  it('answers a chat as Node does, from the states of earlier turns', () =>
    inPage(
      async page => {
        await open(page);
        const template = "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n\\n' }}{% endfor %}";
        const messages = ['How are you?', 'Where is the cat?'].map(content => ({ role: 'user', content }));
        const how = { template, maxTokens: 6, temperature: 0, hashLogits: true };
        const inPageAnswers = await page.evaluate(
          async ([messages, how]) => {
            const answers = [];
            for (let n = 1; n <= messages.length; n++) {
              const pieces = model.chat(messages.slice(0, n), how);
              let next = await pieces.next();
              while (!next.done) next = await pieces.next();
              const { text, tokens, keptTokens, logitsHash, promptTokens } = next.value;
              answers.push({
                text,
                tokens: [...tokens],
                keptTokens,
                logitsHash,
                prompt: promptTokens.length,
              });
            }
            return answers;
          },
          [messages, how] as const,
        );
        const node = await load();
        for (const [i, { prompt, ...answer }] of inPageAnswers.entries()) {
          const pieces = node.chat(messages.slice(0, i + 1), how);
          let next = await pieces.next();
          while (!next.done) next = await pieces.next();
          const { text, tokens, keptTokens, logitsHash } = next.value;
          expect(answer).toEqual({ text, tokens: [...tokens], keptTokens, logitsHash });
          expect(answer.keptTokens).toBe(i === 0 ? 0 : inPageAnswers[0].prompt);
        }
        node.dispose();
        const refused = await page.evaluate(() =>
          model
            .chat([{ role: 'user', content: 'Hi' }])
            .next()
            .then(
              () => 'answered',
              ({ message }) => message,
            ),
        );
        expect(refused).toMatch(/^books: has no chat template/);
        const asked = (name: string) => site!.asked.filter(({ path }) => path.endsWith(name)).length;
        expect(asked('chat_template.jinja')).toBe(1);
      },
      { expected: /404/ },
    ));

  it.each([
    ["model.session().then(s => s.feed('hello'))", 'feed: tokens expected an array of ids'],
    ['model.session().then(s => s.feed([1.7]))', 'feed: token 1.7 is out of range'],
    ['model.session().then(s => s.feed([NaN]))', 'feed: token NaN is out of range'],
    ['model.generate([1.7]).next()', 'token 1.7 is out of range'],
    [
      "model.generate([{ role: 'user', content: 'Hi' }]).next()",
      'prompt expected a text or token ids; got an object',
    ],
  ])('%s is refused in a sentence', (call, sentence) =>
    inPage(async page => {
      await open(page);
      const said = `${call}.then(() => 'taken', ({ message }) => message)`;
      expect(await page.evaluate(said)).toContain(sentence);
    }),
  );

  it('a signal ends the writing and the loading', () =>
    inPage(async page => {
      await open(page);
      const { reason, count } = await page.evaluate(async prompt => {
        const stop = new AbortController();
        const written = model.generate(prompt, { maxTokens: 1000, signal: stop.signal });
        let count = 0;
        for (;;) {
          const { done, value } = await written.next();
          if (done) return { reason: value.finishReason, count };
          if (++count === 5) stop.abort();
        }
      }, PROMPT);
      expect(reason).toBe('aborted');
      expect(count).toBeLessThan(1000);

      const failure = await page.evaluate(async () => {
        const stop = new AbortController();
        const loading = quamba.load('books', { cache: false, signal: stop.signal });
        stop.abort(new Error('no more'));
        return loading.then(
          () => 'loaded',
          ({ message }) => message,
        );
      });
      expect(failure).toBe('no more');
      await expect.poll(() => page.workers().length).toBe(1); // the model that was there before
    }));

  it('an option that no worker can be sent is an error, not a wait', () =>
    inPage(async page => {
      await open(page);
      const failure = await page.evaluate(
        prompt =>
          model
            .generate(prompt, { seed() {} } as object)
            .next()
            .then(
              () => 'written',
              ({ message }) => message,
            ),
        PROMPT,
      );
      expect(failure).toMatch(/could not be cloned/);
    }));

  it('an address without a model is one sentence', () =>
    inPage(
      async page => {
        const failure = await page.evaluate(() =>
          quamba.load('nowhere').then(
            () => 'loaded',
            ({ message }) => message,
          ),
        );
        expect(failure).toMatch(
          /^http:\S+\/some\/where\/nowhere\/config\.json: expected a file; the server answered 404$/,
        );
        await expect.poll(() => page.workers().length).toBe(0);
      },
      { expected: /404/ },
    ));
});

describe.skipIf(missing)(`in somebody’s bundle${missing}`, () => {
  let work: string;
  beforeAll(() => {
    work = mkdtempSync(join(tmpdir(), 'quamba-bundle-'));
  });
  afterAll(() => rmSync(work, { recursive: true }));

  it('there is nothing of Node, and it runs', async () => {
    mkdirSync(join(work, 'node_modules'));
    symlinkSync(root, join(work, 'node_modules/quamba'));
    writeFileSync(
      join(work, 'index.html'),
      '<!doctype html><title>bundle</title><link rel="icon" href="data:,"><script type="module" src="./main.js"></script>',
    );
    writeFileSync(
      join(work, 'main.js'),
      "import { load } from 'quamba';\nimport * as web from 'quamba/web';\nObject.assign(globalThis, { quamba: web, isOne: web.load === load });\n",
    );
    const warnings: string[] = [];
    const customLogger = createLogger('warn');
    customLogger.warn = customLogger.warnOnce = text => {
      if (!text.includes('PLUGIN_TIMINGS')) warnings.push(text); // a slow build is no fault of the package
    };
    const modules: string[] = [];
    const outside: string[] = [];
    const record = (): Plugin => ({
      name: 'record',
      generateBundle(_, bundle) {
        for (const chunk of Object.values(bundle).filter(output => output.type === 'chunk')) {
          modules.push(...chunk.moduleIds);
          outside.push(...[...chunk.imports, ...chunk.dynamicImports].filter(name => !(name in bundle)));
        }
      },
    });
    await build({
      root: work,
      base: './',
      configFile: false,
      logLevel: 'warn',
      customLogger,
      plugins: [record()],
      worker: { format: 'es', plugins: () => [record()] },
      // the worker is one file, since Vite's default form of workers cannot be split; half of it is kernels and their variants
      build: { target: 'es2022', chunkSizeWarningLimit: 600 },
    });
    expect(warnings).toEqual([]);
    expect(outside).toEqual([]);
    expect(modules.filter(id => /dist\/web\/(?:index|worker)\.js$/.test(id)).length).toBeGreaterThanOrEqual(
      2,
    );
    expect(modules.filter(id => /vite-browser-external|^node:/.test(id))).toEqual([]);

    const browser = await launch();
    const site = await serve({
      '/some/where/': relative(root, join(work, 'dist')),
      '/some/where/books/': 'models/mamba-books-15m',
    });
    try {
      await visit(browser, `${site.address}/some/where/`, async page => {
        expect(await page.evaluate('isOne')).toBe(true);
        const text = await page.evaluate(async () => {
          const loaded = await quamba.load('books');
          let written = '';
          for await (const piece of loaded.generate('The old man', { maxTokens: 8 })) written += piece.text;
          await loaded.dispose();
          return written;
        });
        expect(text).not.toBe('');
      });
    } finally {
      site.close();
      await browser.close();
    }
  });
});
