/** An int8 linear of three inputs and two outputs, with every number that occurs. */
import { ops } from 'quamba';
import { byId } from '../dom.ts';
import { number } from '../numbers.ts';
import { colour, draw, Plot, SERIES } from '../plots.ts';
import { fillTable } from '../table.ts';

const W = { dtype: 'f32', shape: [2, 3], data: Float32Array.of(0.9, -0.4, 0.25, -0.15, 0.6, 0.75) } as const;
const REST = [-0.62, 1.07];

export interface Choice {
  readonly x0: number;
  readonly range: number;
  /** 8, or fewer to see the steps: the grid has then 2^(bits − 1) − 1 steps on each side. */
  readonly bits: number;
}

/** A row for each x₀. */
function computed(x0s: readonly number[], { range, bits }: Choice) {
  const most = 2 ** (bits - 1) - 1;
  const x = {
    dtype: 'f32',
    shape: [x0s.length, 3],
    data: Float32Array.from(x0s.flatMap(x0 => [x0, ...REST])),
  } as const;
  const xscale = Float32Array.of(range / most);
  const wscale = ops.absmaxScale({ x: { ...W, shape: [1, 6] } }).scale;
  const { q } = ops.quantize({ x, scale: xscale });
  const qx = { ...q, data: q.data.map(v => Math.max(-most - 1, Math.min(v, most))) };
  const qw = ops.quantize({ x: W, scale: wscale }).q;
  const { y } = ops.linearI8({ x: qx, xscale, w: qw, wscale: { ...wscale, shape: [1, 1] } });
  return { x, xscale: xscale[0], wscale: wscale.data[0], qx, qw, y, exact: ops.linear({ x, w: W }).y };
}

export function showLinear(choice: Choice): void {
  const { x, xscale, wscale, qx, qw, y, exact } = computed([choice.x0], choice);
  const row = (data: ArrayLike<number>, from = 0) => [0, 1, 2].map(i => number(data[from + i]));
  const products = (o: number) => [0, 1, 2].map(i => qx.data[i] * qw.data[3 * o + i]);
  const sums = [0, 1].map(o => products(o).reduce((a, b) => a + b));
  fillTable(byId('steps'), [
    ['', 'i = 0', 'i = 1', 'i = 2', 'sum, int32', '× s_x s_w = y', 'in float32'],
    ['x', ...row(x.data), '', '', ''],
    [`q of x, step ${number(xscale)}`, ...row(qx.data), '', '', ''],
    [`q of W, output 0, step ${number(wscale)}`, ...row(qw.data), '', '', ''],
    [
      'products, output 0',
      ...row(products(0)),
      number(sums[0], 6),
      number(y.data[0], 4),
      number(exact.data[0], 4),
    ],
    ['q of W, output 1', ...row(qw.data, 3), '', '', ''],
    [
      'products, output 1',
      ...row(products(1)),
      number(sums[1], 6),
      number(y.data[1], 4),
      number(exact.data[1], 4),
    ],
  ]);
  const beyond = Math.abs(choice.x0) > choice.range || REST.some(v => Math.abs(v) > choice.range);
  byId('sum').textContent =
    `s_x · s_w = ${number(xscale)} · ${number(wscale)} = ${number(xscale * wscale)}. Output 0 is ${number(sums[0], 6)} times that: ${number(y.data[0], 4)}; the float product is ${number(exact.data[0], 4)}.` +
    (beyond ? ' An input lies beyond the range and is cut off.' : '');
  drawStaircase(choice, exact.data[0], y.data[0]);
}

function drawStaircase(choice: Choice, exact: number, integer: number): void {
  const names = ['float32', 'integers'];
  const x0s = Array.from({ length: 401 }, (_, i) => -2 + i / 100);
  const all = computed(x0s, choice);
  const points = [all.exact, all.y].flatMap(({ data }, k) =>
    x0s.map((x0, i) => ({ x0, y: data[2 * i], name: names[k] })),
  );
  draw(
    byId('staircase'),
    {
      alt: `Output 0 against x₀: a line in float32, a staircase in integers with steps of ${number(choice.range / (2 ** (choice.bits - 1) - 1))} in x₀, flat beyond ±${choice.range}.`,
      caption:
        'Output 0 while x₀ moves: the float line, and what the integers make of it. Beyond the range the clamp holds it.',
    },
    () => ({
      height: 280,
      marginLeft: 46,
      color: { domain: names, range: [SERIES[1], SERIES[0]], legend: true },
      x: { label: 'x₀', domain: [-2, 2] },
      y: { label: 'y₀', grid: true },
      marks: [
        Plot.ruleX([choice.x0], { stroke: colour('quiet'), strokeDasharray: '4 3' }),
        Plot.line(points, { x: 'x0', y: 'y', stroke: 'name', strokeWidth: 2 }),
        Plot.dot(
          [exact, integer].map((y, i) => ({ y, name: names[i] })),
          { x: choice.x0, y: 'y', fill: 'name', r: 4.5 },
        ),
      ],
    }),
  );
}
