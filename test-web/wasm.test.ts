/**
 * The wasm backend in a page of a real browser: the bits of golden/hashes.json, with and without threads, and nothing left
 * running. The browser loads dist, as it comes, without a bundler.
 */
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { known } from '../golden/hashes.mjs';
import { ISOLATED, serve } from '../scripts/serve.mjs';
import type { ExecutableInfo } from '../src/executable.ts';
import { launch, missing, visit } from './browser.ts';

const SERVED = [
  'dist',
  'models/mamba-books-15m',
  'node_modules/@huggingface/jinja',
  'node_modules/@huggingface/tokenizers',
  'node_modules/@noble/hashes',
  'test-web/wasm',
];
const RECIPES = ['quamba', 'quamba-int8-head'];
const FIRST_CUT = 17;

/** What wasm/page.js answers. */
interface Started {
  readonly backend: string;
  readonly about: ExecutableInfo;
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

  it.for([
    ['1 thread', 1, ISOLATED, 1],
    ['2 threads', 2, ISOLATED, 2], // more than there are processors are not started
    ['1 thread of the 2 that were asked for, where memory cannot be shared', 2, {}, 1],
  ] as const)('has the bits of golden/hashes.json on %s', ([, asked, headers, threads], { annotate }) =>
    inPage(headers, async page => {
      expect(await page.evaluate('crossOriginIsolated')).toBe(headers === ISOLATED);
      for (const recipe of RECIPES) {
        const { backend, about } = await call<Started>(page, 'start', recipe, asked);
        expect({ backend, threads: about.threads }).toEqual({ backend: 'wasm', threads });
        expect(about.kernels).toMatch(/^(?:relaxed-)?simd$/);
        await annotate(`Chromium ${browser.version()} runs ${recipe} with ${about.kernels}`);
        expect(page.workers().length).toBe(threads - 1);
        const bits = await call<string>(page, 'write', known.text, known.positions, FIRST_CUT);
        expect(bits, recipe).toBe(known.logits[recipe]);
        await call(page, 'stop');
        await expect.poll(() => page.workers().length).toBe(0);
      }
    }),
  );
});
