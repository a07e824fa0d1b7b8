/**
 * Every recipe has the same bits in Node's reference, in Node's wasm, in an isolated page with threads that quantizes the
 * float weights itself, and in a page that is not isolated and loads the plan that Node made.
 */
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { prepare } from '../src/backends/backend.ts';
import { backends } from '../src/backends/index.ts';
import { openFolder } from '../src/formats/disk.ts';
import { bytesOf, hasher } from '../src/identity.ts';
import { EMBEDDED_MODEL, load } from '../src/load.ts';
import { openFloatModel } from '../src/open-model.ts';
import { needsCalibration } from '../src/quant/calibrate.ts';
import { savePlan } from '../src/quant/checkpoint.ts';
import { recipes } from '../src/quant/recipes.ts';
import { initialState } from '../src/run.ts';
import type { Tensor } from '../src/tensor.ts';
import { launch, missing } from './browser.ts';
import { ISOLATED, root, type Site, serve } from './serve.ts';

/** What package/index.html puts there. */
declare const quamba: typeof import('../src/web/index.ts');

const POSITIONS = 64;
const TEXT = 'The old man looked out of the window and saw a ship upon the sea. '.repeat(8);
/** Of recipes whose scales do not come with the model; the bits are what is asked for, not the quality. */
const BRIEF = { samples: 2, window: 64 };

const planFile = (recipe: string) => `plan.${recipe}.safetensors`;
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

  const hash = (logits: Tensor) => {
    const hash = hasher();
    hash.update(bytesOf(logits));
    return hash.hex();
  };

  /** Makes the plan and keeps it as a file. */
  async function inNode(recipe: string) {
    const model = await load(undefined, {
      recipe,
      backend: 'wasm',
      ...(needsPlan.includes(recipe) && BRIEF),
    });
    const { plan, info } = model;
    const wasm = hash(model.session().feed(tokens));
    const reference = prepare(backends.reference, plan).feed(Int32Array.from(tokens), initialState(plan));
    writeFileSync(join(work, planFile(recipe)), Buffer.concat([...savePlan(plan, info)]));
    model.dispose();
    return { reference: hash(reference.logits), wasm };
  }

  const inPage = (page: Page, recipe: string, { madeThere }: { madeThere: boolean }) =>
    page.evaluate(
      async ([recipe, tokens, options]) => {
        const model = await quamba.load(options ? '/plans' : '/books', { recipe, threads: 2, ...options });
        const session = await model.session();
        const digest = await crypto.subtle.digest('SHA-256', (await session.feed(tokens)).data.slice());
        await model.dispose();
        const bits = Array.from(new Uint8Array(digest), byte => byte.toString(16).padStart(2, '0')).join('');
        return { bits, threads: model.about?.threads };
      },
      [
        recipe,
        tokens,
        madeThere ? undefined : { files: ['config.json', 'tokenizer.json', planFile(recipe)], cache: false },
      ] as const,
    );

  it.each(Object.keys(recipes))('%s', async recipe => {
    const { reference, wasm } = await inNode(recipe);
    expect(wasm).toBe(reference);
    const isolated = await inPage(pages[0], recipe, { madeThere: !needsPlan.includes(recipe) });
    expect(isolated).toEqual({ bits: reference, threads: 2 });
    const alone = await inPage(pages[1], recipe, { madeThere: false });
    expect(alone).toEqual({ bits: reference, threads: 1 });
    rmSync(join(work, planFile(recipe)));
  });
});
