/** Random weights as a folder in Hugging Face's form, which every tool reads. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { writeFileAtomic } from '../formats/disk.ts';
import type { JsonObject } from '../formats/json.ts';
import { writeSafetensors } from '../formats/safetensors.ts';
import { parseConfig } from '../model/index.ts';
import type { Progress } from '../quant/calibrate.ts';
import { randomModel } from './model.ts';

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
export function writeCheckpoint(
  path: string,
  config: JsonObject,
  { seed, type, onProgress }: { seed: number; type: keyof typeof TYPES; onProgress?: Progress },
): void {
  const about = join(path, 'config.json');
  const target = join(path, 'model.safetensors');
  for (const file of [about, target]) if (existsSync(file)) throw new Error(`${file}: is there already`);
  const { dtype, torch } = TYPES[type];
  const { graph, weights } = randomModel(parseConfig(config, 'config.json'), seed);
  let written = 0;
  const tensors = [...graph.weights].map(([ref, { shape }]) => {
    const stored = ref.endsWith('conv1d.weight') ? [shape[0], 1, shape[1]] : shape;
    const lazy = {
      dtype,
      shape: stored,
      get data() {
        onProgress?.(++written, graph.weights.size);
        return weights.read(ref).data;
      },
    };
    return [ref, lazy] as const;
  });
  mkdirSync(path, { recursive: true });
  writeFileAtomic(target, writeSafetensors(tensors, { format: 'pt' }));
  const json = `${JSON.stringify({ ...config, torch_dtype: torch }, null, 2)}\n`;
  writeFileAtomic(about, [new TextEncoder().encode(json)]);
}
