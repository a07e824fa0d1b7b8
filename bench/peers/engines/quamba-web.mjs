/** quamba in a page of headless Chromium, as whoever takes `quamba/browser` has it: the model in a worker. */
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeFileAtomic } from '../../../dist/formats/disk.js';
import { recipe as recipeNamed, savePlan } from '../../../dist/index.js';
import { openPage } from '../../page.mjs';
import { planFor } from './plan.mjs';

/** @param work folder for the plan and the browser's profile, which the caller removes */
export async function open({ recipe, model, threads, work }) {
  const folder = mkdtempSync(join(work, 'quamba-web-'));
  const file = `plan.${recipe}.safetensors`;
  const info = {
    config: model.config,
    recipe: { name: recipe, scheme: recipeNamed(recipe) },
    source: model.identity(),
    calibration: null,
  };
  await writeFileAtomic(join(folder, file), savePlan(planFor({ recipe, model, threads }), info));

  const paths = {
    '/model/': folder,
    '/quamba/': fileURLToPath(new URL('../../../dist/browser/', import.meta.url)),
  };
  const { page, about, close } = await openPage(paths, work);
  try {
    const { kernels } = await page.evaluate(
      async options => {
        const { load } = await import('/quamba/quamba.js');
        globalThis.model = await load('/model', options);
        Object.assign(globalThis, { session: await globalThis.model.session() });
        return globalThis.model.about;
      },
      { recipe, threads, files: [file], cache: false },
    );
    return {
      about: `${kernels}, ${about}`,
      measure: (prompt, continuation) =>
        page.evaluate(
          async ([prompt, continuation]) => {
            const { session } = /** @type {any} */ (globalThis);
            await session.reset();
            const start = performance.now();
            await session.feed(prompt, { logits: 'last' });
            const middle = performance.now();
            for (const id of continuation) await session.feed([id]);
            return { prefill: (middle - start) / 1000, decode: (performance.now() - middle) / 1000 };
          },
          [prompt, continuation],
        ),
      async logits(ids) {
        const data = await page.evaluate(async ids => {
          await globalThis.session.reset();
          return (await globalThis.session.feed(ids)).data;
        }, ids);
        return { positions: Array.from(ids.keys()), data };
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
