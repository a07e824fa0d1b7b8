/** What test-cuda.mjs does with whole plans, beyond the conformance suite. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { prepare } from '../dist/backends/backend.js';
import { loadLibrary } from '../dist/backends/cuda/library.js';
import { wasm } from '../dist/backends/wasm/index.js';
import { cut, fed, statesOf } from '../dist/conformance/plan.js';
import { toys } from '../dist/conformance/toy.js';
import { openFile } from '../dist/formats/disk.js';
import { load } from '../dist/index.js';
import { sites } from '../dist/model/index.js';
import { costOf } from '../dist/plan/cost.js';
import { loadPlan } from '../dist/quant/checkpoint.js';
import { planOf } from '../dist/quant/pipeline.js';
import { recipes } from '../dist/quant/recipes.js';
import { siteAction } from '../dist/quant/scheme.js';
import { randomModel } from '../dist/random/model.js';
import { nominalRecipe, nominalStats } from '../dist/random/nominal-ranges.js';
import { shapes } from '../dist/random/shapes.js';
import { shapeAt } from '../dist/state.js';
import { joined } from '../dist/tensor.js';
import { random } from '../dist/text/random.js';
import { calibrationOf, hashOf, known } from '../golden/hashes.mjs';
import { compare, complaintOf, difference } from './test-cuda-ops.mjs';

/** The least that runs as one kernel. */
const SMALLEST = { dModel: 128, dInner: 256, dtRank: 8 };
const GROUPED = { heads: 4, headDim: 12, dState: 64, groups: 2, dtLo: 0.005, dtHi: 0.02 };
/**
 * Whole plans: M_28, whose matrix no toy of the suite has, a Mamba-2 with groups, and heads that fill no block of a kernel;
 * and single layers of public models, of which 2.8b reaches M_40.
 */
const [{ config: toy }] = toys();
const one = name => ({ ...shapes[name], layers: 1, vocabSize: 256 });
const SHAPES = {
  '28 wide': { config: { ...toy, dModel: 28, dInner: 56 }, cuts: [[90], [1, 1, 1, 70, 17]] },
  '128 wide': { config: { ...one('mamba-130m'), layers: 2, ...SMALLEST }, cuts: [[50], [1, 48, 1]] },
  'Mamba-2': {
    config: { ...one('mamba2-130m'), layers: 2, dModel: 24, ...GROUPED },
    cuts: [[40], [1, 1, 1, 30, 7]],
  },
  'a layer of mamba-130m': { config: one('mamba-130m'), cuts: [[40], [1, 38, 1]] },
  'a layer of mamba-2.8b': { config: one('mamba-2.8b'), cuts: [[70], [1, 68, 1]] },
  'a layer of mamba2-130m': { config: one('mamba2-130m'), cuts: [[40], [1, 38, 1]] },
};

/** Ways to run a token. Only `persistent` may be refused. */
const WAYS = /** @type {const} */ (['nodes', 'graph', 'persistent']);

/**
 * @import { Cuda, CudaExecutable } from '../dist/backends/cuda/index.js'
 * @import { MambaConfig } from '../dist/model/mamba.js'
 * @import { Mamba2Config } from '../dist/model/mamba2.js'
 * @import { Program } from '../dist/graph.js'
 * @import { Recipe } from '../dist/quant/scheme.js'
 * @import { Tensor } from '../dist/tensor.js'
 * @import { Check, Sections } from './test-cuda-ops.mjs'
 * @typedef {MambaConfig | Mamba2Config} AnyConfig
 * @typedef {(cuda: Cuda, config: AnyConfig, check: Check) => void} OfShape
 */

