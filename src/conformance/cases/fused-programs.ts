/** Programs of one fused node each, for every pattern: what the cases of fused.ts run. */
import type { Ref } from '../../graph.ts';
import { ops } from '../../ops/index.ts';
import type { StateType } from '../../state.ts';
import { everyExponent } from '../edges/edge.ts';
import { type FusedProgram, type Scheme, VOCABULARY } from './fused-parts.ts';
import { INNER, LONG, MODELS } from './width.ts';

const schemes: readonly Scheme[] = ['static', 'dynamic'];
const KEPT = ['f32', 'f16', 'i8'] as const;

const norm = (width: number, scheme: Scheme, sum: boolean, weighted: boolean): FusedProgram => ({
  name: 'add-norm-quantize',
  what: `${sum ? 'add' : 'no-add'},${weighted ? 'w' : 'no-w'},${scheme},m=${width}`,
  write({ g, rows, weight, quantized }) {
    const h = sum ? g.op('sum', ops.add, { x: rows('x', width), y: rows('y', width) }) : rows('x', width);
    const w = weighted ? weight('w', width) : undefined;
    const q = quantized(g.op('normed', ops.rmsNorm, { x: h, w }), scheme);
    return { codes: [q], floats: sum ? [h] : [] };
  },
});

/** The segments of a matrix product: the size of each, and how it is quantized (`float`: it is not). */
type Segments = readonly (readonly [size: number, scheme: Scheme | 'float'])[];
const gemm = (
  i: number,
  segments: Segments,
  bias = false,
  bits: 8 | 4 = 8,
  given: Scheme = 'static',
): FusedProgram => ({
  name: `gemm-i${bits}-quantize`,
  what: `i=${i},${segments.map(([size, scheme]) => `${size}-${scheme}`).join(',')}${bias ? ',b' : ''}${given === 'static' ? '' : ',x-dynamic'}`,
  write({ g, codes, rows, integers, constant, weight, quantized }) {
    const o = segments.reduce((sum, [size]) => sum + size, 0);
    const of = given === 'static' ? codes('x', i) : { q: quantized(rows('x', i), given), scale: 'x.scale' };
    const { q: x, scale: xscale } = of;
    const b = bias ? weight('b', o) : undefined;
    const w = integers('w', o, bits === 8 ? i : (i + 1) >> 1);
    const wscale = constant(
      'wscale',
      [bits === 8 ? 1 : o, i % 3 || bits === 8 ? 1 : 3],
      n => 0.003 + 0.001 * (n % 7),
    );
    const y = g.op('y', bits === 8 ? ops.linearI8 : ops.linearI4, { x, xscale, w, wscale, b });
    if (segments.length === 1) return { codes: [quantized(y, segments[0][1] as Scheme)] };
    let start = 0;
    const parts = segments.map(([size, scheme], at) => {
      const part = g.op(`part${at}`, ops.slice, { x: y }, { start, size });
      start += size;
      return scheme === 'float' ? { float: part } : { code: quantized(part, scheme) };
    });
    return {
      codes: parts.flatMap(({ code }) => code ?? []),
      floats: parts.flatMap(({ float }) => float ?? []),
    };
  },
});

const conv = (d: number, k: number, scheme: Scheme, bias: boolean, scaled = false): FusedProgram => ({
  name: 'causal-conv1d-i8',
  what: `d=${d},k=${k},${scheme}${bias ? ',b' : ''}${scaled ? ',channels' : ''}`,
  write({ g, real, weight, constant, quantized }) {
    const inputs = { x: real('x', d), w: weight('w', d, k), b: bias ? weight('b', d) : undefined };
    const past = g.state('past', [d, k - 1]);
    const y = g.op('y', ops.causalConv1d, { ...inputs, past });
    const c = constant('c', [d], factor);
    const x = scaled ? g.op('y.steps', ops.scaleChannels, { x: y, c }, { inverse: true }) : y;
    return { codes: [quantized(x, scheme)] };
  },
});
/** The factor of channel i. No two neighbours are equal, and none is a power of two. */
const factor = (i: number) => 0.3 + 0.17 * (i % 11);

