/** `quamba ablate`: what each technique of the paper brings for a model, and what is noise. */
import { basename } from 'node:path';
import type { Command } from 'commander';
import { prepare } from '../backends/backend.ts';
import { defaultBackend } from '../backends/index.ts';
import { openBackend } from '../backends/node.ts';
import { ABLATION_DEFAULTS, type Ablation, ablate, PARTS, type Part } from '../eval/ablation.ts';
import type { NamedPlan } from '../eval/layer-error.ts';
import {
  ladderTable,
  layersTable,
  outliersTable,
  sitesTable,
  techniquesTable,
} from '../eval/report/tables.ts';
import { lettersOf, sentenceOf } from '../eval/report/words.ts';
import { openFolder } from '../formats/disk.ts';
import { openFloatModel } from '../open/float.ts';
import { CALIBRATION_TEXT, load, textFile } from '../open/node.ts';
import { checkRecipes } from '../open/plan.ts';
import { align } from '../plan/render.ts';
import { FLOAT_RECIPE, recipes } from '../quant/recipes.ts';
import { calibrating } from './calibrating.ts';
import { command, type OptionsOf, option, refuse } from './command.ts';
import { VALIDATION_TEXT } from './eval-inputs.ts';
import { engineOptions, jsonOption, modelOption } from './options.ts';
import { reportOptions, writeReport } from './report.ts';
import { printAs, progressLines, UsageError } from './terminal.ts';
import { fraction, namesIn, recipeNamed, wholeFrom } from './values.ts';

const OPTIONS = [
  option('--only <part...>', 'measure only these parts', PARTS, PARTS, 'all'),
  option(
    '--text <file>',
    'evaluation text, .txt or .txt.gz (default: books that the embedded model never saw)',
    textFile,
  ),
  option('--calibration <file>', 'calibration text (default: public-domain prose of the package)', textFile),
  option('--limit <tokens>', 'how much of the evaluation text', wholeFrom(1), ABLATION_DEFAULTS.limit),
  option('--window <n>', 'tokens in each window of it', wholeFrom(2), ABLATION_DEFAULTS.window),
  option('--samples <n>', 'how many calibration samples', wholeFrom(1), ABLATION_DEFAULTS.samples),
  option('--sample <n>', 'tokens in each sample', wholeFrom(1), ABLATION_DEFAULTS.sample),
  option('--seeds <n>', 'how many draws of calibration samples', wholeFrom(1), ABLATION_DEFAULTS.seeds),
  option(
    '--percentile <p>',
    'p where one is needed (ladder, outliers, sites)',
    fraction,
    ABLATION_DEFAULTS.p,
  ),
  option(
    '--recipe <names>',
    "recipes whose layers are compared, separated by commas, or 'all'",
    String,
    'all',
  ),
  ...reportOptions,
  modelOption,
  ...engineOptions,
  jsonOption,
] as const;

export const ablateCommand = command(
  'ablate',
  "Measures what each of the paper's two techniques brings (clipping u, rotating y, both, over p and calibration seeds), what finer scales bring beyond them, what they do to outliers, which activation costs what, and how the error grows from layer to layer.",
  OPTIONS,
  `
The float model's logits are kept: limit × vocabulary × 4 bytes.

Examples:
  quamba ablate --threads 2 --html ablation.html
  quamba ablate --only techniques --limit 32768 --samples 128 --seeds 5 --json
  quamba ablate --only outliers layers --recipe naive-static,quamba --svg plots`,
).action(run);

/** Which options only some parts read. The layers are those of plans that are calibrated as every command does it. */
const READ_BY: readonly (readonly [options: readonly string[], parts: readonly Part[]])[] = [
  [
    ['--calibration', '--samples', '--sample'],
    ['techniques', 'ladder', 'outliers', 'sites'],
  ],
  [['--seeds'], ['techniques']],
  [['--percentile'], ['ladder', 'outliers', 'sites']],
  [['--recipe'], ['layers']],
];

async function run(options: OptionsOf<typeof OPTIONS>, self: Command): Promise<void> {
  for (const [flags, parts] of READ_BY)
    if (!parts.some(part => options.only.includes(part)))
      refuse(self, flags, `without --only ${parts.join(' or ')}`);
  const { model: path, backend: name = defaultBackend(), threads, json = false } = options;
  const { limit, window, samples, sample, seeds } = options;
  const names = namesIn(options.recipe, Object.keys(recipes), '--recipe');
  const chosen = names.map(recipeNamed).filter(({ name }) => name !== (FLOAT_RECIPE as string));
  if (window > limit) throw new UsageError(`ablate: --window ${window} is more than --limit ${limit}`);
  const { backend } = openBackend(name);
  const { text = VALIDATION_TEXT, calibration: calibrationText = CALIBRATION_TEXT } = options;

  checkRecipes(openFolder(path), chosen);
  const float = await load(path, { recipe: FLOAT_RECIPE, backend: name, threads });
  const { tokenizer, name: model } = float;
  const { architecture } = float.info.config;
  const evaluation = tokenizer.encode(await text.read());
  const calibration = tokenizer.encode(await calibrationText.read());
  float.dispose();
  const source = openFloatModel(openFolder(path));
  try {
    const plans = chosen.map(
      (recipe): NamedPlan => ({
        ...recipe,
        plan: async use => {
          const how = calibrating(`${recipe.name}: calibrating`);
          const made = await load(path, { recipe, backend: name, threads, ...how });
          try {
            return use(made.plan);
          } finally {
            made.dispose();
          }
        },
      }),
    );
    const settings = {
      ...ABLATION_DEFAULTS,
      ...{ limit, window, samples, sample, seeds, p: options.percentile, parts: options.only },
    };
    const ablation: Ablation = await ablate(
      {
        program: source.program,
        ...{ calibration, evaluation, plans },
        prepare: program => prepare(backend, program, { threads }),
        onProgress: progressLines(part => part),
      },
      settings,
    );
    const results = {
      ...{
        model: basename(model),
        architecture,
        backend: name,
        text: text.name,
        calibrationText: calibrationText.name,
      },
      settings,
      ablation,
    };
    printAs(json, results, () => inWords(ablation, architecture));
    await writeReport(options, results);
  } finally {
    source.close();
  }
}

const inWords = ({ techniques, ladder, outliers, sites, layers }: Ablation, architecture: string): string =>
  [
    lettersOf(architecture),
    techniques && align(techniquesTable(techniques)),
    techniques?.verdicts.map(sentenceOf).join('\n'),
    ladder && align(ladderTable(ladder)),
    outliers && align(outliersTable(outliers)),
    sites && align(sitesTable(sites, architecture)),
    layers && align(layersTable(layers)),
  ]
    .filter(Boolean)
    .join('\n\n');
