/** `quamba bench`: what it prints and refuses, and the checkpoint of random weights. No test looks at how fast anything is. */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { openFolder } from '../../src/formats/disk.ts';
import { parseConfig } from '../../src/model/index.ts';
import { openFloatModel } from '../../src/open/float.ts';
import { load } from '../../src/open/node.ts';
import { randomModel } from '../../src/random/model.ts';
import { configs, shapes } from '../../src/random/shapes.ts';
import { writeCheckpoint } from '../../src/random/write-checkpoint.ts';
import { run } from '../../src/run.ts';
import { sameBits, toy } from '../toy.ts';
import { answer, complaint, printed, workFolder } from './run.ts';
import { hfConfig, toyFiles, writeFolder } from './toy.ts';

const here = workFolder();
const inHere = (name: string) => join(here, name);
const BRIEF = ['--rounds', '2', '--generate', '3', '--prompt-length', '5'];

beforeAll(() => void writeFolder(inHere('toy'), toyFiles()));

const NUMBERS = ['prefillTokensPerSecond', 'decodeTokensPerSecond', 'loadSeconds', 'peakMemoryBytes'];
const OF_WASM = ['bytesPerToken', 'readBandwidth', 'readShare'];

describe('--json', () => {
  const settings = { promptLength: 5, generate: 3, rounds: 2, node: process.version };

  it('of a folder', async () => {
    const report = await answer<Record<string, unknown>>(here, 'bench', '--model', 'toy', ...BRIEF);
    expect(report).toMatchObject({ ...settings, model: 'toy', recipe: 'fp32', backend: 'wasm', threads: 1 });
    for (const field of [...NUMBERS, ...OF_WASM]) expect(report[field], field).toBeGreaterThan(0);
    for (const field of ['kernels', 'cpu', 'date']) expect(report[field], field).toBeTypeOf('string');
  });

  it('of a backend that has nothing to say of itself', async () => {
    const args = ['--model', 'toy', '--backend', 'reference', '--recipe', 'dynamic', ...BRIEF];
    const report = await answer<Record<string, unknown>>(here, 'bench', ...args);
    expect(report).toMatchObject({ ...settings, recipe: 'dynamic', backend: 'reference' });
    for (const field of NUMBERS) expect(report[field], field).toBeGreaterThan(0);
    for (const field of [...OF_WASM, 'kernels']) expect(report[field], field).toBeNull();
  });

  it.each([
    ['mamba-130m', 129_135_360, 24 * 1536 * (16 + 3)],
    ['mamba2-130m', 128_989_632, 24 * (1536 * 128 + 1792 * 3)],
  ])('of the shape %s', async (shape, parameters, states) => {
    const args = ['--shape', shape, '--rounds', '1', '--generate', '1', '--prompt-length', '1'];
    const report = await answer<Record<string, number>>(here, 'bench', ...args, '--seed', '3');
    expect(report).toMatchObject({
      shape,
      seed: 3,
      recipe: 'quamba-int8-head',
      backend: 'wasm',
      threads: 1,
    });
    // int8 weights of all matrices, and a few percent of scales and vectors; the embedding is counted once, as the head.
    // The states are f32, read and written
    const weights = report.bytesPerToken - 2 * 4 * states;
    expect(weights).toBeGreaterThan(parameters);
    expect(weights).toBeLessThan(1.05 * parameters);
  });
});

it('prints a table', async () => {
  const rows = (await printed(here, 'bench', '--model', 'toy', ...BRIEF)).trimEnd().split('\n');
  expect(rows[0]).toMatch(/^model +toy, fp32$/);
  expect(rows.map(row => row.split(/ {2,}/)[0])).toEqual([
    'model',
    'runs on',
    'prefill, 5 tokens',
    'decode, 3 tokens',
    'moved for each token',
    'a plain read of as much',
    'decode reaches',
    'load to first token',
    'peak memory',
  ]);
});

describe('wrong usage', () => {
  it.each<[RegExp, string[]]>([
    [/^bench: give either --shape NAME or --model DIR$/, []],
    [/^bench: give either --shape NAME or --model DIR$/, ['--shape', 'mamba-130m', '--model', 'toy']],
    [/^bench: --write-checkpoint takes a --shape$/, ['--model', 'toy', '--write-checkpoint', 'out']],
    [/'mamba-1b' is invalid\. Allowed choices are mamba-130m, .*falcon-h1-0\.5b\.$/, ['--shape', 'mamba-1b']],
    [/expected a whole number >= 1; got '0'$/, ['--model', 'toy', '--rounds', '0']],
    [/expected a whole number >= 1; got 'x'$/, ['--model', 'toy', '--generate', 'x']],
    [/^recipe 'best' is not known/, ['--model', 'toy', '--recipe', 'best']],
    [
      /^random weights: no range is known for site blockIn/,
      ['--shape', 'mamba-130m', '--recipe', 'smoothquant'],
    ],
    [/'q8' is invalid\. Allowed choices are f32, f16\.$/, ['--shape', 'mamba-130m', '--type', 'q8']],
  ])('%s', async (sentence, args) => {
    expect(await complaint(2, here, 'bench', ...args)).toMatch(sentence);
    expect(existsSync(inHere('out'))).toBe(false);
  });

  it('a folder that is not there is a failure', async () => {
    expect(await complaint(1, here, 'bench', '--model', 'missing')).toMatch(
      /^missing: no such file or folder$/,
    );
  });
});

