/** What test-cuda.mjs does with whole plans, beyond the conformance suite. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { prepare } from '../dist/backends/backend.js';
import { loadLibrary } from '../dist/backends/cuda/library.js';
import { wasm } from '../dist/backends/wasm/index.js';
import { cut, fed } from '../dist/conformance/plan.js';
import { toys } from '../dist/conformance/toy.js';
import { openFile } from '../dist/formats/disk.js';
import { flatten } from '../dist/graph.js';
import { parse } from '../dist/op.js';
import { bytesOf, hasher } from '../dist/plan/identity.js';
import { loadPlan } from '../dist/quant/checkpoint.js';
import { planOf } from '../dist/quant/pipeline.js';
import { recipes } from '../dist/quant/recipes.js';
import { randomModel } from '../dist/random/model.js';
import { nominalRecipe, nominalStats } from '../dist/random/nominal-ranges.js';
import { shapes } from '../dist/random/shapes.js';
import { foldConstants, initialState } from '../dist/run.js';
import { sizeOf } from '../dist/tensor.js';
import { random } from '../dist/text/random.js';
import { costOf } from './orin-page.mjs';
import { difference } from './test-cuda-ops.mjs';

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

/** [title, run(check)] of each section; `check(what, difference)`. */
export function planSections(cuda, { brief }) {
  const chosen = Object.entries(SHAPES).slice(0, brief ? 3 : undefined);
  return [
    ...chosen.map(([name, shape]) => [`plans, ${name}`, check => plans(cuda, shape, check)]),
    ...chosen.map(([name, { config }]) => [
      `ways to run a token, ${name}`,
      check => decodes(cuda, config, check),
    ]),
    ...chosen.flatMap(([name, { config }]) =>
      // rows of halves are read 16 bytes at a time
      config.dModel % 8 === 0 ? [[`f16, ${name}`, check => nearFloat(cuda, config, check)]] : [],
    ),
    ...chosen.map(([name, { config }]) => [
      `three sequences, ${name}`,
      check => sequences(cuda, config, check),
    ]),
    ['two models in turn', check => inTurn(cuda, check)],
    ['the embedded model', check => embedded(cuda, brief ? 8 : 200, check)],
  ];
}

/** A plan of random weights, its ranges constants. */
function randomPlan(config, recipe) {
  const model = randomModel(config, 1);
  return planOf(model, nominalRecipe(recipe), nominalStats(model, recipe));
}
const text = (length, v, seed = 7) => {
  const next = random(seed);
  return Int32Array.from({ length }, () => Math.floor(next() * v));
};

/** Every recipe whose ranges are known, in cuts, with the bits of wasm. */
function plans({ open }, { config, cuts }, check) {
  for (const [name, recipe] of Object.entries(recipes)) {
    if (JSON.stringify(recipe).includes('smooth')) continue; // takes statistics; the suite has it
    if (recipe.states) continue; // the library has no scan of a state in fewer bits yet
    const plan = randomPlan(config, recipe);
    const length = cuts[0].reduce((sum, size) => sum + size, 0);
    const tokens = text(length, config.vocabSize);
    for (const sizes of cuts) compareFed(`${name} ${sizes}`, open(plan), plan, cut(tokens, sizes), check);
  }
}

