import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { folderOf } from '../../src/formats/bytes.ts';
import { parseJsonText, readJson } from '../../src/formats/json.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { openFloatModel, readConfig } from '../../src/open/float.ts';
import { openTokenizer } from '../../src/open/tokenizer.ts';
import { type Files, json, sharded, toyFiles, toyTensors } from '../cli/toy.ts';
import { thrown, utf8 } from './file.ts';

const parse = (text: string) => parseJsonText(text, 'x.json');

describe('numbers that JSON does not have', () => {
  it('are read as json.dump writes them, and as transformers does', () => {
    expect(parse('{"a": [0.5, Infinity], "b": -Infinity, "c": NaN}')).toEqual({
      ...{ a: [0.5, Number.POSITIVE_INFINITY], b: Number.NEGATIVE_INFINITY, c: Number.NaN },
    });
    for (const name of ['Infinity', '-Infinity', 'NaN'])
      expect(parse(`{"a": {"__float__": "${name}"}, "b": ${name}}`)).toEqual({
        ...{ a: Number(name), b: Number(name) },
      });
  });

  it('stay text in a text, and other objects stay objects', () => {
    const anyText = fc.oneof(
      fc.string(),
      fc.constantFrom('NaN', 'a "Infinity', '\\', '\\"', '-Infinity, NaN'),
    );
    const value = fc.letrec(tie => ({
      any: fc.oneof(anyText, fc.integer(), fc.array(tie('any')), fc.dictionary(anyText, tie('any'))),
    })).any;
    fc.assert(
      fc.property(value, anyText, (inner, text) => {
        const written = JSON.stringify({ inner, text });
        expect(parse(written)).toEqual(JSON.parse(written));
        expect(parse(`[${written}, NaN]`)).toEqual([JSON.parse(written), Number.NaN]);
      }),
    );
    for (const other of [{ __float__: '1' }, { __float__: 'NaN', b: 1 }, { __float__: ['NaN'] }])
      expect(parse(JSON.stringify({ a: other }))).toEqual({ a: other });
  });

  it.each([
    'Infinite',
    '+Infinity',
    '--Infinity',
    '1NaN',
    'nan',
    '{NaN: 1}',
    '-NaN',
    'NaN.5',
    '1.NaN',
    '["NaN]',
    '["NaN\\',
  ])('are not %s', text => {
    expect(() => parse(text)).toThrow(/^x\.json: expected JSON; /);
  });

  it('leave positions and quotes of other errors as they are, and strings of any length', () => {
    const message = (text: string) => thrown(() => parse(text)).message;
    expect(message('{"x":NaN,"y": Inf}')).toBe(message('{"x": 0 ,"y": Inf}'));
    expect(message('{"x":-Infinity,"y": Inf}')).toBe(message('{"x":       0 ,"y": Inf}'));
    expect(parse(`["${'\\n'.repeat(1e7)}", NaN]`)).toEqual(['\n'.repeat(1e7), Number.NaN]);
  });

  it('are refused in a field that is read', () => {
    const config = utf8(
      new TextDecoder()
        .decode(toyFiles()['config.json'])
        .replace(/"layer_norm_epsilon":[^,]*/, '"layer_norm_epsilon":NaN'),
    );
    expect(() => readConfig(folderOf('m', { 'config.json': config }))).toThrow(
      'm/config.json: layer_norm_epsilon expected a number from 1.1754943508222875e-38 to 1; got NaN',
    );
  });
});

describe('what stands in for a file that was never fetched', () => {
  const LFS = 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n';
  const files: Files = { ...toyFiles({ text: true }), 'generation_config.json': json({}) };
  const shards = { 'config.json': files['config.json'], ...sharded(toyTensors()) };
  const bin = { 'config.json': files['config.json'], 'pytorch_model.bin': utf8('') };

  it.each<[string, RegExp]>([
    [LFS, /: is the pointer of Git LFS, not the file itself; fetch it by git lfs pull$/],
    [
      '<!DOCTYPE html>\n<html lang="en"><body>Sign in',
      /: is a page of HTML, not the file itself; fetch it anew$/,
    ],
    ['\n <html><head><title>\xe9', /: is a page of HTML, /],
    [
      '<?xml version="1.0"?><Error><Code>AccessDenied',
      /: is XML, as servers write their errors, not the file itself/,
    ],
    ['<Error><Code>NoSuchKey</Code></Error>', /: is XML, /],
  ])('%j is told in the place of every file', (text, sentence) => {
    const bytes = Uint8Array.from(text, char => char.charCodeAt(0)); // not UTF-8 where a page is latin1
    for (const folder of [files, shards, bin])
      for (const file of folder === bin ? ['pytorch_model.bin'] : Object.keys(folder)) {
        const spoiled = folderOf('m', { ...folder, [file]: bytes });
        const open = () => {
          const model = openFloatModel(spoiled);
          openTokenizer(spoiled, model.config);
        };
        expect(open, file).toThrow(sentence);
        expect(open, file).toThrow(`m/${file}: `);
      }
    expect(() => readJson(folderOf('m', { a: bytes }), 'a')).toThrow(sentence);
  });

  it('is not seen in a file that is sound', () => {
    const html = '<html>';
    expect(parse(JSON.stringify(html))).toBe(html);
    expect(() => readSafetensors(folderOf('m', { a: utf8('short') }).open('a'))).toThrow('at least 8 bytes');
  });
});
