import { describe, expect, it } from 'vitest';
import { type Folder, folderOf, fromBytes } from '../../src/formats/bytes.ts';
import { openFolder } from '../../src/formats/disk.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { openModel } from '../../src/open/model.ts';
import { EMBEDDED_MODEL, load } from '../../src/open/node.ts';
import { savePlan } from '../../src/quant/checkpoint.ts';
import { recipes } from '../../src/quant/recipes.ts';
import type { Recipe } from '../../src/quant/scheme.ts';
import { run } from '../../src/run.ts';
import { answer, workFolder } from '../cli/run.ts';
import {
  type Files,
  hfConfig,
  json,
  safetensorsOf,
  sharded,
  stateSpacesConfig,
  type ToyOptions,
  toyFiles,
  toyTensors,
} from '../cli/toy.ts';
import { concat } from '../formats/file.ts';
import { sameBits, toy, toys } from '../toy.ts';

const embedded = openFolder(EMBEDDED_MODEL);
const parsed = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes));
const PROMPT = [510, 1543, 3081, 7];

it.each(['/srv/me/toy', 'C:\\\\me\\\\toy', 'https://host/me/toy/', 'toy'])(
  'a state of the model in %s does not say where that is',
  async where => {
    const model = await openModel(folderOf(where, toyFiles()), { recipe: 'fp32' });
    const { metadata } = readSafetensors(fromBytes('state', model.session().snapshot()));
    expect(metadata.model).toBe('toy as fp32');
  },
);

it.each<[string, object]>([
  ['samples expected a whole number >= 1; got 1.5', { samples: 1.5 }],
  ['window expected a whole number >= 1; got "8"', { window: '8' }],
  ['onProgress expected a function; got true', { onProgress: true }],
  ['onWarning expected a function; got 5', { onWarning: 5 }],
  ['text expected an object; got "abc"', { text: 'abc' }],
  ['text.read expected a function; got nothing', { text: { name: 'abc' } }],
  ['cache.write expected a function; got nothing', { cache: { open() {} } }],
  ['backend.kernelOf expected a function; got nothing', { backend: {} }],
  ['backend expected an object; got null', { backend: null }],
  ['recipe expected an object; got null', { recipe: null }],
  ['recipe: no field "weights"', { recipe: recipes.dynamic }],
  ['recipe.name expected a string; got nothing', { recipe: { scheme: {} } }],
  ['recipe.scheme expected an object; got nothing', { recipe: { name: 'mine' } }],
])('an option that is not what it should be is named before anything is read: %s', async (says, options) => {
  await expect(load(EMBEDDED_MODEL, options)).rejects.toThrow(`load: ${says}`);
});

describe('the model of the package', () => {
  it('comes with what calibration saw for every recipe that needs it but those of GPTQ, and with the plan of quamba', () => {
    // GPTQ needs Σ x xᵀ of every site: more bytes than the model
    const byGptq = (row: Recipe) => row.weights?.rounding === 'gptq';
    const calibrated = Object.entries(recipes).filter(
      ([, row]: [string, Recipe]) => row.acts?.when === 'static' && !byGptq(row),
    );
    expect(calibrated.length).toBeGreaterThan(5);
    expect(embedded.list()).toEqual(
      expect.arrayContaining(calibrated.map(([name]) => `stats.${name}.safetensors`)),
    );
    expect(embedded.list()).toContain('plan.quamba.safetensors');
  });

  it('writes, as quamba', async () => {
    const model = await load();
    expect(model.info.recipe).toEqual({ name: 'quamba', scheme: recipes.quamba });
    const options = { maxTokens: 3, seed: 7 };
    const said = await answer<{ text: string; tokens: number[]; recipe: string }>(
      workFolder(),
      ...['generate', '--prompt', 'The old man', '--max-tokens', '3', '--seed', '7'],
    );
    const writing = model.generate('The old man', options);
    let next = await writing.next();
    const pieces: string[] = [];
    for (; !next.done; next = await writing.next()) pieces.push(next.value.text);
    expect(said).toMatchObject({ text: pieces.join(''), tokens: [...next.value.tokens], recipe: 'quamba' });
    expect(said.tokens).toHaveLength(3);
  });

  it('has a plan that is what its statistics give', async () => {
    const without: Folder = {
      ...embedded,
      list: () => embedded.list().filter(file => !file.startsWith('plan.')),
    };
    expect(without.list()).toContain('stats.quamba.safetensors');
    const [ready, made] = [await openModel(embedded), await openModel(without)];
    expect(made.info).toEqual(ready.info);
    expect(sameBits(made.session().feed(PROMPT).data, ready.session().feed(PROMPT).data)).toBe(true);
  });
});