describe('a checkpoint of random weights', () => {
  const { config } = toy;
  const small = { num_hidden_layers: 2, hidden_size: 32, vocab_size: 32, num_heads: 4, head_dim: 16 };
  const mamba2 = { ...configs['mamba2-130m'], ...small, state_size: 16 };

  it.each([
    ['as-f32', 'f32', hfConfig(config)],
    ['as-f16', 'f16', hfConfig(config)],
    ['mamba2-f32', 'f32', mamba2],
    ['mamba2-f16', 'f16', mamba2],
  ] as const)('%s loads as the model itself', async (folder, type, json) => {
    const own = parseConfig(json, folder);
    const tokens = Int32Array.from({ length: 24 }, (_, i) => (i * 7 + 3) % own.vocabSize);
    const expected = run(randomModel(own, 5), tokens);
    const path = inHere(folder);
    const seen: number[] = [];
    await writeCheckpoint(path, json, { seed: 5, type, onProgress: done => seen.push(done) });
    expect(readdirSync(path).sort()).toEqual(['config.json', 'model.safetensors']);
    const model = openFloatModel(openFolder(path));
    expect(model.unused).toEqual([]);
    expect(seen).toEqual([...model.program.graph.weights].map((_, i) => i + 1));
    model.close();
    for (const backend of ['reference', 'wasm']) {
      const loaded = await load(path, { recipe: 'fp32', backend });
      expect(sameBits(loaded.session().feed(tokens).data, expected.data), backend).toBe(true);
      loaded.dispose();
    }
  });

  it('in F16 has half the bytes, and config.json says so', () => {
    const [whole, half] = ['as-f32', 'as-f16'].map(
      folder => statSync(inHere(`${folder}/model.safetensors`)).size,
    );
    expect(half / whole).toBeLessThan(0.6);
    const about = (folder: string) => JSON.parse(readFileSync(inHere(`${folder}/config.json`), 'utf8'));
    expect(about('as-f16')).toEqual({ ...about('as-f32'), torch_dtype: 'float16' });
    expect(about('as-f32')).toMatchObject({ model_type: 'mamba', torch_dtype: 'float32', hidden_size: 24 });
  });

  it('depends on the seed', async () => {
    for (const seed of [5, 6])
      await writeCheckpoint(inHere(`seed-${seed}`), hfConfig(config), { seed, type: 'f32' });
    const [same, other] = [5, 6].map(seed => readFileSync(inHere(`seed-${seed}/model.safetensors`)));
    expect(same.equals(readFileSync(inHere('as-f32/model.safetensors')))).toBe(true);
    expect(same.equals(other)).toBe(false);
  });

  it.each(['config.json', 'model.safetensors'])('does not overwrite a %s', async file => {
    const folder = `has-${file}`;
    mkdirSync(inHere(folder));
    writeFileSync(inHere(`${folder}/${file}`), 'mine');
    const args = ['--shape', 'mamba-130m', '--write-checkpoint', folder];
    expect(await complaint(1, here, 'bench', ...args)).toBe(`${folder}/${file}: is there already`);
    expect(readdirSync(inHere(folder))).toEqual([file]);
    expect(readFileSync(inHere(`${folder}/${file}`), 'utf8')).toBe('mine');
  });

  it('of a shape has the shape', async () => {
    const args = ['--shape', 'mamba-130m', '--type', 'f16', '--write-checkpoint', 'mamba-130m'];
    const { out, seed, type, bytes } = await answer<Record<string, unknown>>(here, 'bench', ...args);
    expect({ out, seed, type }).toEqual({ out: 'mamba-130m', seed: 1, type: 'f16' });
    expect(bytes).toBe(statSync(inHere('mamba-130m/model.safetensors')).size);
    const model = openFloatModel(openFolder(inHere('mamba-130m')));
    expect(model.config).toEqual(shapes['mamba-130m']);
    expect(model.program.weights.read('backbone.layers.23.mixer.dt_proj.weight')).toEqual(
      randomModel(shapes['mamba-130m'], 1).weights.read('backbone.layers.23.mixer.dt_proj.weight'),
    );
    model.close();
  });
});
