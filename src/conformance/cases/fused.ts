/** Every fused op, as a program with one fused node, is compared with the ops that it replaces. */
import { type Builder, type Program, type Ref, trace, weightsOf } from '../../graph.ts';
import { once } from '../../once.ts';
import { ops } from '../../ops/index.ts';
import { fuse } from '../../plan/fuse.ts';
import { formsOf } from '../../run.ts';
import type { StateType } from '../../state.ts';
import { sizeOf, type Tensor, tensor } from '../../tensor.ts';
import { random } from '../../text/random.ts';
import type { Case, Profile, Subject } from '../case.ts';
import { gauss, integer } from '../inputs.ts';
import { requantized } from '../judge/bounds.ts';
import { compare } from '../judge/compare.ts';
import { caseOf, type Finding, worstOf } from '../judge/judge.ts';
import type { Tensors } from '../named.ts';
import { expectedFrom, fed, judgeNear, withExecutable } from '../plan.ts';

type Scheme = 'static' | 'dynamic';
const schemes: readonly Scheme[] = ['static', 'dynamic'];

/** The values that are compared: `codes` are integers, `floats` are not. */
interface Shown {
  readonly codes?: readonly Ref[];
  readonly floats?: readonly Ref[];
  /** How its state is kept, f32 by default; in i8 by the constant `steps`. */
  readonly kept?: StateType['dtype'];
}
interface FusedProgram {
  readonly name: string;
  readonly what: string;
  readonly write: (parts: Parts) => Shown;
}

const VOCABULARY = 13;

/** The tools that a program is written with: its builder, and each kind of value that a fused op reads. */
function partsOf(g: Builder, tokens: Ref, constants: Map<Ref, Tensor>) {
  const next = random(3);
  const put = (name: string, value: Tensor): Ref => {
    constants.set(name, value);
    return g.weight(name, value.shape, '', value.dtype);
  };
  const constant = (name: string, shape: readonly number[], make: (i: number) => number): Ref => {
    const data = Float32Array.from({ length: sizeOf(shape) }, (_, i) => make(i));
    return put(name, tensor(data, shape));
  };
  const step = (name: string) => constant(`${name}.scale`, [1], () => 0.02);
  const weight = (name: string, ...shape: number[]) => constant(name, shape, () => gauss(next));
  /** f32[l, width], a row for each token. */
  const rows = (name: string, width: number) =>
    g.op(name, ops.embedding, { tokens, w: weight(`${name}.table`, VOCABULARY, width) });
  /** i8[l, width] and the scale of its steps. */
  const codes = (name: string, width: number) => {
    const scale = step(name);
    return { q: g.op(`${name}.q`, ops.quantize, { x: rows(name, width), scale }), scale };
  };
  return {
    ...{ g, constant, weight, rows, codes },
    integers(name: string, ...shape: number[]) {
      const data = Int8Array.from({ length: sizeOf(shape) }, () => integer(next));
      return put(name, tensor(data, shape));
    },
    real: (name: string, width: number) => g.op(`${name}.real`, ops.dequantize, codes(name, width)),
    quantized(x: Ref, scheme: Scheme) {
      const scale = scheme === 'static' ? step(x) : g.op(`${x}.scale`, ops.absmaxScale, { x });
      return g.op(`${x}.q`, ops.quantize, { x, scale });
    },
  };
}
type Parts = ReturnType<typeof partsOf>;

/** One program for each value that is compared, with that value as its result. */
export function programsOf({ write }: FusedProgram): readonly {
  readonly program: Program;
  readonly isCodes: boolean;
}[] {
  const constants = new Map<Ref, Tensor>();
  let shown: Shown = {};
  const results = new Map<Ref, boolean>();
  const graph = trace((g, tokens) => {
    const parts = partsOf(g, tokens, constants);
    shown = write(parts);
    const one = parts.constant('one', [1], () => 1);
    for (const q of shown.codes ?? [])
      results.set(g.op(`${q}.shown`, ops.dequantize, { q, scale: one }), true);
    for (const x of shown.floats ?? []) results.set(x, false);
    return [...results.keys()][0];
  });
  const { kept: dtype = 'f32' } = shown;
  const states = new Map(
    [...graph.states].map(([ref, { shape }]) => [
      ref,
      { dtype, shape, ...(dtype === 'i8' && { scale: 'steps' }) },
    ]),
  );
  const program = fuse({ graph: { ...graph, states }, weights: weightsOf(constants) });
  return [...results].map(([result, isCodes]) => ({
    program: { ...program, graph: { ...program.graph, result } },
    isCodes,
  }));
}

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
const gemm = (i: number, segments: Segments, bias = false, bits: 8 | 4 = 8): FusedProgram => ({
  name: `gemm-i${bits}-quantize`,
  what: `i=${i},${segments.map(([size, scheme]) => `${size}-${scheme}`).join(',')}${bias ? ',b' : ''}`,
  write({ g, codes, integers, constant, weight, quantized }) {
    const o = segments.reduce((sum, [size]) => sum + size, 0);
    const { q: x, scale: xscale } = codes('x', i);
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
];

const LENGTHS = [1, 17, 130];
const textOf = (length: number) => Int32Array.from({ length }, (_, i) => (i * 5 + (i >> 3)) % VOCABULARY);

function judge(profile: Profile, program: Program, isCodes: boolean, length: number, got: Tensors): Finding {
  const expected = expectedFrom(program, textOf(length));
  if (profile === 'exact') return compare(expected, got, 'exact');
  const asCodes = ({ logits }: Tensors) => ({ logits: tensor(Int8Array.from(logits.data), logits.shape) });
  const { logits, ...states } = expected;
  return worstOf([
    isCodes
      ? compare(asCodes(expected), asCodes(got), profile, { logits: requantized(logits) })
      : judgeNear('logits', logits, got.logits, program, length),
    ...Object.keys(states).map(ref => judgeNear(ref, states[ref], got[ref], program, length)),
  ]);
}

export const fusedCases = ({ backend, profile }: Subject): Case[] =>
  fusedPrograms.map(under => {
    const programs = once(() => programsOf(under));
    const about = {
      address: `fused/${under.name}/${under.what}`,
      says: `the fused op gives what its ops give one by one, over ${LENGTHS.join(', ')} tokens`,
      quick: true,
      ops: [...formsOf(programs()[0].program).keys()],
    };
    const judged = ({ program, isCodes }: ReturnType<typeof programs>[number]): readonly Finding[] =>
      withExecutable(backend, program, executable =>
        LENGTHS.map(length => judge(profile, program, isCodes, length, fed(executable, [textOf(length)]))),
      );
    return caseOf(backend, about, () => worstOf(programs().flatMap(judged)));
  });
