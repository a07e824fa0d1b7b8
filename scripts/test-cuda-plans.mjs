/** What test-cuda.mjs does with whole plans, beyond the conformance suite. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { prepare } from '../dist/backends/backend.js';
import { loadLibrary } from '../dist/backends/cuda/library.js';
import { wasm } from '../dist/backends/wasm/index.js';
import { cut, fed, joined, statesOf } from '../dist/conformance/plan.js';
import { toys } from '../dist/conformance/toy.js';
import { bytesOf } from '../dist/formats/bytes.js';
import { openFile } from '../dist/formats/disk.js';
import { load } from '../dist/index.js';
import { sites } from '../dist/model/index.js';
import { costOf } from '../dist/plan/cost.js';
import { hasher } from '../dist/plan/identity.js';
import { loadPlan } from '../dist/quant/checkpoint.js';
import { planOf } from '../dist/quant/pipeline.js';
import { recipes } from '../dist/quant/recipes.js';
import { siteAction } from '../dist/quant/scheme.js';
import { randomModel } from '../dist/random/model.js';
import { nominalRecipe, nominalStats } from '../dist/random/nominal-ranges.js';
import { shapes } from '../dist/random/shapes.js';
import { shapeAt } from '../dist/state.js';
import { random } from '../dist/text/random.js';
import { calibrationOf, known } from '../golden/hashes.mjs';
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
 * @import { Cuda, CudaExecutable, Decode } from '../dist/backends/cuda/index.js'
 * @import { MambaConfig } from '../dist/model/mamba.js'
 * @import { Program } from '../dist/graph.js'
 * @import { Recipe } from '../dist/quant/scheme.js'
 * @import { Tensor } from '../dist/tensor.js'
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
      section(`several sequences, ${name}`, check => sequences(cuda, config, check)),
    ]),
    section('two models in turn', check => inTurn(cuda, check)),
    section('the embedded model', check => embedded(cuda, brief ? 8 : 200, check)),
    ...(brief ? [] : [section('golden/hashes.json', check => hashes(cuda, check))]),
  ];
}

/**
 * A plan of random weights, its ranges constants.
 *
 * @type {(config: MambaConfig, recipe: Recipe) => Program}
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
 * @type {(cuda: Cuda, config: MambaConfig, cuts: number[][], check: Check) => void}
 */
function plans({ open }, config, cuts, check) {
  for (const [name, recipe] of Object.entries(recipes)) {
    if (smooths(recipe)) continue;
    const plan = randomPlan(config, recipe);
    if (!isKept(plan)) {
      refused(name, () => open(plan), /is kept as (f16|i8); the library keeps states as f32$/, check);
      continue;
    }
    const length = cuts[0].reduce((sum, size) => sum + size, 0);
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

/**
 * Whether the library can keep the states of a plan.
 *
 * @type {(plan: Program) => boolean}
 */
const isKept = ({ graph }) => [...graph.states.values()].every(({ dtype }) => dtype === 'f32');

/** @type {(what: string, attempt: () => unknown, sentence: RegExp, check: Check) => void} */
function refused(what, attempt, sentence, check) {
  let message = 'no error';
  try {
    attempt();
  } catch (error) {
    message = error.message;
  }
  check(what, sentence.test(message) ? '' : message);
}

/**
 * One token after the other in each mode, with the bits of wasm; a mode that a plan cannot have says so.
 *
 * @type {(cuda: Cuda, config: MambaConfig, check: Check) => void}
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
 * @type {(cuda: Cuda, config: MambaConfig, check: Check) => void}
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
      const norm = of => Math.sqrt(expected.reduce((sum, y, i) => sum + of(data[i], y) ** 2, 0));
      const error = norm((x, y) => x - y) / norm((_, y) => y);
      check(`${decode} ${sizes}`, error < 0.01 ? '' : `relative error ${error}`);
    }
}

/**
 * Texts that join, go on and fork as chance has it, in batches that are cut in many ways, give what each gives alone: on the
 * smallest model in every recipe.
 *
 * @type {(cuda: Cuda, config: MambaConfig, check: Check) => void}
 */
function sequences({ open }, config, check) {
  const v = config.vocabSize;
  const isSmallest = config.dModel < 128;
  const lengths = isSmallest ? [33, 9, 40, 21, 1, 17, 5, 26] : [33, 9, 40, 21];
  const texts = lengths.map((length, i) => text(length, v, i + 1));
  for (const [row, recipe] of Object.entries(recipes)) {
    if (smooths(recipe) || !(isSmallest || row === 'quamba' || (config.layers > 1 && row === 'dynamic')))
      continue;
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
        tokens,
        sequence: many.open(),
        rows: /** @type {Tensor<'f32'>[]} */ ([]),
        at: 0,
      }));
      const chosen = () => {
        const isSingle = next() < 0.5;
        const left = running.filter(({ tokens, at }) => at < tokens.length);
        const now = left.filter(() => next() < 0.7).sort(() => next() - 0.5);
        return (now.length ? now : left).map(one => ({
          one,
          turn: {
            sequence: one.sequence,
            tokens: one.tokens.slice(one.at).slice(0, isSingle ? 1 : 1 + Math.floor(20 * next())),
          },
        }));
      };
      for (let now = chosen(); now.length > 0; now = chosen()) {
        const logits = many.feed(now.map(({ turn }) => turn));
        for (const [i, { one, turn }] of now.entries()) {
          one.rows.push(logits[i]);
          one.at += turn.tokens.length;
        }
        const [{ one }] = now;
        const fork = one.sequence.fork(); // the text goes on in another place
        one.sequence.close();
        one.sequence = fork;
      }
      for (const [i, { sequence, rows }] of running.entries()) {
        const got = { logits: joined(rows), ...statesOf(sequence) };
        for (const name in expected[i])
          check(`${row} ${decode}, text ${i}: ${name}`, difference(got[name].data, expected[i][name].data));
      }
      const [{ sequence }, { sequence: other }] = running;
      sequence.load();
      const last = many.feed(
        [sequence, other].map(one => ({ sequence: one, tokens: texts[2].slice(0, 5) })),
        { logits: 'last' },
      );
      const begun = [alone(texts[2].slice(0, 5)), alone(texts[1], texts[2].slice(0, 5))];
      for (const [i, { logits }] of begun.entries())
        check(`${row} ${decode}, last logits ${i}`, difference(last[i].data, logits.data.slice(-v)));
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
    /** @type {Decode[]} */
    const ways = isKept(model.plan) ? ['nodes', 'graph', 'persistent'] : [];
    for (const decode of ways) {
      /** @type {CudaExecutable} */
      let executable;
      try {
        executable = open(model.plan, { decode });
      } catch (error) {
        if (decode !== 'persistent') check(`${recipe} ${decode}`, error.message); // not for every recipe
        continue;
      }
      for (const sizes of [[length], [length / 2, ...Array(length / 2).fill(1)]]) {
        const hash = hasher();
        const sequence = executable.open();
        for (const part of cut(tokens, sizes)) hash.update(bytesOf(sequence.feed(part).data));
        sequence.close();
        check(
          `${recipe} ${decode} ${sizes.length}`,
          hash.hex() === known.logits[recipe] ? '' : 'another hash',
        );
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
  const expected = fed(prepare(wasm, plan), cuts);
  const outcomes = fed(executable, cuts);
  for (const name in expected)
    check(`${what}: ${name}`, difference(outcomes[name].data, expected[name].data));
  executable.dispose();
}
