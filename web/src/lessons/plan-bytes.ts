/** What one token moves in a block: the constants that it reads, and the values that go from kernel to kernel. */

import { byId } from '../dom.ts';
import { number } from '../numbers.ts';
import { draw, Plot, SERIES } from '../plots.ts';
import type { BlockPlan, PlanRow } from './sample.ts';

interface Bytes {
  readonly f32: number;
  readonly i8: number;
}
type Kind = keyof Bytes;
const KINDS: readonly Kind[] = ['i8', 'f32'];
const WIDTH = { f32: 4, i8: 1 } as const;

const total = (parts: readonly { readonly kind: Kind; readonly count: number }[]): Bytes => {
  const of = (kind: Kind) =>
    parts.reduce((sum, part) => sum + (part.kind === kind ? WIDTH[kind] * part.count : 0), 0);
  return { f32: of('f32'), i8: of('i8') };
};

export function constantBytes({ rows }: BlockPlan): Bytes {
  const shapes = new Map(rows.flatMap(row => Object.entries(row.constants)));
  return total(
    [...shapes].map(([name, shape]) => ({
      kind: name.endsWith('.i8') ? 'i8' : 'f32',
      count: shape.reduce((a, b) => a * b, 1),
    })),
  );
}

/** Of one token: what a kernel makes and another one reads. A slice is a view, and what reads constants only is made once. */
export function valueBytes({ rows }: BlockPlan): Bytes {
  const kernelOf = (row: PlanRow, i: number) => (row.fused ? `fused ${row.fused.node}` : `row ${i}`);
  const leaves = rows.filter((row, i) => {
    const others = rows.filter((other, k) => kernelOf(other, k) !== kernelOf(row, i));
    const isRead = others.some(other => Object.values(other.inputs).includes(row.value));
    return (isRead || row.value === 'h') && row.op !== 'slice' && /\[l, /.test(row.type);
  });
  return total(
    leaves.map(({ type }) => {
      const [, kind, count] = /^(f32|i8)\[l, (\d+)\]$/.exec(type)!;
      return { kind: kind as Kind, count: Number(count) };
    }),
  );
}

export function drawBytes(
  id: string,
  caption: string,
  plans: Readonly<Record<string, BlockPlan>>,
  bytesOf: (plan: BlockPlan) => Bytes,
): void {
  const bytes = Object.entries(plans).map(([recipe, plan]) => ({ recipe, ...bytesOf(plan) }));
  const bars = bytes.flatMap(row => KINDS.map(kind => ({ recipe: row.recipe, kind, kB: row[kind] / 1000 })));
  const sums = bytes.map(({ recipe, f32, i8 }) => ({ recipe, kB: (f32 + i8) / 1000 }));
  const most = Math.max(...sums.map(({ kB }) => kB));
  draw(
    byId(id),
    { alt: `${caption} ${sums.map(({ recipe, kB }) => `${recipe}: ${number(kB)} kB`).join(', ')}.`, caption },
    width => ({
      height: 190,
      marginLeft: 90,
      marginRight: 60,
      color: { domain: [...KINDS], range: [SERIES[0], SERIES[1]], legend: true },
      x: { label: 'kB', grid: true, ticks: width < 500 ? 3 : 5, domain: [0, most] },
      y: { label: null, domain: Object.keys(plans), tickSize: 0 },
      marks: [
        Plot.barX(bars, { x: 'kB', y: 'recipe', fill: 'kind', order: [...KINDS] }),
        Plot.text(sums, {
          x: 'kB',
          y: 'recipe',
          text: d => `${number(d.kB)} kB`,
          textAnchor: 'start',
          dx: 5,
        }),
        Plot.ruleX([0]),
      ],
    }),
  );
}
