/** Every page of the playground as it is built: drawn, without a complaint, for everybody, on a desk and on a phone. */
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, type ExpectStatic, expect, it } from 'vitest';
import { ISOLATED, root, type Site, serve } from '../scripts/serve.mjs';
import { launch, missing, visit } from './browser.ts';

declare const axe: { run(): Promise<{ violations: Violation[] }> };
interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly help: string;
  readonly nodes: readonly { readonly html: string }[];
}

const HTML = [
  'index.html',
  'inside.html',
  ...readdirSync(join(root, 'web/lessons')).map(name => `lessons/${name}`),
];
const OTHER_MODEL = '?model=mamba2-books-15m';
const PAGES = [...HTML.filter(name => name.endsWith('.html')), `inside.html${OTHER_MODEL}`];
const AXE = join(root, 'node_modules/axe-core/axe.min.js');
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
const NARROW = { width: 360, height: 800 };
const SCREENSHOTS = process.env.SCREENSHOTS;
const BASE = '/some/where/';

describe.skipIf(missing)(`the playground in Chromium${missing}`, () => {
  let browser: Browser;
  const sites: Site[] = [];
  beforeAll(async () => {
    if (!existsSync(join(root, 'web/dist/index.html')))
      throw new Error('web/dist is missing; run npm run test:web');
    if (SCREENSHOTS) mkdirSync(SCREENSHOTS, { recursive: true });
    browser = await launch();
    for (const headers of [ISOLATED, {}]) sites.push(await serve({ [BASE]: 'web/dist' }, headers));
  });
  afterAll(async () => {
    await browser?.close();
    for (const site of sites) site.close();
  });

  // together: a page waits most of its time for what does not change any more
  describe.concurrent.each(PAGES)('%s', name => {
    it.for([
      ['light', 'isolated from other origins', 0],
      ['dark', 'not isolated', 1],
    ] as const)('in %s colours, %s', ([colorScheme, , site], { expect }) =>
      visit(
        browser,
        `${sites[site].address}${BASE}${name}`,
        async page => {
          await settled(expect, page, leastFigures(name), 2000);
          await picture(page, name, colorScheme, 'desktop');
          expect(await barriers(page)).toEqual([]);
          await page.setViewportSize(NARROW);
          await settled(expect, page);
          expect(await tooWide(page)).toEqual([]);
          await page.setViewportSize(PHONE);
          await settled(expect, page);
          await picture(page, name, colorScheme, 'phone');
          expect(await barriers(page)).toEqual([]);
        },
        {
          colorScheme,
          viewport: DESKTOP,
          reducedMotion: site === 1 ? 'reduce' : 'no-preference',
          serviceWorkers: 'block', // isolate.js would isolate it
          expected: /blocked by Playwright/,
        },
      ),
    );
  });

  it('writes what a reader asks for, stops when it is told to, and leaves nothing behind', async () => {
    const site = await serve({ [BASE]: 'web/dist' }, ISOLATED);
    try {
      await visit(browser, `${site.address}${BASE}`, async page => {
        const written = page.locator('[aria-live]').first();
        const text = async () => (await written.textContent()) ?? '';
        await expect.poll(text).not.toBe('');
        const bytes = site.asked.reduce((sum, asked) => sum + asked.bytes, 0);
        expect(bytes).toBeLessThan(20e6); // nothing of the other model

        await page.locator('input[name=maxTokens]').evaluate((input: HTMLInputElement) => {
          input.value = '2000';
        });
        const prompt = 'The captain of the ship';
        await page.getByRole('textbox', { name: 'Prompt' }).fill(prompt);
        await page.getByRole('button', { name: 'Write' }).click();
        await expect.poll(async () => (await text()).startsWith(prompt)).toBe(true);
        await expect.poll(async () => (await text()).length).toBeGreaterThan(prompt.length + 20);
        const stop = page.getByRole('button', { name: 'Stop' });
        await stop.click();
        await expect.poll(() => stop.isDisabled()).toBe(true);
        // What is written is shown once a frame.
        await page.evaluate(
          () => new Promise(shown => requestAnimationFrame(() => requestAnimationFrame(shown))),
        );
        const stopped = await text();
        expect(stopped.split(' ').length).toBeLessThan(1000);
        await page.waitForTimeout(500);
        expect(await text()).toBe(stopped);

        expect(page.workers().length).toBeGreaterThan(0);
        await page.goto('about:blank');
        await expect.poll(() => page.workers().length).toBe(0);
      });
    } finally {
      site.close();
    }
  });

  it('writes with the model that its address names', () =>
    visit(browser, `${sites[0].address}${BASE}${OTHER_MODEL}`, async page => {
      const current = page.getByRole('navigation', { name: 'Models' }).locator('[aria-current]');
      expect(await current.textContent()).toBe('mamba2-books-15m');
      const written = page.locator('[aria-live]').first();
      await expect.poll(async () => ((await written.textContent()) ?? '').length).toBeGreaterThan(60);
      expect(await page.locator('#main').innerText()).toContain('4,870 kB');
    }));

  it('the lesson about Mamba-2 answers to the keyboard', () =>
    visit(browser, `${sites[0].address}${BASE}lessons/mamba-2.html`, async page => {
      await settled(expect, page, 9);
      const said = page.locator('#said');
      const stays = async () => Number((await said.textContent())!.match(/exp\(ΔA\) = (\d(?:\.\d+)?)/)![1]);
      const before = await stays();
      await page.locator('#all').focus();
      for (let i = 0; i < 4; i++) await page.keyboard.press('ArrowRight');
      const more = await stays();
      expect(more).toBeLessThan(before);
      await page.keyboard.press('Shift+Tab');
      await page.keyboard.press('ArrowRight');
      await expect.poll(() => said.textContent()).toMatch(/^Token 8,/);
      await page.locator('#head').selectOption('3');
      await expect.poll(stays).toBeGreaterThan(more);
      expect(await page.locator('#spread').innerText()).toMatch(/kurtosis\s+1,\d{3}\s+\d{3}\s+2\.\d+/);
    }));
});

