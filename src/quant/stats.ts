/**
 * What calibration saw, and its file: a small safetensors file. A model that comes with it is quantized without calibrating
 * again.
 *
 * The tensors are `<site>.range` f32[1], `<site>.channels` f32[n] and `<site>.hessian` f32[n²]. The metadata holds `format`,
 * `version`, `recipe` (the scheme, as JSON), `source` (the identity of the float weights) and `calibration` (JSON).
 */
import type { ByteSource } from '../formats/bytes.ts';
import { parseJsonText, plain } from '../formats/json.ts';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.ts';
import type { Ref } from '../graph.ts';
import { describe, type Tensor } from '../tensor.ts';
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

/** The file of the statistics of a recipe, in pieces. */
export function saveStats(stats: Stats, info: StatsInfo): Iterable<Uint8Array> {
  const parts = { range: stats.ranges, hessian: stats.hessians ?? {}, channels: stats.channels };
  const tensors = Object.entries(parts).flatMap(([suffix, bySite]) =>
    Object.entries<number | Float32Array>(bySite).map(([site, value]) => {
      const data = typeof value === 'number' ? Float32Array.of(value) : value;
      return [`${site}.${suffix}`, { dtype: 'F32', shape: [data.length], data }] as const;
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
 * Reads statistics for a recipe of a model.
 *
 * @throws Error where they were made for another recipe, model or format version.
 */
export function loadStats(
  source: ByteSource,
  expected: { readonly recipe: Recipe; readonly source: string },
): { readonly stats: Stats; readonly calibration: CalibrationInfo } {
  const file = readSafetensors(source);
  const { format, version, recipe, source: made, calibration } = file.metadata;
  if (format !== STATS_FORMAT.format || version !== STATS_FORMAT.version)
    throw new Error(
      `${file.name}: expected ${STATS_FORMAT.format} version ${STATS_FORMAT.version}; got ${plain(format)} version ${plain(version)}`,
    );
  if (made !== expected.source)
    throw new Error(
      `${file.name}: was made for another model (${plain(made?.slice(0, 12))}); this one is ${expected.source.slice(0, 12)}`,
    );
  const parsed = (key: string, text = '') => parseJsonText(text, `${file.name}: ${key}`);
  if (!sameRecipe(parsed('recipe', recipe) as Recipe, expected.recipe))
    throw new Error(`${file.name}: was made for another recipe: ${plain(recipe, 1000)}`);
  const read = (suffix: string, expected = 'f32[n]', fits = (_: number): boolean => true) => {
    const found = [...file.tensors.keys()].flatMap(name => {
      if (!name.endsWith(suffix)) return [];
      const t = file.read(name);
      if (t.dtype !== 'f32' || t.shape.length !== 1 || !fits(t.shape[0]))
        throw new TypeError(`${file.name}: tensor ${plain(name)} expected ${expected}; got ${describe(t)}`);
      return [[name.slice(0, -suffix.length), (t as Tensor<'f32'>).data] as const];
    });
    return Object.fromEntries(found);
  };
  const ranges = Object.entries(read('.range', 'f32[1]', size => size === 1));
  return {
    stats: {
      hessians: read('.hessian', 'f32[n²]', size => Number.isInteger(Math.sqrt(size))),
      ranges: Object.fromEntries(ranges.map(([site, [range]]) => [site, range])),
      channels: read('.channels'),
    },
    calibration: parsed('calibration', calibration) as CalibrationInfo,
  };
}