/** `integers` says which of B, C and z are in int8, `scheme` how everything in int8 is quantized, and `kept` how h is kept. */
const scan = (
  d: number,
  n: number,
  gated: boolean,
  integers: 'all' | 'some',
  scheme: Scheme = 'static',
  kept: StateType['dtype'] = 'f32',
  scaled = false,
): FusedProgram => ({
  name: 'selective-scan-i8',
  what: `d=${d},n=${n}${gated ? ',z' : ''},${integers}-i8${scheme === 'dynamic' ? ',dynamic' : ''}${scaled ? ',channels' : ''}${kept === 'f32' ? '' : `,h-${kept}`}`,
  write({ g, real: ofOneScale, rows, constant, weight, quantized }) {
    const real = (of: string, width: number): Ref => {
      if (scheme === 'static') return ofOneScale(of, width);
      const x = rows(of, width);
      const q = quantized(x, scheme);
      return g.op(`${of}.real`, ops.dequantize, { q, scale: `${x}.scale` });
    };
    const given = integers === 'all' ? real : rows;
    const u = real('u', d);
    const inputs = {
      u: scaled ? g.op('u.plain', ops.scaleChannels, { x: u, c: constant('c', [d], factor) }) : u,
      dt: g.op('dt.positive', ops.softplus, { x: real('dt', d) }),
      A: constant('A', [d, n], i => -0.1 - (i % 16)),
      B: given('B', n),
      C: given('C', n),
      D: weight('D', d),
      z: gated ? given('z', d) : undefined,
      h: g.state('h', [d, n]),
    };
    if (kept === 'i8') constant('steps', [d], i => 0.02 * factor(i));
    return { floats: [g.op('y', ops.selectiveScan, inputs)], kept };
  },
});

const rotation = (n: number, scheme: Scheme, inverse: boolean): FusedProgram => ({
  name: 'fwht-quantize',
  what: `n=${n},${scheme}${inverse ? ',inverse' : ''}`,
  write: ({ g, rows, quantized }) => ({
    codes: [quantized(g.op('y', ops.fwht, { x: rows('x', n) }, { inverse }), scheme)],
  }),
});

/** Every code, in any order. */
const everyCode = (i: number) => ((i * 37) % 256) - 128;

/** The sums run from −8 to 23.9 in steps of 1/8, and half of them are ties of steps of 1/4: what is not quite x shows there. */
const siluEnd: FusedProgram = {
  name: 'causal-conv1d-i8',
  what: 'silu-end',
  lengths: [VOCABULARY],
  write({ g, coded, constant }) {
    const d = 20;
    const inputs = {
      x: coded('x', d, 1 / 8, everyCode),
      w: constant('w', [d, 4], i => (i % 4 === 3 ? 1 : 0)),
      b: constant('b', [d], () => 8),
      past: g.state('past', [d, 3]),
    };
    const scale = constant('y.scale', [1], () => 1 / 4);
    return { codes: [g.op('y.q', ops.quantize, { x: g.op('y', ops.causalConv1d, inputs), scale })] };
  },
};

/** What a scan reads through a function: its gate through silu, its step through softplus. */
const walk = (of: 'gate' | 'step', given: 'codes' | 'floats'): FusedProgram => ({
  name: 'selective-scan-i8',
  what: `every-${of},${given}`,
  lengths: [VOCABULARY],
  write({ g, coded, table, constant }) {
    const d = given === 'codes' ? 20 : 512;
    const every = everyExponent(VOCABULARY * d);
    const values = (i: number) =>
      i % 2 ? (i % 132) - 110 + i / every.length : Math.abs(every[i]) < 1e30 ? every[i] : 0;
    const walked =
      given === 'codes' ? coded(of, d, of === 'gate' ? 0.17 : 0.2, everyCode) : table(of, d, values);
    const ones = table('ones', 1, () => 1);
    const inputs = {
      u: coded('u', d, 1, () => 1),
      dt: g.op('dt.positive', ops.softplus, { x: of === 'step' ? walked : coded('dt', d, 0.02, everyCode) }),
      A: constant('A', [d, 1], () => -1),
      ...{ B: ones, C: ones, z: of === 'gate' ? walked : undefined, h: g.state('h', [d, 1]) },
    };
    return { floats: [g.op('y', ops.selectiveScan, inputs)] };
  },
});

/** At the sizes of real models: not part of the quick run. */
const wide = (lengths: readonly number[], programs: readonly FusedProgram[]): readonly FusedProgram[] =>
  programs.map(one => ({ ...one, what: `width/${one.what}`, lengths, quick: false }));

/** Sizes next to the tile sizes 4, 16 and 64. */
const WIDTHS = [1, 3, 15, 16, 17, 48, 63, 64, 65];

