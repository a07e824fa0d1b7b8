/**
 * What calibration saw, and its file: a small safetensors file. A model that comes with it is quantized without calibrating
 * again.
 *
 * The tensors are `<site>.range` f32[1], `<site>.channels` f32[n] and `<site>.hessian` f32[n²]. The metadata holds `format`,
 * `version`, `recipe` (the scheme, as JSON), `source` (the identity of the float weights) and `calibration` (JSON).
 */
import type { ByteSource } from '../formats/bytes.ts';
import { count, object, parseJsonText, plain, string } from '../formats/json.ts';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.ts';
import type { Ref } from '../graph.ts';
import { describe } from '../tensor.ts';
import { type Recipe, sameRecipe } from './scheme.ts';

/** What calibration saw, by the names of sites and states. */
export interface Stats {
  /**
   * The largest |x| of each channel, at the sites whose basis is made from them; the largest |h| of each row of the states that
   * become int8.
   */
  readonly channels: Readonly<Record<Ref, Float32Array>>;
  /** The range of each static site, after its transform. */
  readonly ranges: Readonly<Record<Ref, number>>;
  /** Σ x xᵀ f32[n, n] of the inputs of the weights that GPTQ rounds, by site, after its transform. */
  readonly hessians?: Readonly<Record<Ref, Float32Array>>;
  /** Of which recipe they are: `quantize` takes them for no other. Absent where no calibration made them. */
  readonly recipe?: Recipe;
}

/** The text that calibration ran on. */
export interface CalibrationInfo {
  readonly text: string;
  readonly samples: number;
  readonly window: number;
}

export const STATS_FORMAT = { format: 'quamba-stats', version: '1' } as const;

export interface StatsInfo {
  readonly recipe: Recipe;
  /** The identity of the float weights. */
  readonly source: string;
  readonly calibration: CalibrationInfo;
}

/** How many values each statistic has that a recipe needs of a model. */
export type StatsSizes = { readonly [K in keyof typeof SUFFIXES]: Readonly<Record<Ref, number>> };

/** What the name of a tensor adds to the name of its site or state. */
const SUFFIXES = { ranges: '.range', hessians: '.hessian', channels: '.channels' } as const;

/** The file of the statistics of a recipe, in pieces. */
export function saveStats(stats: Stats, info: StatsInfo): Iterable<Uint8Array> {
  const tensors = Object.entries(SUFFIXES).flatMap(([kind, suffix]) =>
    Object.entries<number | Float32Array>(stats[kind as keyof StatsSizes] ?? {}).map(([site, value]) => {
      const data = typeof value === 'number' ? Float32Array.of(value) : value;
      return [site + suffix, { dtype: 'F32', shape: [data.length], data }] as const;
    }),
  );
  return writeSafetensors(tensors, {
    ...STATS_FORMAT,
    recipe: JSON.stringify(info.recipe),
    source: info.source,
    calibration: JSON.stringify(info.calibration),
  });
}

/**
 * Reads statistics for a recipe of a model: those that the recipe needs, each of the size that the model asks for.
 *
 * @throws Error where they were made for another recipe, model or format version, or one is missing; TypeError or RangeError where
 * one is of another type, has a negative range, or it is not said what was calibrated on. All name the file and the tensor or field.
 */
export function loadStats(
  source: ByteSource,
  expected: { readonly recipe: Recipe; readonly source: string; readonly sizes: StatsSizes },
): { readonly stats: Stats; readonly calibration: CalibrationInfo } {
  const file = readSafetensors(source);
  const { format, version, recipe, source: made, calibration } = file.metadata;
  if (format !== STATS_FORMAT.format || version !== STATS_FORMAT.version)
    throw new Error(
      `${file.name}: expected ${STATS_FORMAT.format} version ${STATS_FORMAT.version}; got ${plain(format ?? 'no format')} version ${plain(version ?? 'nothing')}`,
    );
  if (made !== expected.source)
    throw new Error(
      `${file.name}: was made for another model (${plain(made?.slice(0, 12))}); this one is ${expected.source.slice(0, 12)}`,
    );
  const parsed = (key: string, text = '') => parseJsonText(text, `${file.name}: ${key}`);
  if (!sameRecipe(parsed('recipe', recipe) as Recipe, expected.recipe))
    throw new Error(`${file.name}: was made for another recipe: ${plain(recipe)}`);
  const info = calibrationFrom(parsed('calibration', calibration), `${file.name}: calibration`);
  const read = (kind: keyof StatsSizes) => {
    const found = Object.entries(expected.sizes[kind]).map(([site, size]) => {
      const name = site + SUFFIXES[kind];
      const where = `${file.name}: tensor ${name}`;
      if (!file.has(name)) throw new Error(`${where} is missing`);
      const { data, ...type } = file.read(name);
      if (describe(type) !== `f32[${size}]`)
        throw new TypeError(`${where} expected f32[${size}]; got ${describe(type)}`);
      const step = kind === 'hessians' ? Math.sqrt(size) + 1 : 1; // of a Hessian, its diagonal
      for (let i = 0; i < size; i += step)
        if (data[i] < 0) throw new RangeError(`${where} expected 0 or more at index ${i}; got ${data[i]}`);
      return [site, data as Float32Array] as const;
    });
    return Object.fromEntries(found);
  };
  const ranges = Object.entries(read('ranges')).map(([site, [range]]) => [site, range]);
  return {
    stats: {
      ranges: Object.fromEntries(ranges),
      hessians: read('hessians'),
      channels: read('channels'),
      recipe: expected.recipe,
    },
    calibration: info,
  };
}

/** @throws TypeError naming the field that is wrong. */
export function calibrationFrom(json: unknown, where: string): CalibrationInfo {
  const found = object(json, where);
  string(found.text, `${where}.text`);
  for (const key of ['samples', 'window']) count(found[key], `${where}.${key}`);
  return found as unknown as CalibrationInfo;
}