describe('a checkpoint', () => {
  const logitsOf = async (files: Files, recipe = 'fp32') =>
    (await openModel(folderOf('m', files), { recipe })).session().feed(toy.text).data;
  const withTensors = (options: ToyOptions = {}) => ({
    'config.json': json(hfConfig((options.of ?? toy).config)),
    'model.safetensors': safetensorsOf(toyTensors(options)),
  });

  it.each(toys.map(of => [of.name, of] as const))('of Hugging Face: %s', async (_, of) => {
    const expected = run(of.program, toy.text).data;
    expect(sameBits(await logitsOf(withTensors({ of })), expected)).toBe(true);
  });

  it('in shards is the same', async () => {
    const shards = { 'config.json': json(hfConfig(toy.config)), ...sharded(toyTensors()) };
    expect(sameBits(await logitsOf(shards), await logitsOf(toyFiles()))).toBe(true);
  });

  it('of state-spaces is the same', async () => {
    const { 'backbone.embeddings.weight': embedding, ...rest } = toyTensors();
    const files = {
      'config.json': json({ ...stateSpacesConfig(toy.config), vocab_size: 27 }), // padded to 32, a multiple of 8
      'model.safetensors': safetensorsOf({
        ...rest,
        'backbone.embedding.weight': embedding,
        'lm_head.weight': embedding,
      }),
    };
    expect(sameBits(await logitsOf(files), await logitsOf(toyFiles()))).toBe(true);
  });

  it('with a head of its own reads it', async () => {
    const tensors = toyTensors();
    const { shape, data, dtype } = tensors['backbone.embeddings.weight'];
    const files = (head: Float32Array) => ({
      'config.json': json({ ...hfConfig(toy.config), tie_word_embeddings: false }),
      'model.safetensors': safetensorsOf({ ...tensors, 'lm_head.weight': { dtype, shape, data: head } }),
    });
    const tied = await logitsOf(toyFiles());
    expect(sameBits(await logitsOf(files(data as Float32Array)), tied)).toBe(true);
    const doubled = Float32Array.from(data, x => 2 * x);
    expect(
      sameBits(
        await logitsOf(files(doubled)),
        tied.map(x => 2 * x),
      ),
    ).toBe(true);
  });

  it.each(['F16', 'BF16'] as const)('stored as %s is the same as its values in F32', async precision => {
    const narrow = withTensors({ precision });
    const wide = withTensors({ precision, dtype: 'F32' });
    expect(narrow['model.safetensors'].length).toBeLessThan(0.6 * wide['model.safetensors'].length);
    for (const recipe of ['fp32', 'dynamic'])
      expect(sameBits(await logitsOf(narrow, recipe), await logitsOf(wide, recipe))).toBe(true);
    expect(sameBits(await logitsOf(narrow), await logitsOf(toyFiles()))).toBe(false);
  });

  it.each(['F16', 'F32'] as const)(
    'of %s values, quantized, keeps what stays float exactly',
    async precision => {
      const { plan, info, session } = await openModel(folderOf('m', withTensors({ precision })), {
        recipe: 'dynamic',
      });
      const file = concat(savePlan(plan, info));
      const { tensors } = readSafetensors(fromBytes('plan', file));
      expect(tensors.get('backbone.embeddings.weight')?.dtype).toBe(precision);
      const again = await openModel(folderOf('m', { 'model.safetensors': file }));
      expect(sameBits(again.session().feed(toy.text).data, session().feed(toy.text).data)).toBe(true);
    },
  );

  it('ends a text at every token that any of its files names as an end', async () => {
    const files = toyFiles({ text: true });
    const { 'tokenizer_config.json': _, ...silent } = files;
    const { 'tokenizer.json': __, ...bare } = silent;
    const config = (eos_token_id: unknown) => json({ ...parsed(files['config.json']), eos_token_id });
    const write = async (folder: Files) => {
      const model = await openModel(folderOf('m', folder), { recipe: 'fp32' });
      const writing = model.generate([104, 105], { temperature: 0, maxTokens: 3 });
      let next = await writing.next();
      while (!next.done) next = await writing.next();
      return {
        first: next.value.tokens[0],
        reason: next.value.finishReason,
        ends: model.tokenizer.endTokenIds,
      };
    };
    const { first, reason, ends } = await write(files);
    expect([reason, ends]).toEqual(['length', [256]]);
    for (const folder of [files, silent, bare])
      for (const named of [
        { 'config.json': config([256, first]) },
        { 'config.json': config(first) },
        { 'generation_config.json': json({ eos_token_id: first }) },
        { 'generation_config.json': json({ eos_token_id: [256, first] }), 'config.json': config(256) },
        { 'generation_config.json': json({ eos_token_id: null }), 'config.json': config(first) },
      ] as Files[]) {
        const said = await write({ ...folder, ...named });
        expect(said).toMatchObject({ first, reason: 'eos' });
        expect(said.ends).toContain(first);
      }
    // a plan carries all of them, where the config that it was made from is not beside it
    const many = { ...files, 'config.json': config([256, first]) };
    const { plan, info } = await openModel(folderOf('m', many), { recipe: 'dynamic' });
    expect(info.config.eosTokenId).toEqual([256, first]);
    // in the identity of its weights the first stands for all, as it did when only that was kept
    const { info: one } = await openModel(folderOf('m', { ...files, 'config.json': config(256) }), {
      recipe: 'dynamic',
    });
    expect(info.source).toBe(one.source);
    const { 'config.json': ____, ...quantized }: Files = {
      ...silent,
      'model.safetensors': concat(savePlan(plan, info)),
    };
    const made = await openModel(folderOf('m', quantized));
    expect(made.tokenizer.endTokenIds).toEqual([256, first]);
    const wrong = { ...files, 'generation_config.json': json({ eos_token_id: [1, '</s>'] }) };
    await expect(write(wrong)).rejects.toThrow(
      'm/generation_config.json: eos_token_id expected a token id, or an array of them; got [1, "</s>"]',
    );
    for (const ends of [257, 2 ** 50])
      for (const [file, content] of [
        ['config.json', config(ends)],
        ['generation_config.json', json({ eos_token_id: [1, ends] })],
      ] as const)
        await expect(write({ ...files, [file]: content }), file).rejects.toThrow(
          `m/${file}: eos_token_id expected a token id of 0 … 256, or an array of them; got `,
        );
  });

  it('without tokenizer.json knows ids only', async () => {
    const model = await openModel(folderOf('m', toyFiles()), { recipe: 'fp32' });
    expect(model.tokenizer.decode([1, 2])).toBe('');
    expect(() => model.generate('a')).toThrow(/^m: has no tokenizer\.json/);
  });
});
