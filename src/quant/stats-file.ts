/**
 * What calibration saw, as a small safetensors file: a model that comes with it is quantized without calibrating again.
 *
 * Tensors: `<site>.range` f32[1], `<site>.channels` f32[n], `<site>.hessian` f32[n²]. Metadata: `format`, `version`, `recipe` (the scheme, as
 * JSON), `source` (identity of the float weights), `calibration` (JSON).
 */
import type { ByteSource } from '../formats/bytes.ts';
import { parseJson } from '../formats/json.ts';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.ts';
import type { Tensor } from '../tensor.ts';
import type { CalibrationInfo } from './checkpoint.ts';
import type { Stats } from './lower.ts';
import { type Recipe, sameRecipe } from './scheme.ts';

export const STATS_FORMAT = { format: 'quamba-stats', version: '1' } as const;

export interface StatsInfo {
  readonly recipe: Recipe;
  readonly source: string;
  readonly calibration: CalibrationInfo;
}

export function saveStats(stats: Stats, info: StatsInfo): Iterable<Uint8Array> {
  const entries = [
    ...Object.entries(stats.ranges).map(
      ([site, range]) => [`${site}.range`, Float32Array.of(range)] as const,
    ),
    ...Object.entries(stats.hessians ?? {}).map(([site, hessian]) => [`${site}.hessian`, hessian] as const),
    ...Object.entries(stats.channels).map(([site, channels]) => [`${site}.channels`, channels] as const),
  ];
  const tensors = entries.map(
    ([name, data]) => [name, { dtype: 'F32' as const, shape: [data.length], data }] as const,
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
      `${file.name}: expected ${STATS_FORMAT.format} version ${STATS_FORMAT.version}; got ${format} version ${version}`,
    );
  if (made !== expected.source)
    throw new Error(
      `${file.name}: was made for another model (${made?.slice(0, 12)}); this one is ${expected.source.slice(0, 12)}`,
    );
  if (
    !sameRecipe(
      parseJson(new TextEncoder().encode(recipe), `${file.name}: recipe`) as Recipe,
      expected.recipe,
    )
  )
    throw new Error(`${file.name}: was made for another recipe: ${recipe}`);
  const read = (suffix: string) =>
    [...file.tensors.keys()].flatMap(name =>
      name.endsWith(suffix)
        ? [[name.slice(0, -suffix.length), file.read(name) as Tensor<'f32'>] as const]
        : [],
    );
  const hessians = read('.hessian');
  return {
    stats: {
      ...(hessians.length > 0 && {
        hessians: Object.fromEntries(hessians.map(([site, t]) => [site, t.data])),
      }),
      ranges: Object.fromEntries(read('.range').map(([site, t]) => [site, t.data[0]])),
      channels: Object.fromEntries(read('.channels').map(([site, t]) => [site, t.data])),
    },
    calibration: JSON.parse(calibration),
  };
}
