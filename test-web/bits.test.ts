/**
 * Every recipe has the bits of golden/hashes.json in Chromium, in an isolated page with threads that quantizes the float weights
 * itself. A page that is not isolated and loads the plan that Node made has them too: in one recipe of each kind, since it runs the
 * same kernels on one thread, which test/golden/logits.ts does in every recipe. Of the other models the recipes are compared whose
 * statistics come with the model.
 */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { calibrationOf, known, knownOf } from '../golden/hashes.mjs';
import { ISOLATED, root, type Site, serve } from '../scripts/serve.mjs';
import { savePlan } from '../src/index.ts';
import { EMBEDDED_MODEL, load } from '../src/open/node.ts';
import { launch, missing, visitor } from './browser.ts';

/** What package/index.html puts there. */
declare const quamba: typeof import('../src/web/index.ts');

/** Beside those that Node calibrates: in float, with scales known beforehand, with scales by token, with states in 8 bits. */
const ALONE = ['fp32', 'quamba', 'dynamic-rotated-rows', 'quamba-int8-state'];

/** Their folders in the page. */
const OTHERS = {
  mamba2: knownOf('mamba2-books-15m'),
  granite: knownOf('granite-h-books-20m'),
};

describe.skipIf(missing)(`the bits of golden/hashes.json in Chromium${missing}`, () => {
  let work: string;
  const sites: Site[] = [];
  let browser: Browser;
  let isolated: Page;
  let alone: Page;

  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), 'quamba-bits-'));
    for (const file of ['config.json', 'tokenizer.json'])
      symlinkSync(join(EMBEDDED_MODEL, file), join(work, file));
    browser = await launch();
    const visited = async (headers: Readonly<Record<string, string>>) => {
      const mounts = {
        '/': 'test-web/package',
        '/quamba/': 'dist/browser',
        '/books/': 'models/mamba-books-15m',
        ...Object.fromEntries(Object.entries(OTHERS).map(([folder, { model }]) => [`/${folder}/`, model])),
        '/plans/': relative(root, work),
      };
      const site = await serve(mounts, headers);
      sites.push(site);
      const page = await (await visitor(browser)).newPage();
      await page.goto(site.address);
      return page;
    };
    isolated = await visited(ISOLATED);
    alone = await visited({});
  });
  afterAll(async () => {
    await browser?.close();
    for (const site of sites) site.close();
    rmSync(work, { recursive: true });
  });

  const bitsIn = (
    page: Page,
    folder: string,
    options: { recipe: string; files?: string[]; cache?: boolean },
    { text, positions } = known,
  ) =>
    page.evaluate(
      async ([folder, options, { text, positions }]) => {
        const model = await quamba.load(folder, { threads: 2, ...options });
        const tokens = (await model.encode(text)).slice(0, positions);
        const session = await model.session();
        const digest = await crypto.subtle.digest('SHA-256', (await session.feed(tokens)).data.slice());
        await model.dispose();
        const bits = Array.from(new Uint8Array(digest), byte => byte.toString(16).padStart(2, '0')).join('');
        return { bits, threads: model.about?.threads };
      },
      [folder, options, { text, positions }] as const,
    );

  async function writePlan(recipe: string, file: string): Promise<void> {
    const { plan, info, dispose } = await load(undefined, { recipe, ...calibrationOf(recipe) });
    writeFileSync(join(work, file), Buffer.concat([...savePlan(plan, info)]));
    dispose();
  }

  it.each(Object.entries(known.logits))('%s', async (recipe, bits) => {
    const plan = `plan.${recipe}.safetensors`;
    const ready = { recipe, files: ['config.json', 'tokenizer.json', plan], cache: false };
    const isCalibrated = known.calibrated.includes(recipe); // for which files are needed that do not come with the model
    const isAlone = isCalibrated || ALONE.includes(recipe);
    const [own] = await Promise.all([
      isCalibrated ? undefined : bitsIn(isolated, '/books', { recipe }), // while Node makes the plan
      isAlone && writePlan(recipe, plan),
    ]);
    expect(own ?? (await bitsIn(isolated, '/plans', ready))).toEqual({ bits, threads: 2 });
    if (isAlone) expect(await bitsIn(alone, '/plans', ready)).toEqual({ bits, threads: 1 });
    rmSync(join(work, plan), { force: true });
  });

  describe.each(Object.entries(OTHERS))('%s', (folder, model) => {
    const ofModel = Object.entries(model.logits).filter(([recipe]) => !model.calibrated.includes(recipe));
    it.each(ofModel)('%s', async (recipe, bits) =>
      expect(await bitsIn(isolated, `/${folder}`, { recipe }, model)).toEqual({ bits, threads: 2 }),
    );
  });

  it('the hybrid with an int8 cache, in a page that is not isolated', async () => {
    const recipe = 'quamba-ssd-int8-kv';
    const { logits } = OTHERS.granite;
    expect(await bitsIn(alone, '/granite', { recipe }, OTHERS.granite)).toEqual({
      bits: logits[recipe],
      threads: 1,
    });
  });

  it('the plan that comes with Mamba-2, in a page that is not isolated', async () => {
    const ready = { recipe: 'quamba', files: ['config.json', 'tokenizer.json', 'plan.quamba.safetensors'] };
    expect(await bitsIn(alone, '/mamba2', ready, OTHERS.mamba2)).toEqual({
      bits: OTHERS.mamba2.logits.quamba,
      threads: 1,
    });
  });
});