/** @type {(cuda: Cuda, options: { brief: boolean }) => Sections} */
export function planSections(cuda, { brief }) {
  const ofShapes = Object.entries(SHAPES)
    .slice(0, brief ? 3 : undefined)
    .map(([name, { config, cuts }]) => ({
      [`plans, ${name}`]: check => plans(cuda, config, cuts, check),
      [`ways to run a token, ${name}`]: check => decodes(cuda, config, check),
      // rows of halves are read 16 bytes at a time
      ...(config.dModel % 8 === 0 && {
        [`f16, ${name}`]: check => (isFirst(config) ? nearFloat : refusesF16)(cuda, config, check),
      }),
      [`several sequences, ${name}`]: check => sequences(cuda, config, check),
    }));
  return {
    ...Object.assign({}, ...ofShapes),
    'two models in turn': check => inTurn(cuda, check),
    'the embedded model': check => embedded(cuda, brief ? 8 : 200, check),
    ...(!brief && { 'golden/hashes.json': check => hashes(cuda, check) }),
  };
}

/** @type {(config: AnyConfig) => boolean} whether it is a Mamba-1: what `f16` and `persistent` are made for */
const isFirst = ({ architecture }) => architecture === 'mamba';

/** @type {(config: AnyConfig, recipe: Recipe) => Program} of random weights, its ranges constants, and factors of channels that differ */
function randomPlan(config, recipe) {
  const model = randomModel(config, 1);
  const { channels, ranges } = nominalStats(model, recipe);
  const unlike = /** @param {Float32Array} alike */ alike => alike.map((x, i) => x * (1 + (i % 5) / 4));
  const found = Object.fromEntries(Object.entries(channels).map(([ref, of]) => [ref, unlike(of)]));
  return planOf(model, nominalRecipe(recipe), { channels: found, ranges });
}
const text = (length, v, seed = 7) => {
  const next = random(seed);
  return Int32Array.from({ length }, () => Math.floor(next() * v));
};

/**
 * Every recipe whose ranges are known, in cuts, with the bits of wasm.
 *
 * @type {(cuda: Cuda, config: AnyConfig, cuts: number[][], check: Check) => void}
 */
function plans({ open }, config, cuts, check) {
  const length = cuts[0].reduce((sum, size) => sum + size, 0);
  for (const [name, recipe] of Object.entries(recipes)) {
    if (smooths(recipe)) continue;
    const plan = randomPlan(config, recipe);
    if (!isKept(plan)) {
      const complaint = complaintOf(() => open(plan));
      check(
        name,
        /is kept as \S+; the library keeps states that do not grow as f32$/.test(complaint) ? '' : complaint,
      );
      continue;
    }
    const tokens = text(length, config.vocabSize);
    for (const sizes of cuts) compareFed(`${name} ${sizes}`, open(plan), plan, cut(tokens, sizes), check);
  }
}

/**
 * Whether it takes statistics of channels, which random weights do not have; the suite has it.
 *
 * @type {(recipe: Recipe) => boolean}
 */
const smooths = recipe => sites.some(site => typeof siteAction(recipe, site).basis === 'object');

/** @type {(plan: Program) => boolean} whether the library can keep its states */
const isKept = ({ graph }) => [...graph.states.values()].every(({ dtype }) => dtype === 'f32');

/**
 * One token after the other in each mode, with the bits of wasm; a mode that a plan cannot have says so.
 *
 * @type {OfShape}
 */
