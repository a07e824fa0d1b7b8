/**
 * docs/orin.md and docs/orin.svg: what a token takes on a Jetson Orin, predicted from the bytes that it moves and the kernels that
 * it launches, beside what the paper measured.
 *
 *   TPOT = bytes / (efficiency × bandwidth) + launches × LAUNCH
 */
import type { MambaConfig } from '../../src/model/mamba.ts';
import { type Cost, costOf } from '../../src/plan/cost.ts';
import { planOf } from '../../src/quant/pipeline.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { randomModel } from '../../src/random/model.ts';
import { nominalStats } from '../../src/random/nominal-ranges.ts';
import { shapes } from '../../src/random/shapes.ts';
import { table } from './markdown.ts';

type Plan = 'f16' | 'quamba' | 'plain' | 'rotated';

/** What the paper measured, and the plan of ours that costs the same. */
interface Point {
  readonly method: string;
  readonly cost: Plan;
  readonly milliseconds: number;
  readonly isFitted: boolean;
}
type Measured = Point & Cost;

interface Machine {
  readonly efficiency: number;
  /** Seconds. */
  readonly launch: number;
  /** Bytes for each second. */
  readonly bandwidth: number;
}

const NANO = { name: 'Orin Nano 8G', bandwidth: 68e9 };
const BOARDS = [NANO, { name: 'AGX Orin', bandwidth: 204.8e9 }];

/** Seconds from the end of a small kernel to the start of the next, in a CUDA graph, on a CPU and GPU of that class. Not measured. */
const LAUNCH = 5e-6;

/** Others, to see what hangs on it. */
const LAUNCHES = [0, 2e-6, 10e-6, 20e-6];

/** Of mamba-2.8b on an Orin Nano 8G, milliseconds for each token, with the plan of ours that costs the same: arXiv 2410.13229. */
const PAPER: readonly Point[] = [
  { method: 'FP16', cost: 'f16', milliseconds: 103.56, isFitted: true },
  { method: 'Quamba', cost: 'quamba', milliseconds: 60.17, isFitted: true },
  { method: 'SmoothQuant', cost: 'plain', milliseconds: 56.53, isFitted: false },
  { method: 'QuaRot', cost: 'rotated', milliseconds: 67.76, isFitted: false },
];

/** Seconds for a whole text, FP16 and Quamba, read off a figure of the paper by eye. */
const READ_OFF: Readonly<Record<string, readonly [f16: number, quamba: number]>> = {
  'mamba-370m': [8.5, 6],
  'mamba-1.4b': [26, 16],
  'mamba-2.8b': [50, 31],
};

/** What a token costs by recipe. Weights are not read: random ones have the same sizes. */
function costs(shape: MambaConfig): Readonly<Record<Plan, Cost>> {
  const model = randomModel(shape, 1);
  const cost = (name: keyof typeof recipes) =>
    costOf(planOf(model, recipes[name], nominalStats(model, recipes[name])));
  // smoothing is folded into what is there: the plan without it has its bytes and kernels
  return {
    f16: cost('fp32'),
    quamba: cost('quamba'),
    plain: cost('naive-static'),
    rotated: cost('quarot-style'),
  };
}

/** Milliseconds. */
const predicted = ({ bytes, launches }: Cost, { efficiency, launch, bandwidth }: Machine) =>
  1000 * (bytes / (efficiency * bandwidth) + launches * launch);

/** The one efficiency with the least squares of the relative errors, in which its inverse is linear. */
function fitted(measured: readonly Measured[], launch: number): number {
  const points = measured
    .filter(({ isFitted }) => isFitted)
    .map(({ bytes, launches, milliseconds }) => ({
      slope: (1000 * bytes) / NANO.bandwidth / milliseconds,
      rest: 1 - (1000 * launches * launch) / milliseconds,
    }));
  const sum = (of: (point: (typeof points)[number]) => number) =>
    points.reduce((total, point) => total + of(point), 0);
  return sum(({ slope }) => slope ** 2) / sum(({ slope, rest }) => slope * rest);
}

