/** Programs of the fused nodes of Mamba-2: its scan, and its gated norm. */
import { ops } from '../../ops/index.ts';
import type { StateType } from '../../state.ts';
import { byChannel, coded, type FusedProgram, factor, type Scheme } from './fused-parts.ts';

interface Heads {
  readonly h: number;
  readonly p: number;
  readonly n: number;
  readonly g?: number;
  /** How x, B and C are quantized, and dt. */
  readonly given?: Scheme | 'channels' | 'float';
  readonly dt?: Scheme | 'channels' | 'float';
  /** Without D and bias, with a limit on both sides. */
  readonly bare?: boolean;
  readonly kept?: StateType['dtype'];
}
/** In int8 are x, B, C, or with `given` as float dt alone. */
export const ssd = ({
  h,
  p,
  n,
  g = 1,
  given = 'static',
  dt = 'float',
  bare = false,
  kept = 'f32',
}: Heads): FusedProgram => ({
  name: 'ssd-scan-i8',
  what: `h=${h},p=${p},n=${n},g=${g},${given},dt-${dt}${bare ? ',limits' : ''}${kept === 'f32' ? '' : `,s-${kept}`}`,
  write(parts) {
    const { g: builder, rows, constant, weight } = parts;
    const read = (scheme: typeof given, name: string, width: number) => {
      if (scheme === 'float') return rows(name, width);
      return scheme === 'channels' ? byChannel(parts, name, width) : coded(parts, scheme, name, width);
    };
    const inputs = {
      dt: read(dt, 'dt', h),
      x: read(given, 'x', h * p),
      A: constant('A', [h, 1], i => -0.5 - (i % 16)),
      B: read(given, 'B', g * n),
      C: read(given, 'C', g * n),
      D: bare ? undefined : weight('D', h),
      bias: bare ? undefined : constant('bias', [h], i => -2 - factor(i)),
      S: builder.state('S', [h, n, p]),
    };
    if (kept === 'i8') constant('steps', [h * n], i => 0.005 * factor(i));
    const limits = bare && { lo: 0.3, hi: 1.5 };
    return { floats: [builder.op('y', ops.ssdScan, inputs, { g, ...limits })], kept };
  },
});

/** A gate in int8 (or float), and a result that is quantized or not. */
export const gated = (
  d: number,
  g: number,
  z: Scheme | 'channels' | 'float',
  result: Scheme | 'float',
  weighted = true,
): FusedProgram => ({
  name: 'gated-norm-i8',
  what: `d=${d},g=${g},z-${z},y-${result}${weighted ? ',w' : ''}`,
  write(parts) {
    const { g: builder, rows, weight, quantized } = parts;
    const gates = () => (z === 'channels' ? byChannel(parts, 'z', d) : coded(parts, z as Scheme, 'z', d));
    const inputs = {
      x: rows('x', d),
      z: z === 'float' ? rows('z', d) : gates(),
      w: weighted ? weight('w', d) : undefined,
    };
    const y = builder.op('y', ops.gatedRmsNorm, inputs, { g });
    return result === 'float' ? { floats: [y] } : { codes: [quantized(y, result)] };
  },
});
