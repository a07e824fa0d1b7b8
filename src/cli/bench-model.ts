/** What `quamba bench` measures: the model of a folder, or random weights by shape. */
import { type Backend, prepare } from '../backends/backend.ts';
import type { Executable } from '../executable.ts';
import type { Program } from '../graph.ts';
import { architectureOf } from '../model/index.ts';
import { load } from '../open/node.ts';
import { planOf } from '../quant/pipeline.ts';
import { checkWords } from '../quant/scheme.ts';
import { randomModel } from '../random/model.ts';
import { nominalRecipe, nominalStats } from '../random/nominal-ranges.ts';
import { type ShapeName, shapes } from '../random/shapes.ts';
import type { TYPES } from '../random/write-checkpoint.ts';
import { type RunOptions, recipeNamed, usage } from './terminal.ts';

export type BenchOptions = Omit<RunOptions, 'model'> & {
  shape?: ShapeName;
  model?: string;
  promptLength: number;
  generate: number;
  rounds: number;
  seed: number;
  writeCheckpoint?: string;
  type: keyof typeof TYPES;
};

export interface Opened {
  readonly plan: Program;
  readonly executable: Executable;
  readonly vocabSize: number;
  readonly about: { readonly recipe: string } & Readonly<Record<string, unknown>>;
  close(): void;
}

/** The recipe of a shape, if none is named: the one that reads the fewest bytes for a token. */
const SHAPE_RECIPE = 'quamba-int8-head';

export async function open(
  { shape, model: path, recipe, threads, seed }: BenchOptions,
  backend: Backend,
): Promise<Opened> {
  if (shape === undefined) {
    const model = await load(path, { recipe, backend, threads });
    const { plan, executable, info } = model;
    const about = { model: path, recipe: info.recipe.name };
    return { plan, executable, vocabSize: info.config.vocabSize, about, close: () => model.dispose() };
  }
  const { name, scheme: given } = recipe ?? recipeNamed(SHAPE_RECIPE);
  const scheme = nominalRecipe(given);
  const program = randomModel(shapes[shape], seed);
  const stats = usage(() => {
    checkWords(scheme, architectureOf(shapes[shape]));
    return nominalStats(program, scheme);
  });
  const plan = planOf(program, scheme, stats);
  const executable = prepare(backend, plan, { threads });
  await executable.ready;
  const { vocabSize } = shapes[shape];
  const about = { shape, seed, recipe: name };
  return { plan, executable, vocabSize, about, close: () => executable.dispose?.() };
}
