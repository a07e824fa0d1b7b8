/** Eight values on their way through the stages of the fast transform: as a network and as bars. */
import { ops } from 'quamba';
import { byId } from '../dom.ts';
import { shapeOf } from '../measures.ts';
import { number } from '../numbers.ts';
import { colour, draw, Plot, SERIES } from '../plots.ts';

/** All entries but the large one. */
const REST = [0.5, -1, 0.75, 1, -0.5, 0.25, -0.75, 1];
const STEPS = ['x', '1 apart', '2 apart', '4 apart', '÷ √8'];
const STRIDES = [1, 2, 4];

/** The values before each step and after the last one. The last are the bits of ops.fwht: the order is the same. */
function stagesOf(x: Float32Array): readonly Float32Array[] {
  const stages = [x];
  for (const stride of STRIDES) {
    const before = stages.at(-1)!;
    stages.push(
      before.map((value, i) => (i & stride ? before[i - stride] - value : value + before[i + stride])),
    );
  }
  const norm = Math.fround(1 / Math.sqrt(8));
  return [...stages, stages.at(-1)!.map(value => value * norm)];
}

interface Link {
  readonly from: readonly [step: number, i: number];
  readonly to: readonly [step: number, i: number];
  readonly minus: boolean;
}

const LINKS: readonly Link[] = STEPS.slice(1).flatMap((_, step) =>
  REST.flatMap((_, i) => {
    const stride = STRIDES[step];
    const straight = {
      from: [step, i],
      to: [step + 1, i],
      minus: stride !== undefined && (i & stride) > 0,
    } as const;
    if (stride === undefined) return [straight];
    return [straight, { from: [step, i], to: [step + 1, i ^ stride], minus: false } as const];
  }),
);

export function drawButterflies(large: number, place: number, steps: number): void {
  const x = Float32Array.from(REST, (value, i) => (i === place ? large : value));
  const stages = stagesOf(x).slice(0, steps + 1);
  const nodes = stages.flatMap((values, step) => [...values].map((value, i) => ({ step, i, value })));
  const links = LINKS.filter(({ to: [step] }) => step <= steps);
  draw(
    byId('network'),
    {
      alt: `Network of butterflies. After ${steps} of 4 steps the values are ${[...stages.at(-1)!].map(v => number(v)).join(', ')}.`,
      caption: 'Stages from left to right. A disc is as large as its value; dashed lines enter with a minus.',
    },
    width => ({
      height: 320,
      marginLeft: 28,
      marginRight: 56,
      marginTop: 34,
      x: { domain: [0, 4], ticks: [0, 1, 2, 3, 4], tickFormat: i => STEPS[i], axis: 'top', label: null },
      y: { domain: [7, 0], insetTop: 14, ticks: 8, label: 'entry', tickSize: 0 },
      r: { domain: [0, 64], range: [0, Math.min(20, width / 24)], type: 'sqrt' },
      marks: [
        ...[false, true].map(minus =>
          Plot.link(
            links.filter(link => link.minus === minus),
            {
              x1: d => d.from[0],
              y1: d => d.from[1],
              x2: d => d.to[0],
              y2: d => d.to[1],
              stroke: colour('quiet'),
              strokeOpacity: 0.55,
              strokeDasharray: minus ? '4 4' : 'none',
            },
          ),
        ),
        Plot.dot(nodes, {
          x: 'step',
          y: 'i',
          r: d => Math.abs(d.value),
          fill: d => (d.value < 0 ? SERIES[0] : SERIES[1]),
          fillOpacity: 0.75,
        }),
        Plot.text(nodes, {
          x: 'step',
          y: 'i',
          text: d => number(d.value, 3),
          dx: 12,
          textAnchor: 'start',
          stroke: colour('raised'),
          strokeWidth: 4,
          fill: colour('ink'),
        }),
      ],
    }),
  );

  const turned = ops.fwht({ x }).y.data;
  const bars = Object.entries({ x: x, 'Q x': turned }).flatMap(([side, values]) =>
    [...values].map((value, i) => ({ side, i, value })),
  );
  draw(
    byId('bars'),
    {
      alt: `Bars of the eight values before the transform, the largest ${number(shapeOf(x).max)}, and after it, the largest ${number(shapeOf(turned).max)}.`,
      caption: 'Before and after, by ops.fwht. The lines are the ends of the int8 grid, ± the largest value.',
    },
    () => ({
      height: 320,
      marginLeft: 44,
      x: { label: 'entry', tickSize: 0 },
      fx: { label: null, domain: ['x', 'Q x'] },
      y: { label: 'value', grid: true, nice: true },
      marks: [
        Plot.barY(bars, { x: 'i', y: 'value', fx: 'side', fill: d => (d.value < 0 ? SERIES[0] : SERIES[1]) }),
        Plot.ruleY(
          [x, turned].flatMap((values, i) =>
            [-1, 1].map(sign => ({ side: ['x', 'Q x'][i], y: sign * shapeOf(values).max })),
          ),
          { fx: 'side', y: 'y', stroke: colour('bad'), strokeDasharray: '5 4' },
        ),
        Plot.ruleY([0]),
      ],
    }),
  );

  const [before, after] = [shapeOf(x), shapeOf(turned)];
  const same = stagesOf(x)[4].every((value, i) => Object.is(value, turned[i]));
  byId('spread-said').textContent =
    `The largest |value| goes from ${number(before.max)} to ${number(after.max)}, so that an int8 step goes from ${number(before.max / 127)} to ${number(after.max / 127)}. ` +
    `The length stays: ${number(before.rms * Math.sqrt(8), 4)} before, ${number(after.rms * Math.sqrt(8), 4)} after. ` +
    (same
      ? 'These steps have the same bits as ops.fwht.'
      : 'These steps differ from ops.fwht: a fault of this page.');
}