const percent = (share: number) => `${share < 0 ? '−' : '+'}${Math.abs(100 * share).toFixed(1)} %`;
const ms = (milliseconds: number) => milliseconds.toFixed(milliseconds < 10 ? 2 : 1);
const megabytes = (bytes: number) => (bytes / 1e6).toFixed(0);
/** All columns but the first are numbers. */
const figures = (head: readonly string[], rows: readonly (readonly (string | number)[])[]) =>
  table(head, rows, ['---', ...head.slice(1).map(() => '---:')]);

/** The paper's models are Mamba-1. */
const rows = Object.entries(shapes).flatMap(([name, shape]) =>
  'dtRank' in shape ? { name, ...costs(shape) } : [],
);
const largest = rows.at(-1)!;
const measured = PAPER.map(point => ({ ...point, ...largest[point.cost] }));
const efficiency = fitted(measured, LAUNCH);
const onNano = { efficiency, launch: LAUNCH, bandwidth: NANO.bandwidth };
/** The prediction for each figure of the paper, and by which part of that it is off. */
export const compared = measured.map(point => {
  const time = predicted(point, onNano);
  return { ...point, predicted: time, off: time / point.milliseconds - 1 };
});
const others = LAUNCHES.map(launch => {
  const at = { ...onNano, efficiency: fitted(measured, launch), launch };
  return { ...at, off: measured.map(point => predicted(point, at) / point.milliseconds - 1) };
});
const times = rows.map(({ name, f16, quamba }) => ({
  ...{ name, f16, quamba },
  boards: BOARDS.map(({ bandwidth }) => ({
    f16: predicted(f16, { ...onNano, bandwidth }),
    quamba: predicted(quamba, { ...onNano, bandwidth }),
  })),
}));

export function page(): string {
  const last = times.at(-1)!;
  const most = compared.filter(({ isFitted }) => isFitted).map(({ off }) => Math.abs(off));
  const launching = 1000 * last.quamba.launches * LAUNCH;
  const ratios = times.flatMap(({ name, boards: [{ f16, quamba }] }) => {
    if (!READ_OFF[name]) return [];
    const [slow, fast] = READ_OFF[name];
    return [[name, (slow / fast).toFixed(2), (f16 / quamba).toFixed(2)]];
  });
  return `<!-- made by npm run orin -->

# What a token takes on a Jetson Orin

A prediction, not a measurement: nobody here has run quamba on an Orin. The library is built for it (sm_87), and its bits are tested
on another GPU ([cuda.md](cuda.md)). Decoding reads every weight once for each token, so that its time follows from bytes:

    TPOT = bytes / (efficiency × bandwidth) + launches × ${(1e6 * LAUNCH).toFixed(0)} µs

- **bytes**: counted by the code from the plan of each shape ([cost.ts](../src/plan/cost.ts)): every constant once, a row of
  the embedding, the state read and written. W8A8 is the recipe \`quamba\`: int8 matrices in the blocks, embedding and head in f16, as
  public checkpoints have them. FP16 is the recipe \`fp32\` with its matrices in f16.
- **launches**: the norms, matrix products, convolutions, scans and rotations of the plan; all else is joined to one of them. ${(1e6 * LAUNCH).toFixed(0)} µs
  from one to the next is an assumption; what hangs on it is shown below.
- **bandwidth**: the data sheets' ${BOARDS.map(({ name, bandwidth }) => `${bandwidth / 1e9} GB/s (${name})`).join(' and ')}.
- **efficiency**: one number for all, ${efficiency.toFixed(3)}, fitted to the paper's FP16 and Quamba.

## Beside the paper

mamba-2.8b on an Orin Nano 8G, milliseconds for each token ([arXiv 2410.13229](https://arxiv.org/abs/2410.13229)):

${figures(
  ['', 'bytes, MB', 'launches', 'paper', 'predicted', 'off', ''],
  compared.map(point => [
    point.method,
    megabytes(point.bytes),
    point.launches,
    point.milliseconds.toFixed(2),
    point.predicted.toFixed(2),
    percent(point.off),
    point.isFitted ? 'fitted' : 'not fitted',
  ]),
)}

![measured and predicted times](orin.svg)

One efficiency gives both fitted figures within ${(100 * Math.max(...most)).toFixed(1)} %, and the ratio ${(compared[0].predicted / compared[1].predicted).toFixed(2)} where the paper measured ${(compared[0].milliseconds / compared[1].milliseconds).toFixed(2)}. SmoothQuant is
predicted from the bytes alone. QuaRot takes longer than its bytes say: its rotations of wide activations are work that the model
does not count.

What the fit does with other costs of a launch (two numbers can always meet two figures, so that a good one here proves little):

${figures(
  ['launch', 'efficiency', ...compared.map(({ method }) => method)],
  others.map(({ launch, efficiency, off }) => [
    `${(1e6 * launch).toFixed(0)} µs`,
    efficiency.toFixed(3),
    ...off.map(percent),
  ]),
)}

## Predicted, by shape

Milliseconds for each token, batch 1:

${figures(
  ['', 'FP16, MB', 'W8A8, MB', ...BOARDS.flatMap(({ name }) => [`${name}, FP16`, 'W8A8', 'ratio'])],
  times.map(({ name, f16, quamba, boards }) => [
    name,
    megabytes(f16.bytes),
    megabytes(quamba.bytes),
    ...boards.flatMap(time => [ms(time.f16), ms(time.quamba), (time.f16 / time.quamba).toFixed(2)]),
  ]),
)}

Of the ${ms(last.boards[0].quamba)} ms of ${last.name} in W8A8 on the Nano, launches are ${ms(launching)}; on the AGX the same ${ms(launching)} of ${ms(last.boards[1].quamba)}. Decoding in one
kernel, as the library does where it can, takes barriers in their place.

The smaller the model, the smaller the gain, since the head stays f16. The paper has a figure of whole texts, prompt included, on the
Nano; read off by eye, FP16 to Quamba:

${figures(['', 'the figure', 'predicted TPOT'], ratios)}

What it leaves out: how the clock and the memory are set (\`nvpmodel\`, \`jetson_clocks\`), what else uses the memory, and the prompt,
which is bound by products and not by bytes. FP16 of ${last.name} holds ${(last.f16.bytes / 1e9).toFixed(1)} GB of a Nano's 8, which it shares with the system.
`;
}

