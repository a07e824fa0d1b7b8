/** Plans of every recipe pass the verifier, as they are and through a file. */
import { describe, expect, it } from 'vitest';
import { fromBytes } from '../../src/formats/bytes.ts';
import { unfuse } from '../../src/plan/fuse.ts';
import { graphToJson } from '../../src/plan/graph-json.ts';
import { verify } from '../../src/plan/verify.ts';
import { loadPlan, savePlan } from '../../src/quant/checkpoint.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { concat } from '../formats/file.ts';
import { planOfToy, toys } from '../toy.ts';

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
