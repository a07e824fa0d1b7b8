/** The model on the table: the float program, what it shows of the current text, and the statistics of recipes. */
import { prepare as prepareOn } from 'lib/backends/backend.ts';
import { backend, defaultBackend } from 'lib/backends/index.ts';
import { type FloatModel, openFloatModel } from 'lib/open/float.ts';
import { openTokenizer } from 'lib/open/tokenizer.ts';
import { needsCalibration, statsSizes } from 'lib/quant/calibrate.ts';
import { hadamard, siteAction, wordOf } from 'lib/quant/scheme.ts';
import { loadStats } from 'lib/quant/stats.ts';
import { transformOf } from 'lib/quant/transforms.ts';
import {
  type Executable,
  type FetchProgress,
  fetchFiles,
  folderOf,
  fromBytes,
  type Program,
  type Recipe,
  recipe as recipeOf,
  type Stats,
  sites,
  type Tensor,
  type Tokenizer,
  transform,
} from 'quamba';
import { FLOAT_FILES, statsOf } from '../model.ts';
import { MOST_TOKENS, type Text } from './protocol.ts';

const NO_STATS: Stats = { channels: {}, ranges: {} };
/** Nothing but the rotation of what out_proj reads. */
const ROTATED = { at: { scanOut: hadamard } } as const;

export const prepare = (program: Program): Executable => prepareOn(backend(defaultBackend()), program);

/** What every site saw, by the name of its value: `layers.3.scanIn`. */
export type Seen = ReadonlyMap<string, Tensor<'f32'>>;

/** A recipe applied, before anything is rounded. */
export interface Turned {
  readonly scheme: Recipe;
  readonly program: Program;
  readonly stats: Stats;
  /** The values in the bases that the recipe quantizes in. */
  readonly seen: Seen;
}

interface Observing {
  /** The program, prepared; it stays open. */
  readonly ready?: Executable;
  readonly isKept?: (ref: string) => boolean;
}

export class Specimen {
  readonly program: Program;
  readonly executable: Executable;
  tokens: Int32Array = new Int32Array(0);
  #seen: Seen = new Map();
  /** Of what out_proj reads. */
  #rotated: Seen | undefined;
  readonly #stats = new Map<string, Promise<Stats>>();
  /** Only the last one: a text's values in another basis take as much room again. */
  #turned: { readonly recipe: string; readonly made: Turned } | undefined;
  readonly #url: string;
  readonly #model: FloatModel;
  readonly #tokenizer: Tokenizer;

  private constructor(url: string, model: FloatModel, tokenizer: Tokenizer) {
    this.#url = url;
    this.#model = model;
    this.#tokenizer = tokenizer;
    this.program = model.program;
    this.executable = prepare(model.program);
  }

  static async fetch(url: string, onProgress: (progress: FetchProgress) => void): Promise<Specimen> {
    const folder = folderOf('model', await fetchFiles(url, FLOAT_FILES, { onProgress }));
    const model = openFloatModel(folder);
    return new Specimen(url, model, openTokenizer(folder, model.config));
  }

  get config() {
    return this.#model.config;
  }

  read(text: string): Text {
    const tokens = this.#tokenizer.encode(text);
    if (tokens.length === 0) throw new RangeError('The text is empty: write at least one word.');
    this.tokens = tokens.slice(0, MOST_TOKENS);
    this.#seen = this.#observe(this.program, { ready: this.executable });
    this.#turned = this.#rotated = undefined;
    return {
      pieces: Array.from(this.tokens, token => this.#tokenizer.decode([token])),
      cut: tokens.length > MOST_TOKENS,
    };
  }

  /** A site's values as the float model has them. */
  plain(site: string): Tensor<'f32'> {
    return this.#seen.get(site)!;
  }

  /** What out_proj reads as a recipe that rotates it has it: without the weight of the norm before it, if there is one. */
  rotated(ref: string): Tensor<'f32'> {
    const isRotated = (each: string) => wordOf(each) === 'scanOut';
    this.#rotated ??= this.#observe(transform(this.program, ROTATED, {}), { isKept: isRotated });
    return this.#rotated.get(ref)!;
  }

  async turned(recipe: string): Promise<Turned> {
    const stats = await this.stats(recipe);
    if (this.#turned?.recipe === recipe) return this.#turned.made;
    const scheme: Recipe = recipeOf(recipe);
    const program = transform(this.program, scheme, stats.channels);
    const isPlain = !scheme.residual && sites.every(site => !transformOf(siteAction(scheme, site).basis));
    const made = { scheme, program, stats, seen: isPlain ? this.#seen : this.#observe(program) };
    this.#turned = { recipe, made };
    return made;
  }

  stats(recipe: string): Promise<Stats> {
    if (!needsCalibration(this.program, recipeOf(recipe))) return Promise.resolve(NO_STATS);
    const known = this.#stats.get(recipe);
    if (known) return known;
    const asked = this.#fetchStats(recipe);
    this.#stats.set(recipe, asked);
    asked.catch(() => this.#stats.delete(recipe));
    return asked;
  }

  async #fetchStats(recipe: string): Promise<Stats> {
    const file = statsOf(recipe);
    const { [file]: bytes } = await fetchFiles(this.#url, [file]);
    const scheme = recipeOf(recipe);
    const expected = {
      recipe: scheme,
      source: this.#model.identity(),
      sizes: statsSizes(this.program, scheme),
    };
    return loadStats(fromBytes(file, bytes), expected).stats;
  }

  #observe(program: Program, { ready, isKept = () => true }: Observing = {}): Seen {
    const seen = new Map<string, Tensor<'f32'>>();
    const executable = ready ?? prepare(program);
    const sequence = executable.open();
    sequence.feed(this.tokens, {
      logits: 'last',
      observe: (_, ref, { dtype, shape, data }) => {
        if (isKept(ref)) seen.set(ref, { dtype, shape, data: data.slice() });
      },
    });
    sequence.close();
    if (!ready) executable.dispose?.();
    return seen;
  }
}
