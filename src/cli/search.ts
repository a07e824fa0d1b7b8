/** `quamba quantize --percentile search`: which p is the best for a model, found on its calibration text. */
import { prepare } from '../backends/backend.ts';
import { defaultBackend } from '../backends/index.ts';
import { openBackend } from '../backends/node.ts';
import { floatReference } from '../eval/fidelity.ts';
import { openFolder } from '../formats/disk.ts';
import { architectureOf } from '../model/index.ts';
import { openFloatModel } from '../open/float.ts';
import { CALIBRATION_TEXT, textFile } from '../open/node.ts';
import { CALIBRATION_DEFAULTS } from '../open/plan.ts';
import { openTokenizer } from '../open/tokenizer.ts';
import { heldOutOf, samplesOf } from '../quant/pipeline.ts';
import { checkWords, type Recipe } from '../quant/scheme.ts';
import { type Search, searchPercentile, type Trial } from '../quant/search.ts';
import { print, progressLine, type RunOptions } from './terminal.ts';

/** Windows between the calibration samples, on which a p is judged. */
const HELD_OUT = 16;

export interface SearchOf extends RunOptions {
  readonly text?: string;
  readonly samples?: number;
  readonly window?: number;
  readonly perLayer?: boolean;
}
/** The result of a search. Scores are the KL divergence from the float model in nats: less is better. */
export type Found = Pick<Search, 'percentile' | 'score' | 'trials'>;

/** @throws RangeError for a text that is too short; what opening the model throws. */
export async function searched(options: SearchOf, recipe: Recipe): Promise<Found> {
  const { model: path, text, perLayer, threads, json = false } = options;
  const { samples = CALIBRATION_DEFAULTS.samples, window = CALIBRATION_DEFAULTS.window } = options;
  const folder = openFolder(path);
  const { config, program, close } = openFloatModel(folder);
  try {
    checkWords(recipe, architectureOf(config));
    const source = text === undefined ? CALIBRATION_TEXT : textFile(text);
    const tokens = openTokenizer(folder, config).encode(await source.read());
    const { backend } = openBackend(options.backend ?? defaultBackend());
    const run = (part: typeof program) => prepare(backend, part, { threads });
    const windows = heldOutOf(tokens, samples, window, HELD_OUT);
    const float = floatReference(program, { windows, prepare: run });
    const score = (plan: typeof program) => float.compare(plan).fidelity.kl;
    const found = searchPercentile(program, recipe, samplesOf(tokens, samples, window), score, {
      perLayer,
      prepare: run,
      onProgress: progressLine('search: calibrating', json),
      onTrial: (trial, done, total) => json || print(`${done}/${total}  ${inWords(trial)}`),
    });
    if (!json) print(`found ${inWords(found)}`);
    return { percentile: found.percentile, score: found.score, trials: found.trials };
  } finally {
    close();
  }
}

const inWords = ({ percentile, score }: Trial): string =>
  `p ${typeof percentile === 'number' ? percentile : percentile.join(' ')}: KL ${score.toFixed(5)}`;
