/** Programs of one fused node each, for every pattern: what the cases of fused.ts run. */
import type { Ref } from '../../graph.ts';
import { ops } from '../../ops/index.ts';
import type { StateType } from '../../state.ts';
import { everyExponent } from '../edges/edge.ts';
import {
  byChannel,
  coded,
  type FusedProgram,
  factor,
  type Parts,
  type Scheme,
  VOCABULARY,
} from './fused-parts.ts';
import { gated, ssd } from './fused-ssd.ts';
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

/** The columns of a result: how many, how they are quantized (`float`: they are not; `unread`), and whether by channel. */
type Segments = readonly (readonly [
  size: number,
  scheme: Scheme | 'float' | 'unread',
  channels?: 'channels',
])[];
const inWords = (segments: Segments): string => segments.map(segment => segment.join('-')).join(',');
const widthOf = (segments: Segments): number => segments.reduce((sum, [size]) => sum + size, 0);

/** The slices of y. */
function split({ g, constant, quantized }: Parts, y: Ref, segments: Segments) {
  const [codes, floats]: [Ref[], Ref[]] = [[], []];
  let start = 0;
  for (const [at, [size, scheme, channels]] of segments.entries()) {
    const cut = () => g.op(`part${at}`, ops.slice, { x: y }, { start, size });
    if (scheme === 'float') floats.push(cut());
    else if (scheme !== 'unread') {
      const c = channels && constant(`c${at}`, [size], factor);
      const x = c ? g.op(`part${at}.steps`, ops.scaleChannels, { x: cut(), c }, { inverse: true }) : cut();
      codes.push(quantized(x, scheme));
    }
    start += size;
  }
  return { codes, floats };
}

