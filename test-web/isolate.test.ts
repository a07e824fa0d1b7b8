/** web/public/isolate.js: threads in a page whose server sends no headers. */
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ISOLATED, type Site, serve } from '../scripts/serve.mjs';
import { launch, missing, visit } from './browser.ts';

/** What isolate/index.html puts there. */
declare const quamba: typeof import('../src/web/index.ts');

const BASE = '/some/where/';
const MOUNTS = {
  [BASE]: ['test-web/isolate', 'web/public'],
  [`${BASE}quamba/`]: 'dist/browser',
  [`${BASE}books/`]: 'models/mamba-books-15m',
};

/** After so many milliseconds a page tries again. */
const SOON = 5000;

describe.skipIf(missing)(`a service worker isolates a page of Chromium${missing}`, () => {
  let browser: Browser;
  let site: Site;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser?.close());
  beforeEach(async () => {
    site = await serve(MOUNTS);
  });
  afterEach(() => site.close());

  const asked = (path: string, method = 'GET') =>
    site.asked.filter(one => one.path === BASE + path && one.method === method).length;

  /** Waits out the second loading. */
  async function isolated(page: Page) {
    await page.waitForFunction('crossOriginIsolated && globalThis.quamba');
    await page.waitForTimeout(300);
    expect(await page.evaluate('crossOriginIsolated')).toBe(true);
  }

  const write = (page: Page) =>
    page.evaluate(async () => {
      const model = await quamba.load('books', { threads: 2 });
      let text = '';
      for await (const piece of model.generate('The old man', { maxTokens: 12, temperature: 0 }))
        text += piece.text;
      await model.dispose();
      return { threads: model.about?.threads, text };
    });

  it('after one loading more, for all visits and all pages of the site; the model is fetched once', () =>
    visit(browser, site.address + BASE, async page => {
      await isolated(page);
      expect(asked('')).toBe(2);
      const written = await write(page);
      expect(written).toEqual({ threads: 2, text: expect.stringMatching(/\w/) });

      await page.reload();
      await isolated(page);
      expect(asked('')).toBe(3);
      expect(await write(page)).toEqual(written);
      expect(asked('books/plan.quamba.safetensors')).toBe(1);
      expect(asked('books/plan.quamba.safetensors', 'HEAD')).toBe(1);

      await page.goto(`${site.address}${BASE}lessons/`);
      expect(await page.evaluate('crossOriginIsolated')).toBe(true);
    }));

  it('after a reload that passes the worker by; where all do, there is no loop', () =>
    visit(browser, site.address + BASE, async page => {
      await isolated(page);
      const session = await page.context().newCDPSession(page);
      await page.waitForTimeout(SOON);
      await session.send('Page.reload', { ignoreCache: true });
      await expect.poll(() => asked('')).toBe(4);
      await isolated(page);

      await page.waitForTimeout(SOON);
      await session.send('Network.enable');
      await session.send('Network.setBypassServiceWorker', { bypass: true });
      await page.reload();
      await expect.poll(() => asked('')).toBe(6);
      await page.waitForTimeout(1000);
      expect(await page.evaluate('crossOriginIsolated')).toBe(false);
      expect(asked('')).toBe(6);
    }));

  it.each(['index.html', 'inside.html'])('the playground’s %s too', async name => {
    const playground = await serve({ [BASE]: 'web/dist' });
    try {
      await visit(browser, playground.address + BASE + name, async page => {
        await page.waitForFunction('crossOriginIsolated && document.readyState === "complete"');
        await expect.poll(() => page.workers().length).toBeGreaterThan(0);
        await page.waitForTimeout(2000);
        expect(playground.asked.filter(({ path }) => path === BASE + name).length).toBe(2);
      });
    } finally {
      playground.close();
    }
  });

  it('where there can be no worker, the page stays as it is: one thread', () =>
    visit(
      browser,
      site.address + BASE,
      async page => {
        await page.waitForFunction('globalThis.quamba');
        await page.waitForTimeout(500);
        expect(await write(page)).toMatchObject({ threads: 1 });
        expect(asked('')).toBe(1);
      },
      { serviceWorkers: 'block', expected: /blocked by Playwright/ },
    ));

  it('where the server sends the headers, there is none', async () => {
    const sending = await serve(MOUNTS, ISOLATED);
    try {
      await visit(browser, sending.address + BASE, async page => {
        await isolated(page);
        const workers = await page.evaluate(
          async () => (await navigator.serviceWorker.getRegistrations()).length,
        );
        expect(workers).toBe(0);
        expect(sending.asked.filter(({ path }) => path === BASE).length).toBe(1);
      });
    } finally {
      sending.close();
    }
  });
});