/** One token after the other in each mode, with the bits of wasm; a mode that a plan cannot have says so. */
function decodes({ open, about: { device } }, config, check) {
  const channels = config.dInner / device.multiprocessors; // of a block, which has room for so many

  for (const row of ['quamba', 'quamba-int8-head', 'naive-static', 'dynamic']) {
    const plan = randomPlan(config, recipes[row]);
    const cuts = cut(text(12, config.vocabSize), [4, ...Array(8).fill(1)]);
    const { bytes } = costOf({ foldConstants, flatten, parse, sizeOf }, plan);
    for (const decode of ['nodes', 'graph', 'persistent', 'best']) {
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

/** ‖f16 − f32‖ / ‖f32‖ of the logits, as a prompt and token by token. */
function nearFloat({ open }, config, check) {
  const plan = randomPlan(config, recipes.fp32);
  const tokens = text(12, config.vocabSize);
  const expected = prepare(wasm, plan).feed(tokens, initialState(plan)).logits.data;
  const cuts = [[12], [4, ...Array(8).fill(1)]];
  for (const decode of ['nodes', 'graph', 'best'])
    for (const sizes of cuts) {
      const executable = open(plan, { precision: 'f16', decode });
      const { data } = fed(executable, cut(tokens, sizes), initialState(plan)).outcomes.logits;
      executable.dispose();
      const norm = of => Math.sqrt(data.reduce((sum, x, i) => sum + of(x, expected[i]) ** 2, 0));
      const error = norm((x, y) => x - y) / norm((_, y) => y);
      check(`${decode} ${sizes}`, error < 0.01 ? '' : `relative error ${error}`);
    }
}

/** Side by side they are what each is alone, from any state. */
function sequences({ open }, config, check) {
  const plan = randomPlan(config, recipes.quamba);
  const { vocabSize: v } = config;
  const texts = [1, 2, 3].map(seed => text(9, v, seed));
  const single = open(plan, { decode: 'nodes' });
  const alone = texts.map(tokens => fed(single, cut(tokens, [7, 1, 1]), initialState(plan)).outcomes);
  const many = open(plan, { sequences: 3, chunk: 16 });
  const part = (from, to) => texts.map(tokens => tokens.subarray(from, to));
  const feeds = [part(0, 7), part(7, 8), part(8, 9)].map(tokens => many.feedSequences(tokens));
  for (const [i, { logits, ...state }] of alone.entries()) {
    const rows = feeds.flatMap(({ data, shape: [, l] }) => [...data.subarray(i * l * v, (i + 1) * l * v)]);
    check(`sequence ${i}: logits`, difference(rows, logits.data));
    const got = many.getState(i);
    for (const ref in state) check(`sequence ${i}: ${ref}`, difference(got[ref].data, state[ref].data));
  }
  many.setState(0);
  many.setState(1, many.getState(2));
  const isZero = Object.values(many.getState(0)).every(({ data }) => data.every(x => x === 0));
  check('a state that was cleared', isZero ? '' : 'is not zero');
  const token = texts[2].subarray(0, 1);
  const { data } = many.feedSequences([token, token, token], 'last');
  check('a state that was moved', difference(data.subarray(v, 2 * v), data.subarray(2 * v)));
  const begun = single.feed(token, initialState(plan)).logits.data;
  check('a new text', difference(data.subarray(0, v), begun));
  many.dispose();
  single.dispose();
}

/** A model whose kernels take less of shared memory, made after one whose take more, leaves that one as it is. */
function inTurn({ open }, check) {
  const widths = [one('mamba-130m'), { ...one('mamba-130m'), ...SMALLEST }];
  for (const decode of ['persistent', 'graph']) {
    const models = widths.map(config => {
      const plan = randomPlan(config, recipes.quamba);
      return { plan, executable: open(plan, { decode }) };
    });
    const tokens = text(3, 256);
    for (const { plan, executable } of models)
      compareFed(decode, executable, plan, cut(tokens, [1, 1, 1]), check);
  }
}

/** The plan of the package, as Node opens it and as C does from the file; and the hash of its logits. */
function embedded({ open }, length, check) {
  const path = fileURLToPath(new URL('../models/mamba-books-15m/plan.quamba.safetensors', import.meta.url));
  const { plan } = loadPlan(openFile(path));
  const tokens = Int32Array.from({ length }, (_, i) => 300 + 37 * i);
  const prompt = length - 4;
  const hashOf = executable => {
    const hash = hasher();
    let state = initialState(plan);
    for (const part of cut(tokens, [prompt, 1, 1, 1, 1])) {
      const result = executable.feed(part, state, { giveUp: true });
      hash.update(bytesOf(result.logits));
      state = result.state;
    }
    executable.dispose?.();
    return hash.hex();
  };
  const expected = hashOf(prepare(wasm, plan));
  for (const decode of ['nodes', 'graph', 'persistent']) {
    const hash = hashOf(open(plan, { decode }));
    check(`logits, ${decode}`, hash === expected ? '' : `sha256 ${hash}; expected ${expected}`);
  }
  console.log(`sha256 of the embedded model's logits: ${expected}`);

  const { library } = loadLibrary();
  const context = library.openCheckpoint(readFileSync(path), {});
  const states = Array.from({ length: context.info.states }, (_, i) => context.state(i));
  const names = JSON.stringify(Object.entries(plan.graph.states).sort());
  const got = JSON.stringify(states.map(({ name, shape }) => [name, shape]).sort());
  check('states of the checkpoint', got === names ? '' : got);
  const logits = new Float32Array(prompt * context.info.vocabulary);
  context.feed(tokens.subarray(0, prompt), prompt, 'all', logits);
  context.close();
  const whole = prepare(wasm, plan).feed(tokens.subarray(0, prompt), initialState(plan)).logits.data;
  check('logits of the checkpoint', difference(logits, whole));
}

/** The logits and the state after a text that is fed in cuts, with the bits of wasm. Frees the executable. */
function compareFed(what, executable, plan, cuts, check) {
  const expected = fed(prepare(wasm, plan), cuts, initialState(plan)).outcomes;
  const { outcomes } = fed(executable, cuts, initialState(plan));
  for (const name in expected)
    check(`${what}: ${name}`, difference(outcomes[name].data, expected[name].data));
  executable.dispose?.();
}
