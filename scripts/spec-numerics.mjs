/**
 * src/ops/numerics.ts as a page: its constants with their bits, and its functions in C. They are written in the part of
 * TypeScript that differs from C in a dozen words, so C is made by replacing these; test/docs/spec.test.ts compiles the result
 * and compares its bits.
 */

const bits = new DataView(new ArrayBuffer(4));
const hex = x => {
  bits.setFloat32(0, x);
  return bits.getUint32(0).toString(16).padStart(8, '0');
};
const decimal = x => String(Number.parseFloat(x.toPrecision(9)));
/** A float32 as C reads it back to the last bit: nine digits. */
const literal = x => `${decimal(x).replace(/^(-?\d+)(?=$|e)/, '$1.0')}f`;

/** What each constant is. One that is missing here stops the generator. */
const ABOUT = {
  MAGIC: '1.5 · 2²³: adding and subtracting it rounds \\|v\\| < 2²² to the nearest integer, ties to even',
  LOG2E: 'log₂ e',
  LN2_HI: 'the upper part of ln 2: 355/512, so that n · LN2_HI is exact',
  LN2_LO: 'ln 2 − LN2_HI',
  EXP: 'p of eʳ = 1 + r + r² · p(r), highest power first',
  EXP2: 'p of 2ʳ = 1 + r · p(r), highest power first',
  SQRT2: '√2, where log1p changes its exponent',
  ATANH: '2/9, 2/7, 2/5, 2/3 of 2 atanh s, highest power first',
  SOFTPLUS_LINEAR: 'above it softplus is x itself',
  SILU_LINEAR: 'from it on silu is x itself',
  ONE: '2⁻⁶⁴, the scaled 1 of silu’s denominator',
};

const pow2 = n => 2 ** n;
const evaluate = source => new Function('f', 'pow2', `return ${source}`)(Math.fround, pow2);

/** `[name, value or values]` of the constants at the top level, in order. */
function constantsOf(source) {
  return [...source.matchAll(/^const ([A-Z\d_]+) = (.+?);(?: \/\/.*)?$/gm)].flatMap(([, name, value]) => {
    if (/new |^f$/.test(value)) return []; // storage
    if (!ABOUT[name]) throw new Error(`spec: nothing is said about the constant ${name} of numerics.ts`);
    return [[name, evaluate(value)]];
  });
}

