/** The error that int8 makes in out_proj, token by token: as it is, and rotated. */
import { ops, type Tensor } from 'quamba';
import { draw, Plot, SERIES } from '../plots.ts';
import { linearInt8, scaleOf } from './int8.ts';
import { element } from './lesson.ts';
import { number, percent, relativeError } from './numbers.ts';
import { cut, type Sample } from './sample.ts';

type F32 = Tensor<'f32'>;
/** Every third token, so that a slow machine shows it at once. */
const STEP = 3;

export function drawErrors({ y, outWeight, tokens }: Sample): void {
  const rows = Math.floor(tokens.length / STEP);
  const turned = ops.fwht({ x: y }).y;
  const few = (x: F32) => cut(x, { rows, step: STEP });
  const exact = ops.linear({ x: few(y), w: outWeight }).y;
  const plain = linearInt8(few(y), outWeight, scaleOf(y));
  const rotated = linearInt8(few(turned), ops.fwht({ x: outWeight }).y, scaleOf(turned));

  const outputs = exact.shape[1];
  const row = ({ data }: F32, t: number) => data.subarray(t * outputs, (t + 1) * outputs);
  const sides = { 'y in int8': plain, 'Q y in int8': rotated };
  const dots = Object.entries(sides).flatMap(([side, got]) =>
    Array.from({ length: rows }, (_, t) => ({
      side,
      token: t * STEP,
      error: 100 * relativeError(row(got, t), row(exact, t)),
      word: tokens[t * STEP],
    })),
  );
  const [before, after] = [plain, rotated].map(got => relativeError(got.data, exact.data));
  draw(
    element('errors'),
    {
      alt: `Relative error of out_proj by token: ${percent(before)} over all tokens with y in int8, ${percent(after)} with y rotated.`,
      caption: `Relative error ‖int8 − float‖ / ‖float‖ of 64 outputs of out_proj for every third token. Over all of them ${percent(before)} as it is, ${percent(after)} rotated: ${number(before / after, 2)} times less.`,
    },
    () => ({
      height: 300,
      marginLeft: 50,
      color: { domain: Object.keys(sides), range: [SERIES[1], SERIES[0]], legend: true },
      x: { label: 'token' },
      y: { type: 'log', label: 'error, %', grid: true, tickFormat: (d: number) => `${d}`, ticks: 5 },
      marks: [
        Plot.line(dots, { x: 'token', y: 'error', stroke: 'side', strokeOpacity: 0.35 }),
        Plot.dot(dots, {
          x: 'token',
          y: 'error',
          fill: 'side',
          r: 4,
          title: d => `“${d.word}” ${number(d.error)} %`,
        }),
      ],
    }),
  );
}
