import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Folder, folderOf } from '../../src/formats/bytes.ts';
import { writeSafetensors } from '../../src/formats/safetensors.ts';
import { openWeights, type WeightSource } from '../../src/formats/weights.ts';
import { concat, safetensors, thrown, utf8, zerosFile } from './file.ts';

const index = (map: unknown) => utf8(JSON.stringify({ metadata: { total_size: 7 }, weight_map: map }));
const namesOf = ({ tensors }: WeightSource) => [...tensors.keys()];
const INDEX = 'model.safetensors.index.json';

/** A folder that counts what is open in it. */
function counted(files: Record<string, Uint8Array>): Folder & { readonly openFiles: () => number } {
  const inner = folderOf('m', files);
  let count = 0;
  return {
    ...inner,
    openFiles: () => count,
    open(file) {
      const source = inner.open(file);
      count++;
      return { ...source, close: () => void count-- };
    },
  };
}

const one = concat(
  writeSafetensors([['a', { dtype: 'F16', shape: [2], data: Float32Array.of(1, 2) }]], {
    format: 'pt',
    n: '1',
  }),
);
const two = concat(
  writeSafetensors([['b', { dtype: 'I8', shape: [1, 3], data: Int8Array.of(1, 2, 3) }]], { n: '2' }),
);