const gemm = (
  i: number,
  segments: Segments,
  bias = false,
  bits: 8 | 4 = 8,
  given: Scheme = 'static',
): FusedProgram => ({
  name: `gemm-i${bits}-quantize`,
  what: `i=${i},${inWords(segments)}${bias ? ',b' : ''}${given === 'static' ? '' : ',x-dynamic'}`,
  write(parts) {
    const { g, codes, rows, integers, constant, weight, quantized } = parts;
    const o = widthOf(segments);
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
    return split(parts, y, segments);
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

/** A convolution whose result is read in slices, from codes with or without channels. */
const convOf = (segments: Segments, given: Scheme | 'channels' = 'static', k = 4): FusedProgram => ({
  name: 'causal-conv1d-i8',
  what: `k=${k},${inWords(segments)}${given === 'static' ? '' : `,x-${given}`}`,
  write(parts) {
    const { g, weight } = parts;
    const e = widthOf(segments);
    const x = given === 'channels' ? byChannel(parts, 'x', e) : coded(parts, given, 'x', e);
    const inputs = { x, w: weight('w', e, k), b: weight('b', e), past: g.state('past', [e, k - 1]) };
    return split(parts, g.op('y', ops.causalConv1d, inputs), segments);
  },
});

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
  write(parts) {
    const { g, rows, constant, weight } = parts;
    const real = (of: string, width: number): Ref => coded(parts, scheme, of, width);
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

/** The product inside an MLP, whose inputs are halves of one value or two. */
const product = (n: number, scheme: Scheme, isRotated: boolean, isSliced: boolean): FusedProgram => ({
  name: 'swiglu-quantize',
  what: `n=${n},${scheme}${isRotated ? ',rotated' : ''}${isSliced ? ',halves' : ''}`,
  write({ g, rows, quantized }) {
    const both = isSliced ? rows('both', 2 * n) : '';
    const half = (name: string, start: number) =>
      isSliced ? g.op(name, ops.slice, { x: both }, { start, size: n }) : rows(name, n);
    const y = g.op('y', ops.swiglu, { gate: half('gate', 0), up: half('up', n) });
    return { codes: [quantized(isRotated ? g.op('turned', ops.fwht, { x: y }) : y, scheme)] };
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
  ...([
    [[7, 'static']], // one slice, which is all
    [[8, 'static'], [5, 'unread']], // one slice, and what nobody reads
    [[4, 'unread'], [9, 'dynamic', 'channels']],
    [[16, 'static', 'channels'], [12, 'static', 'channels'], [12, 'static', 'channels']],
    [[16, 'static', 'channels'], [8, 'static'], [8, 'static', 'channels']],
    [[17, 'static', 'channels'], [3, 'static'], [5, 'static', 'channels']],
    [[16, 'dynamic'], [12, 'static', 'channels'], [12, 'dynamic', 'channels']],
    [[5, 'dynamic'], [1, 'static', 'channels'], [2, 'dynamic', 'channels']],
    [[16, 'static'], [12, 'float'], [12, 'static', 'channels']],
    [4, 8, 4, 8, 4, 8].map(size => [size, 'static', 'channels']), // more than fit into one instruction
  ] as readonly Segments[]).flatMap((segments, i) => [convOf(segments), convOf(segments, i % 2 ? 'channels' : 'dynamic', i % 3 + 2)]),
  ...schemes.flatMap(s => [
    gemm(24, [[16, s, 'channels'], [32, s, 'channels'], [2, 'float']], true), // in_proj: z, xBC, dt
    gemm(17, [[5, s, 'channels'], [8, 'dynamic'], [3, 'static', 'channels'], [1, 'static']]),
    gemm(16, [[6, s, 'channels'], [9, 'unread']], false, 4),
  ]),
  ...[[1, 1], [1, 16], [2, 3], [3, 4], [3, 17], [4, 5], [2, 33], [6, 8]].flatMap(([h, p], i) => [
    ssd({ h, p, n: 12, dt: schemes[i % 2] }),
    ssd({ h, p, n: 4 * (i + 1), g: h % 2 ? 1 : 2, given: 'channels', kept: KEPT[i % 3] }),
    ssd({ h, p, n: 8, given: 'dynamic', bare: i % 2 === 0, kept: KEPT[(i + 1) % 3] }),
  ]),
  ssd({ h: 4, p: 5, n: 12, g: 4, given: 'channels', dt: 'channels' }),
  ssd({ h: 4, p: 5, n: 12, g: 2, given: 'float', dt: 'static' }),
  ssd({ h: 6, p: 7, n: 16, g: 3, given: 'dynamic', dt: 'dynamic', bare: true, kept: 'i8' }),
  ...[[1, 1], [3, 1], [6, 2], [15, 3], [16, 1], [17, 1], [35, 5], [64, 2], [66, 2], [130, 2]].flatMap(([d, g], i) => [
    gated(d, g, schemes[i % 2], 'float'),
    gated(d, g, 'channels', schemes[i % 2], i % 3 > 0),
    gated(d, g, schemes[i % 2], schemes[(i >> 1) % 2], i % 3 === 0),
  ]),
  ...schemes.map(scheme => gated(30, 2, 'float', scheme)),
  gated(30, 2, 'channels', 'float'),
  ...[1, 2, 12, 16, 20, 28, 40, 64, 80, 96, 112, 160, 768].flatMap(n => [
    ...schemes.map(scheme => rotation(n, scheme, false)),
    rotation(n, 'static', true),
  ]),
  ...WIDTHS.flatMap((n, i) => [product(n, schemes[i % 2], false, i % 3 > 0), product(n, schemes[(i + 1) % 2], false, true)]),
  ...[1, 2, 12, 20, 64, 768].flatMap(n => schemes.map((scheme, i) => product(n, scheme, true, (i + n) % 2 === 0))),
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
    gemm(768, [[1536, 'static', 'channels'], [1792, 'static', 'channels'], [24, 'float']]),
    convOf([[1536, 'static', 'channels'], [128, 'static', 'channels'], [128, 'static', 'channels']], 'channels'),
    convOf([[5120, 'dynamic'], [128, 'dynamic'], [128, 'dynamic']], 'dynamic'),
    ...[24, 48, 80].map((h, i) => ssd({ h, p: 64, n: 128, given: (['channels', 'dynamic', 'static'] as const)[i], kept: KEPT[i] })),
    ...INNER.map((d, i) => gated(d, 8 ** (i % 2), (['channels', 'static'] as const)[i % 2], (['float', ...schemes] as const)[i % 3])),
    ...INNER.map((n, i) => rotation(n, schemes[i % 2], i % 2 === 0)),
    ...[2048, 4096].map(n => rotation(n, 'static', true)),
    ...schemes.flatMap(scheme => [product(2048, scheme, false, true), product(2048, scheme, true, true)]),
  ]),
  ...wide([LONG], schemes.flatMap((scheme, i) => [
    norm(5, scheme, true, true),
    gemm(5, [[6, scheme]], true, 8, scheme),
    gemm(5, [[6, scheme]], true, 4, scheme),
    conv(5, 4, scheme, true),
    scan(5, 4, true, 'all', scheme, KEPT[i]),
    ssd({ h: 2, p: 3, n: 4, given: scheme, kept: KEPT[i] }),
    gated(6, 2, scheme, scheme),
    rotation(12, scheme, false),
    product(5, scheme, false, true),
  ])),
];
