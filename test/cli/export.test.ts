/** `quamba export` on toy models and on the embedded one. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { readGguf } from '../gguf/reader.ts';
import { toys } from '../toy.ts';
import { answer, complaint, printed, workFolder } from './run.ts';
import { json, safetensorsOf, toyFiles, toyTensors, writeFolder } from './toy.ts';

const here = workFolder();
const inHere = (...path: string[]) => join(here, ...path);
const read = (file: string) => readGguf(readFileSync(inHere(file)));
const value = (file: string, key: string) => read(file).metadata.get(key)?.[1];

beforeAll(async () => {
  writeFolder(inHere('toy'), toyFiles());
  writeFolder(inHere('text'), toyFiles({ text: true }));
  writeFolder(inHere('biased'), toyFiles({ of: toys[2] }));
  const nan = toyTensors();
  nan['backbone.layers.1.mixer.D'].data[5] = Number.NaN;
  writeFolder(inHere('nan'), { ...toyFiles(), 'model.safetensors': safetensorsOf(nan) });
  writeFolder(inHere('wrong-tokenizer'), {
    ...toyFiles(),
    'tokenizer.json': json({ model: { type: 'Unigram' } }),
  });
  await printed(here, 'quantize', '--model', 'toy', '--recipe', 'dynamic', '--out', 'quantized');
});

it('writes the file and says what is in it', async () => {
  const said = await answer(
    here,
    'export',
    '--format',
    'gguf',
    '--type',
    'q8_0',
    '--model',
    'text',
    '--out',
    'a.gguf',
  );
  const file = readFileSync(inHere('a.gguf'));
  const stored = [...readGguf(file).tensors.values()];
  const inF32 = stored.filter(({ type }) => type === 0).length;
  expect(said).toEqual({
    out: 'a.gguf',
    format: 'gguf',
    type: 'q8_0',
    bytes: file.length,
    tensors: stored.length,
    types: { f32: inF32 }, // 32 does not divide a width of the toy, so that no row is whole blocks
    vocabulary: 'tokenizer.json',
  });
  expect(readGguf(file).end).toBe(file.length);
  expect(value('a.gguf', 'tokenizer.ggml.tokens')).toHaveLength(257);
  expect(value('a.gguf', 'tokenizer.ggml.eos_token_id')).toBe(256);
  expect(value('a.gguf', 'general.name')).toBe('text');
});

it('takes f32 where no type is given, and gives a model without tokenizer placeholders', async () => {
  const said = await answer<Record<string, unknown>>(here, 'export', '--model', 'toy', '--out', 'b.gguf');
  expect(said).toMatchObject({ type: 'f32', vocabulary: 'placeholders' });
  expect(value('b.gguf', 'general.file_type')).toBe(0);
  expect((value('b.gguf', 'tokenizer.ggml.tokens') as string[]).slice(0, 2)).toEqual(['[0]', '[1]']);
});

it('writes the embedded model by default, with its words', async () => {
  const text = await printed(here, 'export', '--type', 'f16', '--out', 'books.gguf');
  expect(text).toBe('books.gguf: 30.1 MB, 122 tensors, 49 in f16, 73 in f32, vocabulary of tokenizer.json\n');
  const tokens = value('books.gguf', 'tokenizer.ggml.tokens') as string[];
  expect(tokens).toHaveLength(8192);
  expect(tokens[0]).toBe('<|endoftext|>');
  expect((value('books.gguf', 'tokenizer.ggml.merges') as string[])[0]).toBe('Ġ t');
});

it('--help ends with examples', async () => {
  const [, examples] = (await printed(here, 'export', '--help')).split('\nExamples:\n');
  expect(examples.trimEnd().split('\n')).toHaveLength(2);
});

describe('wrong usage ends with 2', () => {
  it.each<[RegExp, string]>([
    [/required option '--out <file>' not specified/, 'export --model toy'],
    [/'--type <name>'.* Allowed choices are f32, f16, q8_0/, 'export --type q4_0 --out x.gguf'],
    [/'--format <name>'.* Allowed choices are gguf/, 'export --format onnx --out x.gguf'],
    [
      /^export: --out toy\/model.safetensors is a file of the model itself$/,
      'export --model toy --out toy/model.safetensors',
    ],
  ])('%s', async (sentence, line) => {
    expect(await complaint(2, here, ...line.split(' '))).toMatch(sentence);
  });
});

describe('what fails ends with 1 and leaves nothing', () => {
  it.each<[RegExp, string]>([
    [/^quantized: is quantized already; export takes the folder of the float model$/, 'quantized'],
    [/^biased\/config.json: use_bias expected false/, 'biased'],
    [/^nan\/model.safetensors: tensor "backbone.layers.1.mixer.D": expected finite values/, 'nan'],
    [/^wrong-tokenizer\/tokenizer.json: model.type expected "BPE"; got "Unigram"$/, 'wrong-tokenizer'],
    [/^missing: no such file or folder$/, 'missing'],
  ])('%s', async (sentence, model) => {
    expect(await complaint(1, here, 'export', '--json', '--model', model, '--out', 'x.gguf')).toMatch(
      sentence,
    );
    expect(existsSync(inHere('x.gguf'))).toBe(false);
    expect(readdirSync(here).filter(name => name.endsWith('.tmp'))).toEqual([]);
  });

  it('where there is no folder to write to', async () => {
    const sentence = await complaint(1, here, 'export', '--model', 'toy', '--out', 'no/x.gguf');
    expect(sentence).toBe('no/x.gguf: no such file or folder');
  });
});
