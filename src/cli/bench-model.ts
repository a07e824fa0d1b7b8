/** What `quamba bench` is asked, and what it measures: the model of a folder, or random weights by shape. */
import { type Backend, prepare } from '../backends/backend.ts';
import { DECODES, PRECISIONS } from '../backends/cuda/abi.ts';
import type { Executable } from '../executable.ts';
import { architectureOf } from '../model/index.ts';
import { load } from '../open/node.ts';
import { planOf } from '../quant/pipeline.ts';
import { checkWords, wordsOf } from '../quant/scheme.ts';
import { randomModel } from '../random/model.ts';
import { nominalRecipe, nominalStats } from '../random/nominal-ranges.ts';
import { shapes } from '../random/shapes.ts';
import { TYPES } from '../random/write-checkpoint.ts';
import { calibrating } from './calibrating.ts';
import { namesOf, type OptionsOf, option } from './command.ts';
import { contextOption, engineOptions, jsonOption, outFolder, recipeOption } from './options.ts';
import { usage } from './terminal.ts';
import { integer, recipeNamed, wholeFrom } from './values.ts';

export const BENCH_OPTIONS = [
  option('--shape <name>', 'random weights in this shape', namesOf(shapes)),
  option('--model <dir>', 'or the model of a folder'),
  recipeOption('quamba-int8-head for a shape, what load() takes for a folder'),
  ...engineOptions,
  contextOption,
  option(
    '--precision <name>',
    'cuda only; f16 is a float plan in f16, what int8 is measured against',
    namesOf(PRECISIONS),
    undefined,
    'exact',
  ),
  option('--decode <name>', 'cuda only: how a token runs', namesOf(DECODES), undefined, 'best'),
  option('--batch <n>', 'decode also so many sequences together', wholeFrom(1)),
  option('--prompt-length <n>', 'tokens fed at once', wholeFrom(1), 128),
  option('--generate <n>', 'tokens fed one by one', wholeFrom(1), 64),
  option('--rounds <n>', 'medians are over so many rounds, after one to warm up', wholeFrom(1), 5),
  option('--seed <n>', 'of the random weights', integer, 1),
  outFolder('--write-checkpoint <dir>', 'only write the random float weights, as a Hugging Face folder'),
  option('--type <name>', 'of the checkpoint: the same values, in 4 or 2 bytes', namesOf(TYPES), 'f32'),
  jsonOption,
] as const;
export type BenchOptions = OptionsOf<typeof BENCH_OPTIONS>;

export interface Opened {
  readonly executable: Executable;
  readonly vocabSize: number;
  readonly about: Pick<BenchOptions, 'shape' | 'model'> & { readonly recipe: string; readonly seed?: number };
  close(): void;
}

/** The recipe of a shape, if none is named: the one that reads the fewest bytes for a token. */
const SHAPE_RECIPE = 'quamba-int8-head';

export async function open(
  { shape, model: path, recipe, threads, context, seed }: BenchOptions,
  backend: Backend,
): Promise<Opened> {
  if (shape === undefined) {
    const model = await load(path, { recipe, backend, threads, context, ...calibrating() });
    const { executable, info } = model;
    const about = { model: path, recipe: info.recipe.name };
    return { executable, vocabSize: info.config.vocabSize, about, close: () => model.dispose() };
  }
  const { name, scheme: given } = recipe ?? recipeNamed(SHAPE_RECIPE);
  const scheme = nominalRecipe(given);
  const program = randomModel(shapes[shape], seed);
  const stats = usage(() => {
    checkWords(scheme, wordsOf(architectureOf(shapes[shape])));
    return nominalStats(program, scheme);
  });
  const executable = prepare(backend, planOf(program, scheme, stats), { threads, context });
  await executable.ready;
  const { vocabSize } = shapes[shape];
  const about = { shape, seed, recipe: name };
  return { executable, vocabSize, about, close: () => executable.dispose?.() };
}
