/** Checkpoints that were made to do harm, each of them small. Loading them ends with a sentence. */
import { describe, expect, it } from 'vitest';
import { prepare } from '../../src/backends/backend.ts';
import { reference } from '../../src/backends/reference.ts';
import { wasm } from '../../src/backends/wasm/index.ts';
import { folderOf } from '../../src/formats/bytes.ts';
import { openModel } from '../../src/open/model.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { thrown, utf8 } from '../formats/file.ts';
import { sameBits, toy } from '../toy.ts';
import { type Crafted, craft, f32, type Json, loadCrafted, type Stored } from './crafted.ts';

function crafted(
  tensors: Readonly<Record<string, Stored>>,
  states: Json,
  nodes: Json[],
  vocabSize: number,
): Crafted {
  const types = Object.entries(tensors).map(([name, { shape }]) => [name, `f32[${shape.join(', ')}]`]);
  return {
    config: { ...toy.config, vocabSize },
    recipe: { name: 'x', scheme: {} },
    source: 'x',
    calibration: null,
    graph: { input: 'tokens', result: 'logits', states, weights: Object.fromEntries(types), nodes },
    tensors: new Map(Object.entries(tensors)),
  };
}
const sentence = (plan: Crafted) => thrown(() => loadCrafted(plan)).message;
const op = (name: string, inputs: Json, out: Json, more: Json = {}) => ({
  op: name,
  in: inputs,
  out,
  ...more,
});
const embed = op('embedding', { tokens: 'tokens', w: 'E' }, { y: 'e' });

describe('a state that two nodes carry, each in its own layout', () => {
  const [d, n, v] = [16, 4, 8];
  const tensors = {
    E: f32([v, d], Math.sin),
    A: f32([d, n], () => -1),
    scale: f32([d], () => 0.01),
    W: f32([d, n + 1], i => (i % 7) / 7),
    P: f32([n, d], i => Math.sin(3 * i) / 20),
  };
  it('is refused', () => {
    const nodes = [
      embed,
      op('linear', { x: 'e', w: 'P' }, { y: 'B' }),
      op('selective-scan', { u: 'e', dt: 'e', A: 'A', B: 'B', C: 'B' }, { y: 's' }, { states: { h: 'S' } }),
      op('causal-conv1d', { x: 'e', w: 'W' }, { y: 'c' }, { states: { past: 'S' } }),
      op('add', { x: 'c', y: 's' }, { sum: 'a' }),
      op('linear', { x: 'a', w: 'E' }, { y: 'logits' }),
    ];
    const states = { S: { type: `i8[${d}, ${n}]`, scale: 'scale' } };
    expect(sentence(crafted(tensors, states, nodes, v))).toBe(
      'crafted: graph.nodes[3].states.past expected a state of its own; got "S" of crafted: graph.nodes[2]',
    );
  });
});

describe('tokens beyond the table', () => {
  const tensors = { E: f32([16, 8], i => i / 100), H: f32([16, 8], Math.cos) };
  const head = op('linear', { x: 'e', w: 'H' }, { y: 'logits' });
  it('which a fused node would hide', () => {
    const nodes = [{ fused: 'any', body: [embed] }, head];
    expect(sentence(crafted(tensors, {}, nodes, 16))).toBe(
      'crafted: graph.nodes[0]: "any" does not fuse these nodes; fuse the plan anew',
    );
  });
  it('which a config claims', () => {
    expect(sentence(crafted(tensors, {}, [embed, head], 1e9))).toBe(
      'crafted: graph.nodes[0].in.w expected a row for each of 1000000000 tokens; got 16',
    );
  });
});

it('tokens beyond a table that is made of constants are refused on every backend', () => {
  const E = f32([16, 8], i => i / 100);
  const nodes = [
    op('silu', { x: 'E' }, { y: 'table' }),
    op('embedding', { tokens: 'tokens', w: 'table' }, { y: 'e' }),
    op('linear', { x: 'e', w: 'E' }, { y: 'logits' }),
  ];
  const { plan } = loadCrafted(crafted({ E }, {}, nodes, 16));
  for (const backend of [reference, wasm]) {
    const executable = prepare(backend, plan);
    const sequence = executable.open();
    expect(sequence.feed(Int32Array.of(15)).shape).toEqual([1, 16]);
    expect(() => sequence.feed(Int32Array.of(16))).toThrow(
      new RangeError('embedding C1: every token must lie in 0 … 15; got 16 at position 0'),
    );
    executable.dispose?.();
  }
});

describe('a small file that asks for much memory', () => {
  const E = f32([16, 8], i => i);
  it('by matrices without columns', () => {
    const tensors = { E: f32([16, 0], () => 0), W: f32([2_000_000, 0], () => 0), H: E };
    const nodes = [
      embed,
      op('linear', { x: 'e', w: 'W' }, { y: 'big' }),
      op('slice', { x: 'big' }, { y: 's' }, { attrs: { start: 0, size: 8 } }),
      op('linear', { x: 's', w: 'H' }, { y: 'logits' }),
    ];
    expect(sentence(crafted(tensors, {}, nodes, 16))).toBe(
      'crafted: graph.weights["E"] expected positive extents; got f32[16, 0]',
    );
  });
  it('by many states', () => {
    const states = Object.fromEntries(
      Array.from({ length: 300 }, (_, i) => [`s${i}`, { type: 'f32[16777216]' }]),
    );
    const nodes = [embed, op('linear', { x: 'e', w: 'E' }, { y: 'logits' })];
    expect(sentence(crafted({ E }, states, nodes, 16))).toBe(
      'crafted: graph.states expected at most 536870912 bytes; got 20132659200',
    );
  });
});

it('a group whose steps are of the sum and not of its norm gives the same bits on every backend', () => {
  const plan = craft(toy, recipes.quamba);
  plan.graph.nodes[11].body[2].in.x = 'layers.0.h';
  const bits = [reference, wasm].map(backend => {
    const executable = prepare(backend, loadCrafted(plan).plan);
    const { data } = executable.open().feed(Int32Array.of(1, 2, 3, 4));
    executable.dispose?.();
    return data;
  });
  expect(sameBits(bits[0], bits[1])).toBe(true);
});

it('a config.json of brackets is refused before they are parsed', async () => {
  const folder = folderOf('m', {
    'config.json': utf8('['.repeat(400_000) + ']'.repeat(400_000)),
    'model.safetensors': Buffer.from('02000000000000007b7d', 'hex'),
  });
  await expect(openModel(folder, { recipe: 'fp32', backend: 'reference' })).rejects.toThrow(
    new Error('m/config.json: expected JSON of at most 100 levels; got more at character 100'),
  );
});
