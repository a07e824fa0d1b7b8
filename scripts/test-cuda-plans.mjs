/** What test-cuda.mjs does with whole plans, beyond the conformance suite. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { prepare } from '../dist/backends/backend.js';
import { loadLibrary } from '../dist/backends/cuda/library.js';
import { wasm } from '../dist/backends/wasm/index.js';
import { cut, fed, joined, statesOf } from '../dist/conformance/plan.js';
import { toys } from '../dist/conformance/toy.js';
import { openFile } from '../dist/formats/disk.js';
import { sites } from '../dist/model/mamba.js';
import { costOf } from '../dist/plan/cost.js';
import { loadPlan } from '../dist/quant/checkpoint.js';
import { planOf } from '../dist/quant/pipeline.js';
import { recipes } from '../dist/quant/recipes.js';
import { siteAction } from '../dist/quant/scheme.js';
import { randomModel } from '../dist/random/model.js';
import { nominalRecipe, nominalStats } from '../dist/random/nominal-ranges.js';
import { shapes } from '../dist/random/shapes.js';
import { formsOf } from '../dist/run.js';
import { shapeAt } from '../dist/state.js';
import { random } from '../dist/text/random.js';
import { difference, section } from './test-cuda-ops.mjs';

/** The least that runs as one kernel. */
const SMALLEST = { dModel: 128, dInner: 256, dtRank: 8 };
/**
 * Whole plans: M_28, whose matrix no toy of the suite has, and single layers of public models, of which the last reaches M_40.
 */
const [{ config: toy }] = toys();
const one = name => ({ ...shapes[name], layers: 1, vocabSize: 256 });
const SHAPES = {
  '28 wide': { config: { ...toy, dModel: 28, dInner: 56 }, cuts: [[90], [1, 1, 1, 70, 17]] },
  '128 wide': { config: { ...one('mamba-130m'), layers: 2, ...SMALLEST }, cuts: [[50], [1, 48, 1]] },
  'a layer of mamba-130m': { config: one('mamba-130m'), cuts: [[40], [1, 38, 1]] },
  'a layer of mamba-2.8b': { config: one('mamba-2.8b'), cuts: [[70], [1, 68, 1]] },
};

/**
 * @import { Cuda, CudaExecutable } from '../dist/backends/cuda/index.js'
 * @import { MambaConfig } from '../dist/model/config.js'
 * @import { Program } from '../dist/graph.js'
 * @import { Recipe } from '../dist/quant/scheme.js'
 * @import { Check, Section } from './test-cuda-ops.mjs'
 */

/**
 * @param {Cuda} cuda
 * @returns {Section[]}
 */
export function planSections(cuda, { brief }) {
  const chosen = Object.entries(SHAPES).slice(0, brief ? 3 : undefined);
  return [
    ...chosen.flatMap(([name, { config, cuts }]) => [
      section(`plans, ${name}`, check => plans(cuda, config, cuts, check)),
      section(`ways to run a token, ${name}`, check => decodes(cuda, config, check)),
      // rows of halves are read 16 bytes at a time
      ...(config.dModel % 8 === 0 ? [section(`f16, ${name}`, check => nearFloat(cuda, config, check))] : []),
      section(`three sequences, ${name}`, check => sequences(cuda, config, check)),
    ]),
    section('two models in turn', check => inTurn(cuda, check)),
    section('the embedded model', check => embedded(cuda, brief ? 8 : 200, check)),
  ];
}

/**
 * A plan of random weights, its ranges constants.
 *
 * @param {MambaConfig} config
 * @param {Recipe} recipe
 */
function randomPlan(config, recipe) {
  const model = randomModel(config, 1);
  return planOf(model, nominalRecipe(recipe), nominalStats(model, recipe));
}
const text = (length, v, seed = 7) => {
  const next = random(seed);
  return Int32Array.from({ length }, () => Math.floor(next() * v));
};

