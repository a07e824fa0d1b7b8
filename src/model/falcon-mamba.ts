/**
 * Falcon-Mamba (arXiv 2410.05355): Mamba with one more norm on dt, B and C, which has no weights.
 *
 * Source  transformers FalconMambaConfig: names and defaults
 */
import type { Architecture } from './architecture.ts';
import { fields } from './fields.ts';
import { type MambaConfig, mamba } from './mamba.ts';

export const falconMamba = {
  ...mamba,
  name: 'falcon-mamba',
  modelType: 'falcon_mamba',
  matches: json => json.model_type === 'falcon_mamba',
  parse: (json, file) => ({
    ...mamba.parse(json, file),
    architecture: 'falcon-mamba',
    mixerNormEps: fields(json, file).eps(['mixer_rms_eps'], 1e-6),
  }),
} as const satisfies Architecture<MambaConfig>;
