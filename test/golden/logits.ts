/**
 * The bits that no change may move: the logits of every recipe, on the reference and on wasm with one and with two threads, are
 * those of golden/hashes.json, and of Mamba-2 some, those of its file. Each recipe's plan is made once. The reference takes seconds for
 * each recipe, and calibration a minute for some, so that two files of tests share them.
 */
import { describe, expect, it } from 'vitest';
import { calibrationOf, files, hashOf, knownOf } from '../../golden/hashes.mjs';
import { prepare } from '../../src/backends/backend.ts';
import { reference } from '../../src/backends/reference.ts';
import { wasm } from '../../src/backends/wasm/index.ts';
import { load } from '../../src/open/node.ts';

const models = Object.keys(files) as readonly (keyof typeof files)[];
const recipesOf = (name: keyof typeof files, calibrated: boolean): readonly string[] => {
  const known = knownOf(name);
  return Object.keys(known.logits).filter(recipe => known.calibrated.includes(recipe) === calibrated);
};

/** The tests of the recipes that are `calibrated` here, or of those whose statistics come with the model. */
export const testLogits = ({ calibrated }: { readonly calibrated: boolean }): void =>
  describe.each(models.filter(name => recipesOf(name, calibrated).length > 0))(
    'the logits of %s on the reference, and on wasm with 1 and 2 threads',
    name => {
      const known = knownOf(name);
      it.each(recipesOf(name, calibrated))('%s', async recipe => {
        const { plan, tokenizer, dispose } = await load(name, { recipe, ...calibrationOf(recipe, known) });
        const tokens = tokenizer.encode(known.text).slice(0, known.positions);
        const hashes: Record<string, string> = {};
        for (const [name, backend, threads] of [
          ['reference', reference, 1],
          ['wasm, 1 thread', wasm, 1],
          ['wasm, 2 threads', wasm, 2],
        ] as const) {
          const executable = prepare(backend, plan, { threads });
          await executable.ready;
          hashes[name] = hashOf(executable.open().feed(tokens));
          executable.dispose?.();
        }
        dispose();
        const bits = known.logits[recipe];
        expect(hashes).toEqual({ reference: bits, 'wasm, 1 thread': bits, 'wasm, 2 threads': bits });
      });
    },
  );
