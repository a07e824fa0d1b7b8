/** The float model on the reference against transformers (float32) and the formulas in float64: golden/model.py. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { openFolder } from '../src/formats/disk.ts';
import { openFloatModel } from '../src/open-model.ts';
import { initialState, interpret } from '../src/run.ts';
import type { Tensor } from '../src/tensor.ts';
import { readGolden, readTensors, type Values } from './golden-files.ts';
import { faults } from './golden-rule.ts';

const NAME = 'mamba-books-15m';
/** Of the golden's 64 tokens: the model is causal, so the first rows do not depend on the others. */
const TOKENS = 12;

const modelFolder = fileURLToPath(new URL(`../models/${NAME}`, import.meta.url));
const shipped = readTensors(join(modelFolder, 'golden.safetensors')).tensors;

/** The first rows, TOKENS at most. */
function first<V extends Values>({ data, shape: [rows, width] }: V): Tensor<'f32'> & Values {
  const kept = Math.min(rows, TOKENS);
  return { dtype: 'f32', shape: [kept, width], data: data.subarray(0, kept * width) as Float32Array };
}
const firsts = (values: Readonly<Record<string, Values>>) =>
  Object.fromEntries(Object.entries(values).map(([name, x]) => [name, first(x)]));
const rule = (f32: Readonly<Record<string, Values>>, f64: Readonly<Record<string, Values>>) => ({
  f32: firsts(f32),
  f64: firsts(f64),
  out: {},
  exact: () => false,
});

describe(`models/${NAME}`, () => {
  /** Every site by its name in the graph, and the logits. */
  const ours: Record<string, Tensor<'f32'>> = {};

  beforeAll(() => {
    const { program } = openFloatModel(openFolder(modelFolder));
    const tokens = (shipped.input_ids.data as Int32Array).subarray(0, TOKENS);
    const { logits } = interpret(program).feed(tokens, initialState(program), (_, ref, x) => {
      ours[ref] = x;
    });
    ours.logits = logits;
  }, 120_000);

  it('gives the logits', () => {
    const { logits_hf_float32: f32, logits_float64: f64 } = shipped;
    expect(faults(rule({ logits: f32 }, { logits: f64 }), { logits: ours.logits })).toEqual([]);
  });

  it('gives every site of one layer', () => {
    const { f32, f64, inputs, attrs } = readGolden(`model/${NAME}`);
    const { layer } = attrs as unknown as { layer: number };
    expect(inputs.tokens.data).toEqual(shipped.input_ids.data);
    const named = Object.keys(sites(f64)).map(site => [site, ours[`layers.${layer}.${site}`] ?? ours[site]]);
    expect(named).toHaveLength(10);
    expect(faults(rule(sites(f32), sites(f64)), Object.fromEntries(named))).toEqual([]);
  });
});

/** All but the logits, which are those of the last positions. */
const sites = <V extends Values>({ logits: _, ...rest }: Readonly<Record<string, V>>) => rest;
