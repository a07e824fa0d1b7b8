/** Plans of every recipe pass the verifier, as they are and through a file. */
import { describe, expect, it } from 'vitest';
import { fromBytes } from '../../src/formats/bytes.ts';
import { unfuse } from '../../src/plan/fuse.ts';
import { graphToJson } from '../../src/plan/graph-json.ts';
import { verify } from '../../src/plan/verify.ts';
import { loadPlan, savePlan, verifyPlan } from '../../src/quant/checkpoint.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { concat } from '../formats/file.ts';
import { planOfToy, toy, toys } from '../toy.ts';
import { craft, loadCrafted } from './crafted.ts';

describe.each(toys)('$name', toy => {
  it.each(Object.entries(recipes))('%s', (name, scheme) => {
    const plan = planOfToy(toy, scheme);
    const { vocabSize } = toy.config;
    verify(plan, name, vocabSize);
    verify(unfuse(plan), name, vocabSize);
    verify(toy.program, name, vocabSize);
    const info = { config: toy.config, recipe: { name, scheme }, source: 'x', calibration: null };
    const loaded = loadPlan(fromBytes('plan', concat(savePlan(plan, info))));
    expect(graphToJson(loaded.plan.graph)).toEqual(graphToJson(plan.graph));
  });
});

it('a plan with names that JSON puts in another order is whole', () => {
  const plan = craft(toy, recipes.quamba);
  const [first, second] = [...plan.tensors.keys()];
  const text = JSON.stringify(plan.graph).replaceAll(`"${first}"`, '"7"').replaceAll(`"${second}"`, '"10"');
  plan.graph = JSON.parse(text);
  for (const [from, to] of [
    [first, '7'],
    [second, '10'],
  ] as const) {
    plan.tensors.set(to, plan.tensors.get(from)!);
    plan.tensors.delete(from);
  }
  const loaded = loadCrafted(plan);
  const { weights, ...rest } = loaded.plan.graph;
  const graph = { ...rest, weights: new Map([...weights].reverse()) };
  const bytes = concat(savePlan({ ...loaded.plan, graph }, loaded.info));
  expect(verifyPlan(fromBytes('again', bytes))).toBe(true);
});
