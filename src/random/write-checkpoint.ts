/** Random weights as a folder in Hugging Face's form, which every tool reads. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { writeFiles } from '../formats/disk.ts';
import type { JsonObject } from '../formats/json.ts';
import { writeSafetensors } from '../formats/safetensors.ts';
import { shapeAsStored } from '../formats/weights.ts';
import { outlineOf, parseConfig } from '../model/index.ts';
import type { Progress } from '../quant/calibrate.ts';
import { randomWeights } from './model.ts';

/** How weights are stored, and what config.json calls it. */
export const TYPES = {
  f32: { dtype: 'F32', torch: 'float32' },
  f16: { dtype: 'F16', torch: 'float16' },
} as const;

/**
 * Writes model.safetensors, one tensor in memory at a time, and then config.json. Both types hold the same values.
 *
 * @param config the config.json of the model.
 * @throws RangeError where the config is none of a model that is known; Error where one of the files is there already, or cannot be written.
 */
export async function writeCheckpoint(
  path: string,
  config: JsonObject,
  { seed, type, onProgress }: { seed: number; type: keyof typeof TYPES; onProgress?: Progress },
): Promise<void> {
  for (const file of ['config.json', 'model.safetensors'].map(name => join(path, name)))
    if (existsSync(file)) throw new Error(`${file}: is there already`);
  const { dtype, torch } = TYPES[type];
  const outline = outlineOf(parseConfig(config, 'config.json'));
  const weights = randomWeights(outline, seed);
  let written = 0;
  const tensors = [...outline.stored].map(([ref, { shape }]) => {
    const lazy = {
      dtype,
      shape: shapeAsStored(ref, shape),
      get data() {
        onProgress?.(++written, outline.stored.size);
        return weights.read(ref).data;
      },
    };
    return [ref, lazy] as const;
  });
  const json = `${JSON.stringify({ ...config, torch_dtype: torch }, null, 2)}\n`;
  await writeFiles(path, [
    ['model.safetensors', writeSafetensors(tensors, { format: 'pt' })],
    ['config.json', [new TextEncoder().encode(json)]],
  ]);
}