/* biome-ignore format: a table */
export const fusedPrograms: readonly FusedProgram[] = [
  ...WIDTHS.flatMap(m => schemes.map(scheme => norm(m, scheme, true, true))),
  ...schemes.flatMap(scheme => [norm(33, scheme, false, true), norm(33, scheme, true, false)]),
  ...WIDTHS.flatMap(i => schemes.map(scheme => gemm(i, [[i + 1, scheme]], i % 2 === 1))),
  ...schemes.flatMap(s => [
    gemm(24, [[48, s], [48, s]], true), // in_proj: x, z
    gemm(48, [[2, s], [4, s], [4, s]]), // x_proj: dt, B, C
    gemm(65, [[3, s], [16, s], [16, s]], true),
    gemm(31, [[1, s], [17, s]]),
    gemm(16, [[5, s], [11, 'float']]),
    gemm(16, [[64, 'float'], [64, s]], true),
  ]),
  ...WIDTHS.flatMap(i => schemes.map(scheme => gemm(i, [[i + 1, scheme]], i % 2 === 1, 4))),
  ...schemes.map(s => gemm(48, [[48, s], [48, s]], true, 4)),
  gemm(33, [[16, 'static'], [4, 'static'], [3, 'static']], false, 4),
  gemm(40, [[16, 'static'], [15, 'dynamic'], [17, 'static']], true),
  gemm(40, [[16, 'static'], [12, 'dynamic'], [17, 'static']], true),
  ...WIDTHS.flatMap(d => schemes.map(scheme => conv(d, 4, scheme, d % 2 === 1))),
  ...[1, 2, 3, 5].map(k => conv(17, k, 'static', true)),
  ...WIDTHS.flatMap(d => [scan(d, 16, true, 'all'), scan(d, d % 2 === 0 ? 4 : 5, true, 'some')]),
  ...[1, 3, 17].map(n => scan(17, n, false, 'all')),
  ...WIDTHS.map(d => scan(d, 16, d % 2 === 0, 'all', 'dynamic')),
  ...[1, 16, 17, 64, 65].map(d => scan(d, 16, true, 'all', schemes[d % 2], 'f16')),
  ...[1, 3, 5].map(n => scan(17, n, false, 'all', 'static', 'f16')),
  ...[1, 16, 17, 64, 65].map(d => scan(d, 16, true, 'all', schemes[d % 2], 'i8')),
  ...[1, 3, 5].map(n => scan(17, n, false, 'all', 'static', 'i8')),
  scan(17, 3, true, 'all', 'dynamic', 'i8', true),
  ...WIDTHS.flatMap(d => [conv(d, 4, 'static', d % 2 === 0, true), scan(d, 16, d % 2 === 1, 'all', 'static', 'f32', true)]),
  conv(17, 3, 'dynamic', true, true),
  scan(17, 5, true, 'some', 'static', 'f32', true),
  scan(17, 3, true, 'all', 'dynamic', 'f16', true),
  ...[1, 2, 12, 16, 20, 28, 40, 64, 80, 96, 112, 160, 768].flatMap(n => [
    ...schemes.map(scheme => rotation(n, scheme, false)),
    rotation(n, 'static', true),
  ]),
  siluEnd,
  ...(['gate', 'step'] as const).flatMap(of => [walk(of, 'codes'), walk(of, 'floats')]),
  ...wide([1, 3], [
    ...[...MODELS, 1025].map((m, i) => norm(m, schemes[i % 2], true, true)),
    gemm(768, [[1536, 'static'], [1536, 'static']]),
    gemm(48, [[1536, 'dynamic']], true, 8, 'dynamic'),
    ...([8, 4] as const).flatMap(bits => [
      gemm(16, [[5120, 'static'], [5120, 'dynamic']], true, bits),
      gemm(5120, [[160, 'static'], [16, 'static'], [16, 'static']], false, bits),
      gemm(2560, [[65, 'dynamic']], true, bits),
      gemm(24, [[1001, 'static']], true, bits),
    ]),
    ...[...INNER, 129].map((d, i) => conv(d, 4, schemes[i % 2], true, i % 3 === 0)),
    ...[...INNER, 1537].map((d, i) => scan(d, 16, true, 'all', schemes[i % 2], KEPT[i % 3])),
    ...[33, 48, 64].map((n, i) => scan(17, n, true, 'some', 'static', KEPT[i])),
    ...INNER.map((n, i) => rotation(n, schemes[i % 2], i % 2 === 0)),
    ...[2048, 4096].map(n => rotation(n, 'static', true)),
  ]),
  ...wide([LONG], schemes.flatMap((scheme, i) => [
    norm(5, scheme, true, true),
    gemm(5, [[6, scheme]], true, 8, scheme),
    gemm(5, [[6, scheme]], true, 4, scheme),
    conv(5, 4, scheme, true),
    scan(5, 4, true, 'all', scheme, KEPT[i]),
    rotation(12, scheme, false),
  ])),
];
