/** `quamba eval`: perplexity and zero-shot tasks of recipes, their sizes and their speed. */
import type { Command } from 'commander';
import { defaultBackend } from '../backends/index.ts';
import { type Evaluation, evaluate } from '../eval/evaluate.ts';
import { type EvaluationFigures, merge, reportOf } from '../eval/partial.ts';
import { joinResults } from '../eval/report/results.ts';
import { resultsTable, tasksTable } from '../eval/report/tables.ts';
import { openFolder } from '../formats/disk.ts';
import { load, textFile } from '../open/node.ts';
import { checkRecipes } from '../open/plan.ts';
import { align } from '../plan/render.ts';
import { FLOAT_RECIPE, recipes } from '../quant/recipes.ts';
import { calibrating } from './calibrating.ts';
import { command, type OptionsOf, option, refuse } from './command.ts';
import { partialFile, readPartial, taskItems, VALIDATION_TEXT, weightBytes } from './eval-inputs.ts';
import { contextOption, engineOptions, jsonOption, modelOption, outFile } from './options.ts';
import { reportOptions, writeReport } from './report.ts';
import { printAs, progressLine, UsageError } from './terminal.ts';
import { namesIn, recipeNamed, shardNamed, tasksNamed, wholeFrom } from './values.ts';

/** Tokens of the package's own text that are measured where no limit is given: a minute rather than an hour. */
const OWN_TEXT_LIMIT = 20480;

/** Recipes are loaded together while their float weights would take no more than this, so that fp32 runs once for them all. */
const TOGETHER_BYTES = 1e9;

const OPTIONS = [
  option('--recipe <names>', "one or more, separated by commas, or 'all'", String, 'all'),
  option(
    '--text <file>',
    'UTF-8 text, .txt or .txt.gz (default: 1 MB of books that the embedded model never saw, where no task is named)',
    textFile,
  ),
  option('--window <n>', 'tokens in each window', wholeFrom(2), 2048),
  option(
    '--limit <n>',
    'tokens of the text at most; items of each task at most',
    wholeFrom(1),
    undefined,
    `all; ${OWN_TEXT_LIMIT} tokens of the text that comes with the package`,
  ),
  option(
    '--task <names>',
    "lambada, hellaswag, piqa, arc_easy, arc_challenge, winogrande; several separated by commas, or 'all'",
    tasksNamed,
  ),
  option('--data <path>', 'items of the task, or a folder with a file for each, called after it'),
  option(
    '--shard <i/n>',
    'only every n-th window and item, from the i-th on (from 0); needs --out',
    shardNamed,
  ),
  outFile('--out <file>', 'keep partial results there, and go on from what it holds'),
  option('--rounds <n>', 'of measuring tokens per second; 0 for none', wholeFrom(0), 3),
  modelOption,
  ...engineOptions,
  contextOption,
  ...reportOptions,
  jsonOption,
] as const;

/** The figures of a sharded run. Every digit is the same as without shards. */
const mergeCommand = command(
  'merge',
  'Joins what the shards of one run wrote with --out. All of them must be there, once and finished; medians of tokens per second are over all of them.',
  [jsonOption],
)
  .argument('<files...>', 'the partial results, in any order')
  .action((files: string[], { json }: { json?: boolean }) => {
    const whole = reportOf(merge(files.map(readPartial), files));
    printAs(json, whole, () => tables(whole));
  });

export const evalCommand = command(
  'eval',
  'Measures recipes: perplexity of a text (windows without overlap, each from an empty state) and, with fp32 among them, mean KL divergence from it and how often the likeliest token is its own; zero-shot tasks as lm-eval scores them; bytes and tokens per second.',
  OPTIONS,
  `
Examples:
  quamba eval --recipe fp32,quamba --limit 4096
  quamba eval --recipe all --limit 65536 --threads 2 --html recipes.html
  quamba eval --recipe all --text wiki.test.raw --model mamba-130m-hf --out 130m.json --json
  quamba eval --recipe quamba --task piqa --data piqa/valid.jsonl
  quamba eval --recipe fp32,quamba --task all --data tasks --shard 0/4 --out part-0.json
  quamba eval merge part-0.json part-1.json part-2.json part-3.json`,
)
  .enablePositionalOptions()
  .addCommand(mergeCommand)
  .action(run);

type Options = OptionsOf<typeof OPTIONS>;

const tables = ({ results }: EvaluationFigures): string =>
  [resultsTable(results), tasksTable(results)]
    .filter(({ length }) => length > 1)
    .map(align)
    .join('\n\n');

async function run(options: Options, self: Command): Promise<void> {
  const { model: path, backend = defaultBackend(), threads, context, rounds, out, json } = options;
  if (options.task && !options.text) refuse(self, ['--window'], 'without a text');
  const evaluation = await asked(options);
  checkRecipes(openFolder(path), evaluation.recipes);
  const kept = out === undefined ? undefined : partialFile(out);
  try {
    const { partial, report } = await evaluate(evaluation, {
      load: recipe => {
        const how = calibrating(`${recipe.name}: calibrating`);
        return load(path, { recipe, backend, threads, context, ...how });
      },
      together: Math.max(1, Math.floor(TOGETHER_BYTES / weightBytes(path))),
      rounds,
      resume: kept?.earlier,
      onStep: kept?.step,
      onProgress: progressLine('measured'),
    });
    await kept?.step(partial);
    printAs(json, report, () => tables(report));
    await writeReport(options, joinResults([report]));
  } finally {
    await kept?.close();
  }
}

/** What the options ask to be measured. */
async function asked({ recipe, text, window, limit, task, data, shard, out }: Options): Promise<Evaluation> {
  const chosen = namesIn(recipe, Object.keys(recipes), '--recipe').map(recipeNamed);
  if ((task === undefined) !== (data === undefined))
    throw new UsageError(`eval: --${task ? 'task' : 'data'} needs --${task ? 'data' : 'task'}`);
  if (shard !== undefined && out === undefined)
    throw new UsageError('eval: --shard needs --out, a file for its part');
  if (limit !== undefined && limit < window && (text !== undefined || task === undefined))
    throw new UsageError(
      `eval: --limit ${limit} is less than one window of ${window} tokens; give more, or a smaller --window`,
    );
  const own = text === undefined && task === undefined ? VALIDATION_TEXT : undefined;
  const file = text ?? own;
  const most = limit ?? (own && Math.max(OWN_TEXT_LIMIT, window));
  const tasks = [];
  for (const name of task ?? []) tasks.push(await taskItems(name, data!, limit));
  return {
    recipes: chosen,
    float: FLOAT_RECIPE,
    text: file && { name: file.name, text: await file.read(), window, limit: most },
    tasks,
    shard,
  };
}