function decodes({ open, about: { device } }, config, check) {
  const inner = 'dInner' in config ? config.dInner : 0;
  const channels = inner / device.multiprocessors; // of a block, which has room for so many

  for (const row of /** @type {const} */ (['quamba', 'quamba-int8-head', 'naive-static', 'dynamic'])) {
    const plan = randomPlan(config, recipes[row]);
    const cuts = cut(text(12, config.vocabSize), [4, ...Array(8).fill(1)]);
    const bytes = Math.round(costOf(plan).bytes);
    for (const decode of /** @type {const} */ ([...WAYS, 'best'])) {
      const executable = opened(() => open(plan, { decode }));
      if (executable instanceof Error) {
        const mayBe = row === 'dynamic' || config.dModel % 128 !== 0 || channels > 1000 || !isFirst(config);
        const isRefused = /: decode PERSISTENT needs a plan of Mamba-1 with static scales/.test(
          executable.message,
        );
        check(`${row} ${decode}`, mayBe && isRefused ? '' : executable.message);
        continue;
      }
      const { decode: runs, bytesPerToken, launches } = executable.about;
      const expected = decode === 'best' && !isFirst(config) ? 'graph' : decode;
      check(`${row} ${decode}`, expected === 'best' || runs === expected ? '' : `runs as ${runs}`);
      const moved = bytesPerToken === bytes ? '' : `${bytesPerToken}; expected ${bytes}`;
      check(`${row} bytes for each token`, moved);
      // a layer: norm, in_proj, convolution, scan, gated norm, rotation, out_proj; then the embedding, the last sum, norm and head
      const few =
        isFirst(config) || row !== 'quamba' || runs !== 'graph' || launches === 7 * config.layers + 4;
      check(`${row} launches`, few ? '' : `${launches}`);
      compareFed(`${row} ${decode}`, executable, plan, cuts, check);
    }
  }
}

/** @type {(open: () => CudaExecutable) => CudaExecutable | Error} the error where it is refused */
function opened(open) {
  try {
    return open();
  } catch (error) {
    return error;
  }
}

/**
 * ‖f16 − f32‖ / ‖f32‖ of the logits, as a prompt and token by token.
 *
 * @type {OfShape}
 */
function nearFloat({ open }, config, check) {
  const plan = randomPlan(config, recipes.fp32);
  const tokens = text(12, config.vocabSize);
  const expected = prepare(wasm, plan).open().feed(tokens).data;
  const cuts = [[12], [4, ...Array(8).fill(1)]];
  for (const decode of /** @type {const} */ (['nodes', 'graph', 'best']))
    for (const sizes of cuts) {
      const executable = open(plan, { precision: 'f16', decode });
      const { data } = fed(executable, cut(tokens, sizes)).logits;
      executable.dispose();
      /** @param {(x: number, y: number) => number} of */
      const norm = of => Math.hypot(...expected.map((y, i) => of(data[i], y)));
      const error = norm((x, y) => x - y) / norm((_, y) => y);
      check(`${decode} ${sizes}`, error < 0.01 ? '' : `relative error ${error}`);
    }
}

/** @type {OfShape} */
function refusesF16({ open }, config, check) {
  const complaint = complaintOf(() => open(randomPlan(config, recipes.fp32), { precision: 'f16' }));
  check('fp32', /precision F16 needs the float plan of a Mamba-1/.test(complaint) ? '' : complaint);
}

/**
 * Texts that join, go on and fork as chance has it, in batches that are cut in many ways, give what each gives alone: on the
 * smallest Mamba-1 in every recipe.
 *
 * @type {OfShape}
 */
