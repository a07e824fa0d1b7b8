/**
 * Every recipe has the same bits in Node's reference, in Node's wasm, in an isolated page with threads that quantizes the
 * float weights itself, and in a page that is not isolated and loads the plan that Node made.
 */
import { on } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EMBEDDED_MODEL } from '../src/open/node.ts';
import { recipes } from '../src/quant/recipes.ts';
import { launch, missing } from './browser.ts';
import { ISOLATED, root, type Site, serve } from './serve.ts';

/** What package/index.html puts there. */
declare const quamba: typeof import('../src/web/index.ts');

const POSITIONS = 64;
const TEXT = 'The old man looked out of the window and saw a ship upon the sea. '.repeat(8);

/** What bits/in-node.mjs says of a recipe. */
interface InNode {
  readonly recipe: string;
  readonly tokens: Int32Array;
  readonly wasm: string;
  readonly reference: string;
  /** Whether a page can make the plan itself, from the files that come with the model. */
  readonly canBeMadeInPage: boolean;
}

describe.skipIf(missing)(`the same bits in Node and in Chromium${missing}`, () => {
  let work: string;
  const sites: Site[] = [];
  let browser: Browser;
  let node: Worker;
  let said: AsyncIterator<InNode[]>;
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
        '/plans/': relative(root, work),
      };
      const site = await serve(mounts, headers);
      sites.push(site);
      const page = await browser.newPage();
      await page.goto(site.address);
      return page;
    };
    isolated = await visited(ISOLATED);
    alone = await visited({});
    node = new Worker(new URL('./bits/in-node.mjs', import.meta.url), {
      workerData: { folder: work, text: TEXT, positions: POSITIONS },
    });
    said = on(node, 'message');
  });
  afterAll(async () => {
    await browser?.close();
    await node?.terminate();
    for (const site of sites) site.close();
    rmSync(work, { recursive: true });
  });

  /** Node goes through the recipes in the order of these tests. */
  async function inNode(recipe: string): Promise<InNode> {
    for (;;) {
      const [answer] = (await said.next()).value;
      if (answer.recipe === recipe) return answer;
    }
  }

  const bitsIn = (
    page: Page,
    folder: string,
    options: { recipe: string; files?: string[]; cache?: boolean },
    tokens: Int32Array,
  ) =>
    page.evaluate(
      async ([folder, options, tokens]) => {
        const model = await quamba.load(folder, { threads: 2, ...options });
        const session = await model.session();
        const digest = await crypto.subtle.digest('SHA-256', (await session.feed(tokens)).data.slice());
        await model.dispose();
        const bits = Array.from(new Uint8Array(digest), byte => byte.toString(16).padStart(2, '0')).join('');
        return { bits, threads: model.about?.threads };
      },
      [folder, options, [...tokens]] as const,
    );

  it.each(Object.keys(recipes))('%s', async recipe => {
    const { tokens, reference, wasm, canBeMadeInPage } = await inNode(recipe);
    expect(tokens.length).toBe(POSITIONS);
    expect(wasm).toBe(reference);
    const plan = `plan.${recipe}.safetensors`;
    const ready = { recipe, files: ['config.json', 'tokenizer.json', plan], cache: false };
    const own = canBeMadeInPage
      ? bitsIn(isolated, '/books', { recipe }, tokens)
      : bitsIn(isolated, '/plans', ready, tokens);
    expect(await own).toEqual({ bits: reference, threads: 2 });
    expect(await bitsIn(alone, '/plans', ready, tokens)).toEqual({ bits: reference, threads: 1 });
    rmSync(join(work, plan));
  });
});