describe('openWeights', () => {
  it('reads one file', () => {
    const folder = counted({ 'model.safetensors': one });
    const weights = openWeights(folder);
    expect(namesOf(weights)).toEqual(['a']);
    expect([weights.has('a'), weights.has('b'), weights.has('toString')]).toEqual([true, false, false]);
    expect(weights.tensors.get('a')!.dtype).toBe('F16');
    expect(weights.read('a')).toEqual({ dtype: 'f32', shape: [2], data: Float32Array.of(1, 2) });
    expect(() => weights.read('b')).toThrow('m/model.safetensors: no tensor "b"');
    expect(folder.openFiles()).toBe(1);
    weights.close();
    expect(folder.openFiles()).toBe(0);
  });

  it('reads shards as if they were one file, however the tensors are dealt out', () => {
    const anyDeal = fc.array(fc.nat(3), { minLength: 1, maxLength: 10 });
    fc.assert(
      fc.property(anyDeal, deal => {
        const shardName = (shard: number) => `model-${shard}.safetensors`;
        const files = Object.fromEntries(
          [...new Set(deal)].map(shard => [
            shardName(shard),
            concat(
              writeSafetensors(
                deal.flatMap((s, i) =>
                  s === shard
                    ? [[`t${i}`, { dtype: 'F32', shape: [1, i], data: new Float32Array(i).fill(i) }] as const]
                    : [],
                ),
              ),
            ),
          ]),
        );
        const map = Object.fromEntries(deal.map((shard, i) => [`t${i}`, shardName(shard)]));
        const weights = openWeights(folderOf('m', { ...files, [INDEX]: index(map) }));
        expect(new Set(namesOf(weights))).toEqual(new Set(Object.keys(map)));
        for (const i of deal.keys())
          expect(weights.read(`t${i}`)).toEqual({
            dtype: 'f32',
            shape: [1, i],
            data: new Float32Array(i).fill(i),
          });
      }),
    );
    const both = { 'model.safetensors': one, 's.safetensors': two, [INDEX]: index({ b: 's.safetensors' }) };
    expect(namesOf(openWeights(folderOf('m', both)))).toEqual(['a']); // the single file comes first, as in transformers
  });

  it.each<[string, Record<string, Uint8Array>, string]>([
    [
      'an empty folder',
      {},
      'm: expected model.safetensors or pytorch_model.bin, or the index of its shards; found none',
    ],
    [
      'a checkpoint under another name',
      { 'mamba.pt': one },
      'm/mamba.pt: weights are expected under the name model.safetensors or pytorch_model.bin',
    ],
    [
      'a pickle that is none',
      { 'pytorch_model.bin': one },
      'm/pytorch_model.bin: expected a checkpoint of torch.save, a zip file that begins with PK; got ',
    ],
    [
      'an index that is no object',
      { [INDEX]: utf8('[]') },
      `m/${INDEX}: weight_map expected an object; got nothing`,
    ],
    ['a weight_map that is no object', { [INDEX]: index(['1']) }, 'weight_map expected an object; got ["1"]'],
    ['an index that is no JSON', { [INDEX]: utf8('{') }, `m/${INDEX}: expected JSON; `],
    [
      'a tensor twice in the index',
      { '1': one, [INDEX]: utf8('{"weight_map":{"a":"1","a":"1"}}') },
      'key "a" stands twice',
    ],
    [
      'a shard that is missing',
      { '1': one, [INDEX]: index({ a: '1', b: '2' }) },
      'tensor "b" is in "2", which is not in the folder',
    ],
    [
      'a tensor that is missing in its shard',
      { '1': one, '2': two, [INDEX]: index({ a: '1', b: '2', c: '2' }) },
      `m/${INDEX}: tensor "c" is not in "2"`,
    ],
    [
      'a tensor in another shard',
      { '1': one, '2': two, [INDEX]: index({ a: '2', b: '2', x: '1' }) },
      'tensor "a" is not in "2"',
    ],
    [
      'a tensor in two shards',
      { '1': one, '2': one, [INDEX]: index({ a: '1', b: '2' }) },
      'm/2: tensor "a" is also in m/1',
    ],
    [
      'a broken shard',
      { '1': one, '2': two.slice(0, -1), [INDEX]: index({ a: '1', b: '2' }) },
      'm/2: tensors end at byte',
    ],
    [
      'a number as shard',
      { '1': one, [INDEX]: index({ a: 1 }) },
      'shard of "a" expected the name of a file in its folder; got 1',
    ],
    ...['../1', '/1', 'sub/1', '..\\1', '..', '1\0', ''].map(
      (shard): [string, Record<string, Uint8Array>, string] => [
        `the shard ${JSON.stringify(shard)}`,
        { '1': one, [shard]: one, [INDEX]: index({ a: shard }) },
        `m/${INDEX}: shard of "a" expected the name of a file in its folder; got ${JSON.stringify(shard)}`,
      ],
    ),
  ])('refuses %s, and leaves nothing open', (_, files, message) => {
    const folder = counted(files);
    expect(thrown(() => openWeights(folder)).message).toContain(message);
    expect(folder.openFiles()).toBe(0);
  });

  it('reads pytorch_model.bin, alone and in shards, and safetensors first', () => {
    const file = (name: string) =>
      new Uint8Array(readFileSync(new URL(`./pytorch/valid/${name}.bin`, import.meta.url)));
    const bin = 'pytorch_model.bin';
    const alone = openWeights(folderOf('m', { [bin]: file('linear') }));
    expect([namesOf(alone), alone.tensors.get('weight')!.shape, alone.tensors.get('bias')!.dtype]).toEqual([
      ['weight', 'bias'],
      [2, 3],
      'F32',
    ]);
    const both = folderOf('m', { [bin]: file('linear'), 'model.safetensors': one });
    expect(namesOf(openWeights(both))).toEqual(['a']);
    const map = { weight: '1', bias: '1', w: '2', b: '2' };
    const shards = { '1': file('linear'), '2': file('parameters'), [`${bin}.index.json`]: index(map) };
    expect(namesOf(openWeights(folderOf('m', shards)))).toEqual(['weight', 'bias', 'w', 'b']);
    expect(() => openWeights(folderOf('m', { ...shards, '2': one }))).toThrow('m/2: expected a checkpoint');
    expect(
      openWeights(folderOf('m', { [bin]: file('mamba') })).tensors.get('backbone.embeddings.weight')!.shape,
    ).toEqual([16, 6]);
  });

  it('gives the names and shapes that the model reads', () => {
    const shapes = {
      'backbone.embedding.weight': [4, 2],
      'l.conv1d.weight': [6, 1, 4],
      'l.conv1d.bias': [6],
    };
    const weights = openWeights(folderOf('m', { 'model.safetensors': zerosFile(shapes) }));
    expect(namesOf(weights)).toEqual(['backbone.embeddings.weight', 'l.conv1d.weight', 'l.conv1d.bias']);
    expect(weights.tensors.get('l.conv1d.weight')!.shape).toEqual([6, 4]);
    expect(weights.read('l.conv1d.weight')).toMatchObject({ shape: [6, 4] });
    expect(weights.read('backbone.embeddings.weight')).toMatchObject({ shape: [4, 2] });
    const plural = {
      'backbone.embeddings.weight': [5],
      'backbone.embedding.weight': [4],
      'l.conv1d.weight': [6, 4, 1],
    };
    for (const shapes of [plural, Object.fromEntries(Object.entries(plural).reverse())]) {
      const both = openWeights(folderOf('m', { 'model.safetensors': zerosFile(shapes) }));
      expect(both.tensors.get('backbone.embeddings.weight')!.shape).toEqual([5]);
      expect(both.tensors.get('backbone.embedding.weight')!.shape).toEqual([4]);
      expect(both.tensors.get('l.conv1d.weight')!.shape).toEqual([6, 4, 1]);
    }
  });

  it('undoes what wrappers and a missing head do to the names', () => {
    const names = ['backbone.embeddings.weight', 'backbone.layers.0.norm.weight', 'backbone.norm_f.weight'];
    const open = (list: readonly string[]) =>
      namesOf(
        openWeights(
          folderOf('m', {
            'model.safetensors': zerosFile(Object.fromEntries(list.map(name => [name, [1]]))),
          }),
        ),
      );
    const bare = (name: string) => name.replace('backbone.', '');
    for (const change of [
      bare,
      ...['_orig_mod.', 'model.', 'module.', 'module._orig_mod.', '_orig_mod.model.'].flatMap(prefix => [
        (name: string) => prefix + name,
        (name: string) => prefix + bare(name),
      ]),
      (name: string) => name.replace('layers.0.', 'layers.0._orig_mod.'),
      (name: string) => name.replace('embeddings', 'embedding'),
    ])
      expect(open([...names, 'lm_head.weight'].map(change)).sort()).toEqual([...names, 'lm_head.weight']);
    expect(open(['model.x', 'x', 'a.model.x', 'modelx', 'ema.layers.0.x'])).toEqual(
      expect.arrayContaining(['model.x', 'x', 'a.model.x', 'modelx', 'ema.layers.0.x']),
    );
    expect(() => open(['model.x', 'module.x'])).toThrow(
      'm/model.safetensors: tensors "model.x" and "module.x" are both the model\'s x',
    );
  });

  it('names the shard in what goes wrong later', () => {
    const nan = safetensors(
      { a: { dtype: 'F32', shape: [1], data_offsets: [0, 4] } },
      new Uint8Array(Float32Array.of(Number.NaN).buffer),
    );
    const weights = openWeights(
      folderOf('m', { 's.safetensors': nan, [INDEX]: index({ a: 's.safetensors' }) }),
    );
    expect(() => weights.read('a')).toThrow(
      'm/s.safetensors: tensor "a": expected finite values; got NaN at index 0',
    );
  });
});
