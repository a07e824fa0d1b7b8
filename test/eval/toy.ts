/** A toy model on the reference with a tokenizer of bytes, and a small evaluation of it, all in this process. */
import { type Evaluation, evaluate } from '../../src/eval/evaluate.ts';
import type { PartialResult, Shard } from '../../src/eval/partial.ts';
import { readItems } from '../../src/eval/task-files.ts';
import { folderOf } from '../../src/formats/bytes.ts';
import { type Model, openModel } from '../../src/open/model.ts';
import { recipe } from '../../src/quant/recipes.ts';
import { type Recipe, w8rows } from '../../src/quant/scheme.ts';
import { toyFiles } from '../cli/toy.ts';

const folder = folderOf('toy', toyFiles({ text: true }));
/** A third recipe that needs no calibration, so that there are groups beside the float model. */
const schemes = { fp32: recipe('fp32'), dynamic: recipe('dynamic'), rows: { weights: w8rows } };
const named = ([name, scheme]: [string, Recipe]) => ({ name, scheme });

/** Made once; a test that disposes of one disposes of nothing, the reference holds no memory of its own. */
export const models: Readonly<Record<keyof typeof schemes, Model>> = {
  fp32: await openModel(folder, { recipe: 'fp32', backend: 'reference' }),
  dynamic: await openModel(folder, { recipe: 'dynamic', backend: 'reference' }),
  rows: await openModel(folder, { recipe: { name: 'rows', scheme: schemes.rows }, backend: 'reference' }),
};
export const load = async ({ name }: { readonly name: string }): Promise<Model> =>
  models[name as keyof typeof models];

const items = ['push', 'pull hard', 'sing'].map(
  (word, i) =>
    `${JSON.stringify({ goal: `To ${word},`, sol1: 'yes.', sol2: `no, ${word} it.`, label: i % 2 })}\n`,
);
const lines = ['one and two', 'a b c', 'x y'].map(text => `${JSON.stringify({ text })}\n`);

export const evaluationOf = (window: number, limit: number, shard?: Shard): Evaluation => ({
  recipes: Object.entries(schemes).map(named),
  float: 'fp32',
  text: { name: 'text', text: 'It was a dark night. '.repeat(4), window, limit },
  tasks: [
    { task: 'piqa', sha256: 'p', items: readItems('piqa', { name: 'p', text: items.join('') }) },
    { task: 'lambada', sha256: 'l', items: readItems('lambada', { name: 'l', text: lines.join('') }) },
  ],
  shard,
});

export const measured = (evaluation: Evaluation, partial?: PartialResult, together = 1) =>
  evaluate(evaluation, { load, rounds: 0, together, resume: partial && { partial, name: 'kept.json' } });