/**
 * Every recipe whose ranges are known, in cuts, with the bits of wasm.
 *
 * @param {Cuda} cuda
 * @param {MambaConfig} config
 * @param {number[][]} cuts
 * @param {Check} check
 */
function plans({ open, backend }, config, cuts, check) {
  for (const [name, recipe] of Object.entries(recipes)) {
    if (sites.some(site => typeof siteAction(recipe, site).basis === 'object')) continue; // smoothing takes statistics; the suite has it
    const plan = randomPlan(config, recipe);
    if ([...formsOf(plan).values()].some(({ op, kept }) => !backend.kernelOf(op, kept))) continue;
    const length = cuts[0].reduce((sum, size) => sum + size, 0);
    const tokens = text(length, config.vocabSize);
    for (const sizes of cuts) compareFed(`${name} ${sizes}`, open(plan), plan, cut(tokens, sizes), check);
  }
}

/**
 * One token after the other in each mode, with the bits of wasm; a mode that a plan cannot have says so.
 *
 * @param {Cuda} cuda
 * @param {MambaConfig} config
 * @param {Check} check
 */
function decodes({ open, about: { device } }, config, check) {
  const channels = config.dInner / device.multiprocessors; // of a block, which has room for so many

  for (const row of /** @type {const} */ (['quamba', 'quamba-int8-head', 'naive-static', 'dynamic'])) {
    const plan = randomPlan(config, recipes[row]);
    const cuts = cut(text(12, config.vocabSize), [4, ...Array(8).fill(1)]);
    const { bytes } = costOf(plan);
    for (const decode of /** @type {const} */ (['nodes', 'graph', 'persistent', 'best'])) {
      /** @type {CudaExecutable} */
      let executable;
      try {
        executable = open(plan, { decode });
      } catch (error) {
        const mayBe = row === 'dynamic' || config.dModel % 128 !== 0 || channels > 1000;
        check(`${row} ${decode}`, decode === 'persistent' && mayBe ? '' : error.message);
        continue;
      }
      const { decode: runs, bytesPerToken } = executable.about;
      check(`${row} ${decode}`, decode === 'best' || runs === decode ? '' : `runs as ${runs}`);
      const same = Math.round(bytes) === bytesPerToken;
      check(`${row} bytes for each token`, same ? '' : `${bytesPerToken}; expected ${bytes}`);
      compareFed(`${row} ${decode}`, executable, plan, cuts, check);
    }
  }
}

/**
 * ‖f16 − f32‖ / ‖f32‖ of the logits, as a prompt and token by token.
 *
 * @param {Cuda} cuda
 * @param {MambaConfig} config
 * @param {Check} check
 */
function nearFloat({ open }, config, check) {
  const plan = randomPlan(config, recipes.fp32);
  const tokens = text(12, config.vocabSize);
  const expected = prepare(wasm, plan).open().feed(tokens).data;
  const cuts = [[12], [4, ...Array(8).fill(1)]];
  for (const decode of /** @type {const} */ (['nodes', 'graph', 'best']))
    for (const sizes of cuts) {
      const executable = open(plan, { precision: 'f16', decode });
      const { data } = fed(executable.open(), cut(tokens, sizes)).logits;
      executable.dispose();
      /** @param {(x: number, y: number) => number} of */
      const norm = of => Math.sqrt(expected.reduce((sum, y, i) => sum + of(data[i], y) ** 2, 0));
      const error = norm((x, y) => x - y) / norm((_, y) => y);
      check(`${decode} ${sizes}`, error < 0.01 ? '' : `relative error ${error}`);
    }
}

/**
 * Side by side they are what each is alone, from any state.
 *
 * @param {Cuda} cuda
 * @param {MambaConfig} config
 * @param {Check} check
 */
