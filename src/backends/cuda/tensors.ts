/** Tensors and attributes in the form of quamba.h. */
import type { Attrs } from '../../op.ts';
import type { Tensor } from '../../tensor.ts';
import { DTYPES, MAX_RANK } from './abi.ts';
import type { NativeAttribute, NativeTensor } from './functions.ts';

export const nativeTensors = (named: Readonly<Record<string, Tensor | undefined>>): NativeTensor[] =>
  Object.entries(named).flatMap(([name, t]) =>
    t === undefined
      ? []
      : {
          name,
          dtype: DTYPES[t.dtype],
          rank: t.shape.length,
          shape: Array.from({ length: MAX_RANK }, (_, i) => t.shape[i] ?? 0),
          data: t.data,
        },
  );

export const nativeAttributes = (attrs: Attrs): NativeAttribute[] =>
  Object.entries(attrs).map(([name, value]) =>
    typeof value === 'string'
      ? { name, number: 0, text: value }
      : { name, number: Number(value), text: null },
  );