const PUBLIC = ['exp', 'exp2', 'log1p', 'softplus', 'silu'];
/** TypeScript → C, in order. */
const REPLACEMENTS = [
  [/export function|function/g, 'double'],
  [
    /export const roundEven = \(v: number\): number => (.+);/,
    'double roundEven(double v) {\n  return $1;\n}',
  ],
  [
    /\((\w+: number(?:, \w+: number)*)\): number/g,
    (_, list) => `(${list.replace(/(\w+): number/g, 'double $1')})`,
  ],
  [/ *FLOAT\[0\] = u;\n\s*const k = .*;/, '  const double k = ilogb(u); /* the exponent in its bits */'],
  [/const ([a-z]\w*) =/g, 'const double $1 ='],
  [/for \(let /g, 'for (int '],
  [/let (\w+) =/g, 'double $1 ='],
  [/Math\.abs/g, 'fabs'],
  [/Math\.(min|max)/g, '$1imum'],
  [/Number\.isNaN/g, 'isnan'],
  [/Number\.NaN/g, 'NAN'],
  [/Number\.NEGATIVE_INFINITY/g, '-INFINITY'],
  [/Number\.POSITIVE_INFINITY/g, 'INFINITY'],
  [/([!=])==/g, '$1='],
  [new RegExp(`\\b(${PUBLIC.join('|')})\\(`, 'g'), 'q_$1('],
  [/^(double (?!q_))/gm, 'static $1'],
  [/ \/\/ (.*)$/gm, ' /* $1 */'],
];

function toC(source) {
  const code = REPLACEMENTS.reduce((text, [from, to]) => text.replace(from, to), source);
  const left = /\b(?:const|let) \w+ =|=>|\b(?:Math|Number)\.|: number|function|===/.exec(code);
  if (left) throw new Error(`spec: numerics.ts has '${left[0]}', which no rule makes C of`);
  return code;
}

/** The functions as C with their comments, each after those that it calls. */
function functionsOf(source) {
  const pattern =
    /(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?(?:export )?(?:function (\w+)[\s\S]*?\n\}|const (roundEven) = .*;)\n/g;
  const found = [...source.matchAll(pattern)].map(([text, comment, name, constant]) => ({
    name: name ?? constant,
    comment: name && comment ? `/*${comment}*/\n` : '',
    code: toC(text.replace(/^\/\*\*[\s\S]*?\*\/\n/, '').trim()),
  }));
  const written = new Set();
  const write = ({ name, comment, code }) => {
    if (written.has(name)) return [];
    written.add(name);
    const called = found.filter(other => new RegExp(`\\b(?:q_)?${other.name}\\(`).test(code));
    return [...called.flatMap(write), comment + code];
  };
  return found.flatMap(write);
}

/** The whole of numerics.ts as one C file. */
function listing(source) {
  const constants = constantsOf(source).map(([name, value]) =>
    Array.isArray(value)
      ? `static const double ${name}[] = {${value.map(literal).join(', ')}};`
      : `static const double ${name} = ${literal(value)};`,
  );
  return `#include <math.h>

/* One rounding to binary32. Every variable here holds a binary32 value. */
static double f(double v) { return (float)v; }
/* These keep NaN, which fmin and fmax do not. */
static double minimum(double a, double b) { return a < b || isnan(a) ? a : b; }
static double maximum(double a, double b) { return a > b || isnan(a) ? a : b; }
static double pow2(double n) { return ldexp(1, (int)n); }

${constants.join('\n')}

${functionsOf(source).join('\n\n')}
`;
}

const table = source =>
  constantsOf(source)
    .flatMap(([name, value]) =>
      Array.isArray(value)
        ? value.map((x, i) => [`${name}[${i}]`, x, i ? '' : ABOUT[name]])
        : [[name, value, ABOUT[name]]],
    )
    .map(([name, x, about]) => `| \`${name}\` | ${decimal(x)} | \`${hex(x)}\` | ${about} |`)
    .join('\n');

export function numericsPage(source) {
  return `# Numerics

What all ops share: rounding, sums, and the elementary functions, of [numerics.ts](../../src/ops/numerics.ts). Who
repeats the operations of this page in their order has the same bits. [Made](index.md) from the code; do not edit.

## Rounding

\`fround(v)\` rounds to binary32 (f32), to nearest, ties to even. Every operation on f32 is one operation and one rounding, in the
order written: \`fround(a · b)\` of two f32 values is what a machine's f32 multiplication gives, and the same holds for
\`+ − ÷ √\`. So:

- no fused multiply-add, no reassociation, no reciprocal in the place of a division, no flush of denormals (C:
  \`-ffp-contract=off\`, never \`-ffast-math\`; CUDA: \`--fmad=false -prec-div=true -prec-sqrt=true -ftz=false\`);
- −0 and +0 are different bits. A sum that "starts at +0" turns −0 into +0; one that starts with its first term does not;
- a NaN in gives a NaN out, unless the op says otherwise; which NaN is not specified;
- int32 → f32 rounds to nearest, ties to even; int8 saturates at −128 and 127, it never wraps.

**Round to the nearest integer**, for |v| < 2²²: \`fround(fround(v + 12582912) − 12582912)\`, with 12582912 = 1.5 · 2²³. The first sum
has no bits below 1, so the f32 rounding of the addition is the rounding to an integer, ties to even. Any other exact way to round
half to even gives the same (\`rintf\`, \`nearbyintf\`, \`roundeven\`), but for the sign of zero, which no op of ours shows.

**Multiply by 2ⁿ** is one rounding, also where 2ⁿ itself is no f32 (n goes from −151 to 129). Where f64 is at hand, \`(float)(p *
ldexp(1, n))\`. In f32, two multiplications: by 2^⌊n/2⌋ and by 2^(n − ⌊n/2⌋), of which the first is exact.

## Sums

A sum over a long axis runs in L **lanes**, so that SIMD and GPUs can share it: lane j adds the terms k ≡ j (mod L) in
ascending k, starting at +0. Then a **tree** adds the lanes: j takes j + L/2 for all j < L/2, then j + L/4, … until lane 0 has
the sum. Lanes that no term reached are +0 and take part. L is part of an op's definition: 32 in [rms-norm](rms-norm.md), 4 in
[linear](linear.md) and [selective-scan](selective-scan.md). With L = 4:

    term       0   1   2   3   4   5   6
    lane       0   1   2   3   0   1   2
    sum        (lane 0 + lane 2) + (lane 1 + lane 3)

Sums of int32 are exact in any order.

## Constants

All of them are f32; the bits decide, the decimals have nine digits and read back to them.

| name | value | bits | |
| --- | ---: | --- | --- |
${table(source)}

## Functions

In C. All arithmetic is written in double and rounded by \`f\` after each operation, which is the same as in f32: the exact
product of two f32 values fits a double, and a sum, quotient or root that is rounded twice, to 53 and then to 24 bits, is the one
that is rounded once. Multiplications by \`pow2\` are the "multiply by 2ⁿ" of above. \`q_\` keeps the names apart from those of
math.h.

\`\`\`c
${listing(source)}\`\`\`

How far they are from the truth, and a fingerprint of the bits of each over 102 000 arguments, is in
[docs/numerics.md](../numerics.md).
`;
}
