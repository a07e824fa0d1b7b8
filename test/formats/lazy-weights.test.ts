/** Weights are read when they are packed, one after the other: what a large model needs so that it is in memory once. */
import { describe, expect, it } from 'vitest';
import { type ByteSource, type Folder, folderOf, fromBytes } from '../../src/formats/bytes.ts';
import type { Weights } from '../../src/graph.ts';
import { openModel } from '../../src/open/model.ts';
import { loadPlan, savePlan } from '../../src/quant/checkpoint.ts';
import { recipe } from '../../src/quant/recipes.ts';
import { w8, w8rows } from '../../src/quant/scheme.ts';
import { integerWeights } from '../../src/quant/weights.ts';
import { json, toyFiles } from '../cli/toy.ts';
import { planOfToy, toy } from '../toy.ts';
import { concat } from './file.ts';

describe('integer weights', () => {
  const ref = 'backbone.layers.0.mixer.in_proj.weight';
  const counted = () => {
    const reads: string[] = [];
    const weights: Weights = {
      ...toy.program.weights,
      read(name) {
        reads.push(name);
        return toy.program.weights.read(name);
      },
    };
    return { reads, made: integerWeights({ ...toy.program, weights }) };
  };

  it.each([w8, w8rows, { bits: 8, per: { group: 8 } } as const])(
    '%j: read once for integers and scales',
    scheme => {
      const { reads, made } = counted();
      const { q, scale } = made.of(ref, scheme, 'matrix');
      expect(reads).toEqual([]);
      const integers = made.made.get(q)!.read();
      const scales = made.made.get(scale)!.read();
      expect(reads).toEqual([ref]);
      expect([integers.shape, scales.shape]).toEqual([made.made.get(q)!.shape, made.made.get(scale)!.shape]);
    },
  );

  it('are not kept, and the same again; scales may come first', () => {
    const { reads, made } = counted();
    const { q, scale } = made.of(ref, w8rows, 'rows');
    const first = [made.made.get(scale)!.read(), made.made.get(q)!.read()];
    const again = [made.made.get(scale)!.read(), made.made.get(q)!.read()];
    expect(again).toEqual(first);
    expect(again[1].data).not.toBe(first[1].data);
    expect(reads).toHaveLength(3); // the scales are there from the first time on
  });
});

const info = {
  config: toy.config,
  recipe: { name: 'mine', scheme: recipe('quamba') },
  source: 'x',
  calibration: null,
};
const bytes = concat(savePlan(planOfToy(toy, recipe('quamba')), info));

/** Files in memory that count what is open and what was read. */
function watched(files: Readonly<Record<string, Uint8Array>>) {
  const open = new Set<ByteSource>();
  let read = 0;
  const inner = folderOf('watched', files);
  const folder: Folder = {
    ...inner,
    open(file) {
      const source = inner.open(file);
      const alive = () => {
        if (!open.has(outer)) throw new Error(`${source.name}: read after it was closed`);
      };
      const outer: ByteSource = {
        ...source,
        read(begin, end) {
          alive();
          read += end - begin;
          return source.read(begin, end);
        },
        readInto(target, begin) {
          alive();
          read += target.length;
          source.readInto(target, begin);
        },
        close: () => void open.delete(outer),
      };
      open.add(outer);
      return outer;
    },
  };
  return { folder, open, read: () => read };
}

describe('a plan from a file', () => {
  it('reads a weight each time that it is asked for, as long as the file is open', () => {
    const { folder, open, read } = watched({ plan: bytes });
    const source = folder.open('plan');
    const { plan } = loadPlan(source);
    const [ref] = plan.graph.weights.keys();
    const before = read();
    const weight = plan.weights.read(ref);
    expect(read() - before).toBe(weight.data.byteLength);
    expect(plan.weights.read(ref)).toEqual(weight);
    expect(plan.weights.read(ref).data).not.toBe(weight.data);
    source.close();
    expect(open.size).toBe(0);
    expect(() => plan.weights.read(ref)).toThrow(/read after it was closed$/);
  });

  it('is open as long as the model that runs it, and no longer', async () => {
    const { folder, open } = watched({ ...toyFiles(), 'model.safetensors': bytes });
    const model = await openModel(folder);
    expect([...open].map(({ name }) => name)).toEqual(['watched/model.safetensors']);
    expect(model.plan.weights.read([...model.plan.graph.weights.keys()][0]).data.length).toBeGreaterThan(0);
    model.session().snapshot(); // asks for the model's identity, which is made of the weights
    model.dispose();
    expect(open.size).toBe(0);
  });

  it.each<[string, RegExp, Parameters<typeof openModel>[1], Readonly<Record<string, Uint8Array>>]>([
    ['of another recipe', /is quantized by recipe mine/, { recipe: 'dynamic' }, {}],
    [
      'of another model',
      /was made for a model with dModel 24/,
      {},
      {
        'config.json': json({
          ...JSON.parse(new TextDecoder().decode(toyFiles()['config.json'])),
          hidden_size: 48,
        }),
      },
    ],
    [
      'that is damaged',
      /identity differs|NaN/,
      {},
      { 'model.safetensors': bytes.map((b, i) => (i >= bytes.length - 4096 ? b ^ 85 : b)) },
    ],
  ])('%s is closed again', async (_, sentence, options, files) => {
    const { folder, open } = watched({ ...toyFiles(), 'model.safetensors': bytes, ...files });
    await expect(openModel(folder, options)).rejects.toThrow(sentence);
    expect(open.size).toBe(0);
  });

  it('of a float folder is left for another recipe, and closed', async () => {
    const { folder, open } = watched({ ...toyFiles() });
    const model = await openModel(folder, { recipe: 'dynamic' });
    expect(open.size).toBe(1);
    model.dispose();
    expect(open.size).toBe(0);
  });
});

it('bytes in memory give the same plan', () => {
  const { plan } = loadPlan(fromBytes('plan', bytes));
  const { weights } = planOfToy(toy, recipe('quamba'));
  for (const ref of plan.graph.weights.keys()) expect(plan.weights.read(ref)).toEqual(weights.read(ref));
});