function sequences({ open }, config, check) {
  const plan = randomPlan(config, recipes.quamba);
  const texts = [1, 2, 3].map(seed => cut(text(9, config.vocabSize, seed), [7, 1, 1]));
  const single = open(plan, { decode: 'nodes' });
  const many = open(plan, { sequences: 3, chunk: 16 });
  const side = texts.map(() => many.open());
  /** @param {Int32Array[]} tokens */
  const feed = tokens => many.feed(tokens.map((ids, i) => ({ sequence: side[i], tokens: ids })));
  const feeds = [0, 1, 2].map(part => feed(texts.map(cuts => cuts[part])));
  for (const [i, cuts] of texts.entries()) {
    const alone = single.open();
    const expected = fed(alone, cuts);
    alone.close();
    const got = { logits: joined(feeds.map(logits => logits[i])), ...statesOf(side[i]) };
    for (const name in expected)
      check(`sequence ${i}: ${name}`, difference(got[name].data, expected[name].data));
  }
  side[0].load();
  side[1].load(side[2].save());
  const token = texts[2][1];
  const [begun, moved, last] = feed([token, token, token]);
  check('a state that was moved', difference(moved.data, last.data));
  check('a new text', difference(begun.data, single.open().feed(token).data));
  many.dispose();
  single.dispose();
}

/**
 * A model whose kernels take less of shared memory, made after one whose take more, leaves that one as it is.
 *
 * @param {Cuda} cuda
 * @param {Check} check
 */
function inTurn({ open }, check) {
  const widths = [one('mamba-130m'), { ...one('mamba-130m'), ...SMALLEST }];
  for (const decode of /** @type {const} */ (['persistent', 'graph'])) {
    const models = widths.map(config => {
      const plan = randomPlan(config, recipes.quamba);
      return { plan, executable: open(plan, { decode }) };
    });
    const tokens = text(3, 256);
    for (const { plan, executable } of models)
      compareFed(decode, executable, plan, cut(tokens, [1, 1, 1]), check);
  }
}

/**
 * The plan of the package, as Node opens it and as C does from the file.
 *
 * @param {Cuda} cuda
 * @param {number} length
 * @param {Check} check
 */
function embedded({ open }, length, check) {
  const path = fileURLToPath(new URL('../models/mamba-books-15m/plan.quamba.safetensors', import.meta.url));
  const { plan } = loadPlan(openFile(path));
  const tokens = Int32Array.from({ length }, (_, i) => 300 + 37 * i);
  const prompt = length - 4;
  for (const decode of /** @type {const} */ (['nodes', 'graph', 'persistent']))
    compareFed(decode, open(plan, { decode }), plan, cut(tokens, [prompt, 1, 1, 1, 1]), check);

  const found = loadLibrary();
  if ('why' in found) return check('the library', found.why);
  const context = found.library.openCheckpoint(readFileSync(path), {});
  const states = Array.from({ length: context.info.states }, (_, i) => context.state(i));
  const expected = [...plan.graph.states].map(([name, type]) => [name, shapeAt(type, 0)]);
  const inOrder = /** @param {unknown[]} rows */ rows => JSON.stringify(rows.sort());
  const got = inOrder(states.map(({ name, shape }) => [name, shape]));
  check('states of the checkpoint', got === inOrder(expected) ? '' : got);
  const logits = new Float32Array(prompt * context.info.vocabulary);
  context.feed(tokens.subarray(0, prompt), prompt, 'all', logits);
  context.close();
  const whole = prepare(wasm, plan).open().feed(tokens.subarray(0, prompt)).data;
  check('logits of the checkpoint', difference(logits, whole));
}

/**
 * The logits and the states after a text that is fed in cuts, with the bits of wasm. Frees the executable.
 *
 * @param {string} what
 * @param {CudaExecutable} executable
 * @param {Program} plan
 * @param {Int32Array[]} cuts
 * @param {Check} check
 */
function compareFed(what, executable, plan, cuts, check) {
  const expected = fed(prepare(wasm, plan).open(), cuts);
  const outcomes = fed(executable.open(), cuts);
  for (const name in expected)
    check(`${what}: ${name}`, difference(outcomes[name].data, expected[name].data));
  executable.dispose();
}
