/**
 * Quantized checkpoints as an author with bad intentions makes them: any graph and any tensors, with the identity put right, so
 * that nothing but the plan itself can give them away.
 */
import { fromBytes } from '../../src/formats/bytes.ts';
import { readSafetensors } from '../../src/formats/safetensors.ts';
import { identity } from '../../src/plan/identity.ts';
import { loadPlan, savePlan } from '../../src/quant/checkpoint.ts';
import type { Recipe } from '../../src/quant/scheme.ts';
import { concat, safetensors } from '../formats/file.ts';
import { planOfToy, type Toy } from '../toy.ts';

// biome-ignore lint/suspicious/noExplicitAny: JSON that may be anything
export type Json = any;

export interface Stored {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}
export interface Crafted {
  /** The metadata as values; a text stands as it is. */
  config: Json;
  recipe: Json;
  source: Json;
  calibration: Json;
  graph: Json;
  readonly tensors: Map<string, Stored>;
}
const ABOUT = ['config', 'recipe', 'source', 'calibration', 'graph'] as const;

/** A good plan, to be spoiled. */
export function craft(toy: Toy, scheme: Recipe): Crafted {
  const info = { config: toy.config, recipe: { name: 'toy', scheme }, source: 'x', calibration: null };
  const bytes = concat(savePlan(planOfToy(toy, scheme), info));
  const { tensors, metadata } = readSafetensors(fromBytes('toy', bytes));
  return {
    ...info,
    graph: JSON.parse(metadata.graph),
    tensors: new Map(
      [...tensors].map(([name, { dtype, shape, begin, end }]) => [
        name,
        { dtype, shape: [...shape], bytes: bytes.slice(begin, end) },
      ]),
    ),
  };
}

export const copyOf = (crafted: Crafted): Crafted => structuredClone(crafted);

/** The file. Its tensors lie in the order of their names. */
export function fileOf(crafted: Crafted): Uint8Array {
  const tensors = [...crafted.tensors].sort(([a], [b]) => (a < b ? -1 : 1));
  let offset = 0;
  const entries = tensors.map(([name, { dtype, shape, bytes }]) => {
    const begin = offset;
    offset += bytes.length;
    return [name, { dtype, shape, data_offsets: [begin, offset] }];
  });
  const data = concat(tensors.map(([, { bytes }]) => bytes));
  const about = Object.fromEntries(ABOUT.map(key => [key, textOf(key, crafted[key])]));
  const file = (__metadata__: Json) =>
    safetensors(Object.fromEntries([['__metadata__', __metadata__], ...entries]), data);
  const metadata = { format: 'quamba-plan', version: '2', ...about };
  try {
    const { read } = readSafetensors(fromBytes('unsealed', file(metadata)));
    const refs = Object.keys(JSON.parse(about.graph).weights);
    const seal = identity({ has: () => true, read }, refs, about);
    return file({ ...metadata, identity: seal });
  } catch {
    return file({ ...metadata, identity: 'x' }); // it is refused before that is looked at
  }
}

const textOf = (key: string, value: Json): string =>
  typeof value === 'string' && (key === 'source' || key === 'graph') ? value : JSON.stringify(value);

export const loadCrafted = (crafted: Crafted) => loadPlan(fromBytes('crafted', fileOf(crafted)));

export const f32 = (shape: number[], value: (i: number) => number): Stored => ({
  dtype: 'F32',
  shape,
  bytes: new Uint8Array(
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i)).buffer,
  ),
});
