/**
 * The wasm backend in a page of a real browser: the bits of Node's reference, with and without threads, and nothing left
 * running. The browser loads dist, as it comes, without a bundler.
 */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ExecutableInfo } from '../src/executable.ts';
import { load } from '../src/open/node.ts';
import { bytesOf, hasher } from '../src/plan/identity.ts';
import { launch, missing, visit } from './browser.ts';
import { ISOLATED, serve } from './serve.ts';

const SERVED = [
  'dist',
  'models/mamba-books-15m',
  'node_modules/@huggingface/tokenizers',
  'node_modules/@noble/hashes',
  'test-web/wasm',
];
const RECIPES = ['quamba', 'quamba-int8-head'];
const TEXT =
  'The old man looked out of the window and saw a group of young men standing by, and a little girl, who had gathered';
const FIRST_CUT = 17;

/** What wasm/page.js answers. */
interface Started {
  readonly backend: string;
  readonly about: ExecutableInfo;
}
interface Written {
  readonly tokens: number[];
  readonly bits: string;
}

describe.skipIf(missing)(`in a page of Chromium${missing}`, () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser?.close());

  async function inPage(headers: Readonly<Record<string, string>>, use: (page: Page) => Promise<void>) {
    const site = await serve(Object.fromEntries(SERVED.map(folder => [`/${folder}/`, folder])), headers);
    try {
      await visit(browser, `${site.address}/test-web/wasm/index.html`, use);
    } finally {
      site.close();
    }
  }

  const call = <T>(page: Page, name: string, ...args: readonly unknown[]): Promise<T> =>
    page.evaluate(`${name}(${args.map(arg => JSON.stringify(arg))})`);

  const expected = new Map<string, Written>();
  beforeAll(async () => {
    for (const recipe of RECIPES) {
      const model = await load(undefined, { recipe, backend: 'reference' });
      const tokens = [...model.tokenizer.encode(TEXT)];
      const hash = hasher();
      hash.update(bytesOf(model.session().feed(tokens)));
      expected.set(recipe, { tokens, bits: hash.hex() });
      model.dispose();
    }
  });

  it.for([
    ['1 thread', 1, ISOLATED, 1],
    ['3 threads', 3, ISOLATED, 3],
    ['1 thread of the 3 that were asked for, where memory cannot be shared', 3, {}, 1],
  ] as const)('has the bits of Node’s reference on %s', ([, asked, headers, threads], { annotate }) =>
    inPage(headers, async page => {
      expect(await page.evaluate('crossOriginIsolated')).toBe(headers === ISOLATED);
      for (const [recipe, written] of expected) {
        const { backend, about } = await call<Started>(page, 'start', recipe, asked);
        expect({ backend, threads: about.threads }).toEqual({ backend: 'wasm', threads });
        expect(about.kernels).toMatch(/^(?:relaxed-)?simd$/);
        await annotate(`Chromium ${browser.version()} runs ${recipe} with ${about.kernels}`);
        expect(page.workers().length).toBe(threads - 1);
        expect(await call<Written>(page, 'write', TEXT, FIRST_CUT), recipe).toEqual(written);
        await call(page, 'stop');
        await expect.poll(() => page.workers().length).toBe(0);
      }
    }),
  );

  it('a page that forbids workers gets an error, not a hang', async () => {
    const forbidding = { ...ISOLATED, 'Content-Security-Policy': "worker-src 'none'" };
    await expect(inPage(forbidding, page => call(page, 'start', 'quamba', 2))).rejects.toThrow(
      'backend wasm: a thread could not start: its script did not load',
    );
  });
});