/** Bars of milliseconds: the paper's and the predicted of mamba-2.8b, and the predicted of every shape. */
export function picture(): string {
  const most = Math.max(...compared.flatMap(({ milliseconds, predicted }) => [milliseconds, predicted]));
  const scale = 430 / most;
  const parts: string[] = [];
  let y = 0;
  const title = (text: string) => {
    y += 28;
    parts.push(`<text x="10" y="${y}" font-weight="bold">${text}</text>`);
    y += 10;
  };
  const bar = (label: string, value: number, fill: string, says: string) => {
    const width = (value * scale).toFixed(1);
    parts.push(
      `<text x="118" y="${y + 12}" text-anchor="end">${label}</text>`,
      `<rect x="124" y="${y + 1}" width="${width}" height="14" fill="${fill}"/>`,
      `<text x="${(130 + value * scale).toFixed(1)}" y="${y + 12}" font-size="11">${ms(value)}${says}</text>`,
    );
    y += 17;
  };
  title('mamba-2.8b on an Orin Nano 8G, ms for each token: the paper and the prediction');
  for (const { method, milliseconds, predicted } of compared) {
    bar(method, milliseconds, '#8a8f98', ' measured');
    bar('', predicted, '#c0662b', ' predicted');
    y += 5;
  }
  title('predicted on an Orin Nano 8G, ms for each token');
  for (const { name, boards } of times) {
    bar(name, boards[0].f16, '#5b7fb5', ' FP16');
    bar('', boards[0].quamba, '#c0662b', ' W8A8');
    y += 5;
  }
  const frame = `width="680" height="${y + 10}" viewBox="0 0 680 ${y + 10}" font-family="sans-serif" font-size="12"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${frame}>
<title>Milliseconds for each token on an Orin: the paper and the prediction</title>
<rect width="100%" height="100%" fill="#fff"/>
${parts.join('\n')}
</svg>
`;
}
