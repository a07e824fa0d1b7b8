/** Every recipe has the same bits in Node's reference, in Node's wasm, and in a page with threads and without. */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openFolder } from '../src/formats/disk.ts';
import { bytesOf, hasher } from '../src/identity.ts';
import { EMBEDDED_MODEL, load } from '../src/load.ts';
import type { ModelOptions } from '../src/open-model.ts';
import { openFloatModel } from '../src/open-model.ts';
import { needsCalibration } from '../src/quant/calibrate.ts';
import { savePlan } from '../src/quant/checkpoint.ts';
import { recipes } from '../src/quant/recipes.ts';
import { launch, missing } from './browser.ts';
import { ISOLATED, root, type Site, serve } from './serve.ts';

/** What package/index.html puts there. */
declare const quamba: typeof import('../src/web/index.ts');

const POSITIONS = 64;
const TEXT = 'The old man looked out of the window and saw a ship upon the sea. '.repeat(8);
/** Of recipes whose scales do not come with the model; the bits are what is asked for, not the quality. */
const BRIEF = { samples: 2, window: 64 };

const embedded = openFolder(EMBEDDED_MODEL);
const { program } = openFloatModel(embedded);
const comesReady = (name: string) =>
  embedded.list().some(file => /^(?:plan|stats)\./.test(file) && file.includes(`.${name}.`));
const needsPlan = Object.entries(recipes)
  .filter(([name, scheme]) => needsCalibration(program, scheme) && !comesReady(name))
  .map(([name]) => name);

describe.skipIf(missing)(`the same bits in Node and in Chromium${missing}`, () => {
  const work = mkdtempSync(join(tmpdir(), 'quamba-bits-'));
  let browser: Browser;
  const sites: Site[] = [];
  const pages: Page[] = [];
  let tokens: number[];

  beforeAll(async () => {
    for (const file of ['config.json', 'tokenizer.json'])
      symlinkSync(join(EMBEDDED_MODEL, file), join(work, file));
    browser = await launch();
    for (const headers of [ISOLATED, {}]) {
      const mounts = {
        '/': 'test-web/package',
        '/quamba/': 'dist/browser',
        '/books/': 'models/mamba-books-15m',
        '/plans/': relative(root, work),
      };
      const site = await serve(mounts, headers);
      const page = await browser.newPage();
      await page.goto(site.address);
      sites.push(site);
      pages.push(page);
    }
    const model = await load();
    tokens = [...model.tokenizer.encode(TEXT)].slice(0, POSITIONS);
    model.dispose();
    expect(tokens.length).toBe(POSITIONS);
  });
  afterAll(async () => {
    await browser?.close();
    for (const site of sites) site.close();
    rmSync(work, { recursive: true });
  });

  async function inNode(folder: string | undefined, options: ModelOptions) {
    const model = await load(folder, options);
    const hash = hasher();
    hash.update(bytesOf(model.session().feed(tokens)));
    model.dispose();
    return hash.hex();
  }

  const inPage = (page: Page, recipe: string, ready: boolean) =>
    page.evaluate(
      async ([recipe, tokens, folder, files]) => {
        const model = await quamba.load(folder, { recipe, threads: 2, files });
        const session = await model.session();
        const { data } = await session.feed(tokens);
        const digest = await crypto.subtle.digest(
          'SHA-256',
          new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        );
        await model.dispose();
        const bits = Array.from(new Uint8Array(digest), byte => byte.toString(16).padStart(2, '0')).join('');
        return { bits, threads: model.about?.threads };
      },
      [
        recipe,
        tokens,
        ready ? 'plans' : 'books',
        ready ? ['config.json', 'tokenizer.json', `plan.${recipe}.safetensors`] : undefined,
      ] as const,
    );

  it.each(Object.keys(recipes))('%s', async recipe => {
    const ready = needsPlan.includes(recipe);
    if (ready) {
      const { plan, info, dispose } = await load(undefined, { recipe, ...BRIEF });
      writeFileSync(join(work, `plan.${recipe}.safetensors`), Buffer.concat([...savePlan(plan, info)]));
      dispose();
    }
    const folder = ready ? work : undefined;
    const bits = await inNode(folder, { recipe, backend: 'reference' });
    expect(await inNode(folder, { recipe, backend: 'wasm' })).toBe(bits);
    expect(await inPage(pages[0], recipe, ready)).toEqual({ bits, threads: 2 });
    expect(await inPage(pages[1], recipe, ready)).toEqual({ bits, threads: 1 });
  });
});
