/** Every op, under its name in camelCase. */
import { absmaxScale } from './absmax-scale.ts';
import { add } from './add.ts';
import { causalConv1d } from './causal-conv1d.ts';
import { dequantize } from './dequantize.ts';
import { dequantizeI4 } from './dequantize-i4.ts';
import { embedding } from './embedding.ts';
import { embeddingI8 } from './embedding-i8.ts';
import { fwht } from './fwht.ts';
import { linear } from './linear.ts';
import { linearI4 } from './linear-i4.ts';
import { linearI8 } from './linear-i8.ts';
import { negExp } from './neg-exp.ts';
import { quantize } from './quantize.ts';
import { rmsNorm } from './rms-norm.ts';
import { scaleChannels } from './scale-channels.ts';
import { selectiveScan } from './selective-scan.ts';
import { silu } from './silu.ts';
import { slice } from './slice.ts';
import { softplus } from './softplus.ts';

export const ops = {
  absmaxScale,
  add,
  causalConv1d,
  dequantize,
  dequantizeI4,
  embedding,
  embeddingI8,
  fwht,
  linear,
  linearI4,
  linearI8,
  negExp,
  quantize,
  rmsNorm,
  scaleChannels,
  selectiveScan,
  silu,
  slice,
  softplus,
} as const;