/** What a page draws without being asked: the first one nothing, Look inside one thing after the other. */
const leastFigures = (name: string): number =>
  name.startsWith('index') ? 0 : name.startsWith('inside') ? 11 : 1;

/** Waits until all figures are drawn, at least so many, nothing is busy and nothing has changed for that long. `expect`: of the test that asks. */
async function settled(expect: ExpectStatic, page: Page, least = 0, milliseconds = 1000): Promise<void> {
  let before = '';
  let since = 0;
  await expect
    .poll(
      async () => {
        const now = await page.evaluate(() => {
          const figures = [...document.querySelectorAll<HTMLElement>('figure.figure')];
          const drawn = figures.filter(({ dataset }) => dataset.rendered === 'true').length;
          const { innerText, scrollHeight } = document.body;
          const busy = document.querySelectorAll('[aria-busy=true]').length;
          return {
            figures: figures.length,
            drawn,
            looks: `${figures.length} ${busy} ${scrollHeight} ${innerText}`,
            busy,
          };
        });
        if (now.looks !== before) since = performance.now();
        before = now.looks;
        const isStill = performance.now() - since > milliseconds;
        return isStill && now.busy === 0 && now.figures >= least && now.drawn === now.figures
          ? 'settled'
          : `${now.drawn} of ${now.figures} figures drawn${isStill ? '' : ', still changing'}`;
      },
      { interval: 250 },
    )
    .toBe('settled');
}

/** What axe finds in the way of somebody: only what is serious or worse. */
async function barriers(page: Page): Promise<string[]> {
  await page.addScriptTag({ path: AXE });
  const { violations } = await page.evaluate(() => axe.run());
  return violations
    .filter(({ impact }) => /^(?:serious|critical)$/.test(impact))
    .map(
      ({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 120))}`,
    );
}

/** What makes the page itself scroll sideways. */
const tooWide = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    const wide = [...document.querySelectorAll('body *')]
      .filter(element => !element.closest('pre, figure')) // which scroll inside themselves
      .filter(element => element.getBoundingClientRect().right > clientWidth + 1)
      .map(element => element.outerHTML.slice(0, 80));
    return [`${scrollWidth} px of ${clientWidth}`, ...wide.slice(0, 5)];
  });

async function picture(page: Page, name: string, colours: string, device: string): Promise<void> {
  if (!SCREENSHOTS) return;
  const file = `${name
    .replace(/^lessons\//, '')
    .replace('.html', '')
    .replace(/\W+/g, '-')}-${colours}-${device}.png`;
  await page.screenshot({ path: join(SCREENSHOTS, file), fullPage: true });
}
