/**
 * Every op at the sizes of real models, mamba-130m … 2.8b and mamba2-130m … 2.7b, with few rows; and narrow, with more than 1,024
 * rows. What a kernel does otherwise from some size on shows here, since nothing else in the suite is as large.
 */
import type { Case, Subject } from '../case.ts';
import { type Form, forms } from '../forms.ts';
import { ordinaryCall } from '../inputs.ts';
import { opCase } from '../judge/judge.ts';
import { choices, type Point, pointsOf, type Sizes } from './sweep.ts';

/** d_model of 130m, 370m, 790m, 1.4b and 2.8b; an inner width is twice that, a rank a sixteenth, and d_state is 16. Heads have 64. */
export const MODELS = [768, 1024, 1536, 2048, 2560];
export const INNER = MODELS.map(m => 2 * m);
/** With an odd one next to a power of two, since few things that end well end well there. */
const WIDTHS = [...new Set([...MODELS, ...INNER, 1025, 2561])];
/** The vocabulary of these models, and that of their tokenizer. */
const VOCABULARY = [50280, 50277];

/** A narrow op over more tokens than any tile has. */
export const LONG = 1030;
const wide = (letter: string, more: Sizes = {}): readonly Sizes[] => [
  { l: [3], [letter]: WIDTHS, ...more },
  { l: [LONG], [letter]: [3], ...more },
];

/** Many inputs, or many outputs; dt_proj and x_proj of the smallest and the largest model; and once many of both. */
const products = (more: Sizes = {}): readonly Sizes[] => [
  { l: [2], i: WIDTHS, o: [7], ...more },
  { l: [3], i: [8], o: [65, 129, 257, 1001, 2049, ...INNER, 10240], ...more },
  { l: [2], i: [3], o: VOCABULARY, ...more },
  ...[768, 2560].flatMap(m => [
    { l: [2], i: [m / 16], o: [2 * m], ...more },
    { l: [2], i: [2 * m], o: [m / 16 + 32], ...more },
  ]),
  { l: [2], i: [768], o: [1536], ...more },
  { l: [LONG, 300], i: [5], o: [3], ...more },
];
const table: readonly Sizes[] = [
  { l: [3], v: [5], m: WIDTHS },
  { l: [24], v: VOCABULARY, m: [3] },
  { l: [LONG], v: [7], m: [3] },
];

/* biome-ignore format: a table */
const SIZES: Readonly<Record<string, readonly Sizes[]>> = {
  add: wide('m'),
  embedding: table,
  'embedding-i8': table,
  quantize: wide('n', { s: [1, 'l'] }),
  dequantize: wide('n', { s: [1, 'l'] }),
  'dequantize-i4': [...wide('n'), { l: [3], n: WIDTHS, g: [4] }],
  'absmax-scale': wide('n'),
  'scale-channels': wide('n', { inverse: [false, true] }),
  silu: wide('n'),
  softplus: wide('n'),
  'neg-exp': wide('n'),
  slice: [
    { l: [3], n: [3072], start: [0, 1536], size: [1536] },
    { l: [3], n: [10240], start: [0, 5120], size: [5120] },
    { l: [3], n: [2051], start: [1025], size: [1025, 1026] },
    { l: [3], n: [192], start: [0, 160, 176], size: [16, 160] },
    { l: [LONG], n: [5], start: [1], size: [3] },
  ],
  'rms-norm': wide('m'),
  fwht: [
    { l: [2], n: [64, 128, 256, 512, 3584, 8192, ...WIDTHS], inverse: [false, true] },
    { l: [LONG], n: [4, 12], inverse: [false] },
  ],
  linear: products(),
  'linear-i8': [
    ...products(), // the scales of rows, of tokens and of groups, too
    { l: [3], i: [768], o: [65], s: [1, 'l'], p: ['o'], g: [1, 6] },
    { l: [2], i: [8], o: [1001, ...VOCABULARY], p: ['o'] },
    { l: [LONG, 300], i: [6], o: [5], s: ['l'], p: [1, 'o'] },
  ],
  'linear-i4': [
    ...products(),
    { l: [3], i: [768], o: [65], s: [1, 'l'], g: [6] },
    { l: [LONG, 300], i: [6], o: [5], s: ['l'] },
  ],
  'causal-conv1d': [
    { l: [5], d: [129, 257, 1537, ...INNER], k: [4] },
    { l: [2], d: [1537], k: [2, 3], activation: ['none'] },
    { l: [LONG, 2060], d: [3], k: [4] },
  ],
  'ssd-scan': [
    { l: [2], h: INNER.map(d => d / 64), p: [64], n: [128] },
    { l: [3], h: [48], p: [64], g: [2, 8], n: [128] },
    { l: [3], h: [2], p: [3], n: [252, 256] },
    { l: [LONG, 2060], h: [2], p: [3], g: [2], n: [4] },
  ],
  // granite-4.0-h-350m and 1b, falcon-h1-tiny, nemotron-3-nano-4b; and one call over more than two blocks of keys
  attention: [
    { l: [3], h: [12], g: [4], p: [64], t: [127], scale: [1 / 64] },
    { l: [2], h: [12], g: [4], p: [128], t: [130], scale: [1 / 128] },
    { l: [3], h: [8], g: [2], p: [64], t: [0, 254], scale: [1 / 8] },
    { l: [1], h: [40], g: [8], p: [128], t: [60], scale: [Math.fround(1 / Math.sqrt(128))] },
    { l: [300], h: [2], g: [1], p: [4], t: [0, 100], scale: [0.3] },
    { l: [2], h: [2], g: [2], p: [4], t: [2060], scale: [0.3] },
    { l: [LONG], h: [1], g: [1], p: [4], t: [0] },
  ],
  rope: [
    { l: [3], h: [2, 8], p: [64], r: [32] },
    { l: [3], h: [8, 40], p: [128], r: [32, 64] },
    { l: [LONG], h: [1], p: [5], r: [1, 2] },
  ],
  'rope-table': [
    { l: [3], r: [32, 64], sine: [false, true] },
    { l: [LONG], r: [3], sine: [false, true] },
  ],
  swiglu: wide('n'),
  'squared-relu': wide('n'),
  'gated-rms-norm': [
    { l: [3], d: INNER, g: [1, 8] },
    { l: [3], d: [1025, 2562], g: [1] },
    { l: [3], d: [2562], g: [2] },
    { l: [LONG], d: [6], g: [2] },
  ],
  'selective-scan': [
    { l: [2], d: [1537, ...INNER], n: [16] },
    { l: [3], d: [5], n: [31, 32, 33, 48, 64, 65, 128, 256] },
    { l: [LONG, 2060], d: [3], n: [4, 5] },
  ],
};

/** Every second one where the state is kept otherwise than in f32: a kernel does the same there but for what it keeps. */
export const widthsOf = ({ op, dtype }: Form): readonly (readonly [words: string, point: Point])[] =>
  [...pointsOf(op, SIZES[op.name].flatMap(choices))].filter((_, i) => dtype === 'f32' || i % 2 === 0);

export const widthCases = (subject: Subject): Case[] =>
  forms.flatMap(form =>
    widthsOf(form).map(([words, { choice, absent }]) => {
      const address = `op/${form.name}/width/${words}`;
      const says = `${form.op.formula}, at the sizes of real models`;
      return opCase(subject, form, { address, says, quick: false }, () =>
        ordinaryCall(form, choice, absent, subject.seed),
      );
    }),
  );