function sequences({ open }, config, check) {
  const v = config.vocabSize;
  const isSmallest = config.dModel < 128 && isFirst(config);
  const lengths = isSmallest ? [33, 9, 40, 21, 1, 17, 5, 26] : [33, 9, 40, 21];
  const texts = lengths.map((length, i) => text(length, v, i + 1));
  for (const [row, recipe] of Object.entries(recipes)) {
    const isChosen = row === 'quamba' || (config.layers > 1 && ['dynamic', 'quamba-ssd'].includes(row));
    if (smooths(recipe) || !(isSmallest || isChosen)) continue;
    const plan = randomPlan(config, recipe);
    if (!isKept(plan)) continue;
    const wasmRuns = prepare(wasm, plan);
    /** @type {(...parts: Int32Array[]) => Readonly<Record<string, Tensor>>} */
    const alone = (...parts) => fed(wasmRuns, parts);
    const expected = texts.map(tokens => alone(tokens));
    for (const decode of /** @type {const} */ (['nodes', 'best'])) {
      const many = open(plan, { sequences: texts.length + 1, chunk: 16, decode });
      const next = random(texts.length);
      const running = texts.map(tokens => ({
        left: tokens,
        sequence: many.open(),
        rows: /** @type {Tensor<'f32'>[]} */ ([]),
      }));
      while (running.some(({ left }) => left.length > 0)) {
        const most = next() < 0.5 ? 1 : 20;
        const unfinished = running.filter(({ left }) => left.length > 0);
        const chosen = unfinished.filter(() => next() < 0.7).sort(() => next() - 0.5);
        const now = chosen.length > 0 ? chosen : unfinished;
        const turns = now.map(({ sequence, left }) => ({
          sequence,
          tokens: left.slice(0, 1 + Math.floor(most * next())),
        }));
        for (const [i, logits] of many.feed(turns).entries()) {
          now[i].rows.push(logits);
          now[i].left = now[i].left.slice(turns[i].tokens.length);
        }
        const [first] = now;
        const fork = first.sequence.fork(); // the text goes on in another place
        first.sequence.close();
        first.sequence = fork;
      }
      for (const [i, { sequence, rows }] of running.entries()) {
        const got = { logits: joined(rows), ...statesOf(sequence) };
        compare(`${row} ${decode}, text ${i}`, got, expected[i], check);
      }
      const [{ sequence }, { sequence: other }] = running;
      sequence.load();
      const tokens = texts[2].slice(0, 5);
      const turns = [sequence, other].map(one => ({ sequence: one, tokens }));
      const begun = [alone(tokens), alone(texts[1], tokens)];
      for (const [i, { data }] of many.feed(turns, { logits: 'last' }).entries())
        check(`${row} ${decode}, last logits ${i}`, difference(data, begun[i].logits.data.slice(-v)));
      many.dispose();
    }
  }
}

/**
 * A model whose kernels take less of shared memory, made after one whose take more, leaves that one as it is.
 *
 * @type {(cuda: Cuda, check: Check) => void}
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
 * @type {(cuda: Cuda, length: number, check: Check) => void}
 */
function embedded({ open }, length, check) {
  const path = fileURLToPath(new URL('../models/mamba-books-15m/plan.quamba.safetensors', import.meta.url));
  const { plan } = loadPlan(openFile(path));
  const tokens = Int32Array.from({ length }, (_, i) => 300 + 37 * i);
  const prompt = length - 4;
  for (const decode of WAYS)
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
  context.feed([{ sequence: 0, length: prompt, tokens, logits }], 'all');
  context.close();
  const whole = prepare(wasm, plan).open().feed(tokens.subarray(0, prompt)).data;
  check('logits of the checkpoint', difference(logits, whole));
}

/**
 * Every recipe on the embedded model, each way to run a token: the hashes of the logits that no change may move.
 *
 * @type {(cuda: Cuda, check: Check) => Promise<void>}
 */
async function hashes({ open }, check) {
  for (const recipe in known.logits) {
    const model = await load(undefined, { recipe, ...calibrationOf(recipe) });
    const tokens = Int32Array.from(model.tokenizer.encode(known.text)).slice(0, known.positions);
    const { length } = tokens;
    for (const decode of isKept(model.plan) ? WAYS : []) {
      const executable = opened(() => open(model.plan, { decode }));
      if (executable instanceof Error) {
        if (decode !== 'persistent') check(`${recipe} ${decode}`, executable.message); // not for every recipe
        continue;
      }
      for (const sizes of [[length], [length / 2, ...Array(length / 2).fill(1)]]) {
        const hash = hashOf(fed(executable, cut(tokens, sizes)).logits);
        check(`${recipe} ${decode} ${sizes.length}`, hash === known.logits[recipe] ? '' : 'another hash');
      }
      executable.dispose();
    }
    model.dispose();
  }
}

/**
 * The logits and the states after a text that is fed in cuts, with the bits of wasm. Frees the executable.
 *
 * @type {(what: string, executable: CudaExecutable, plan: Program, cuts: Int32Array[], check: Check) => void}
 */
function compareFed(what, executable, plan, cuts, check) {
  compare(what, fed(executable, cuts), fed(prepare(wasm, plan), cuts), check);
  executable.dispose();
}
