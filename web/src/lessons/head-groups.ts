/** The heads of a block as boxes, and which of them share B and C. */
import { byId } from '../dom.ts';
import { draw, Plot, SERIES } from '../plots.ts';

export interface Layout {
  readonly heads: number;
  readonly headDim: number;
  readonly stateSize: number;
}

/** Head i reads group ⌊i·g/h⌋ of B and C, as the op says. */
export const groupOf = (head: number, groups: number, heads: number): number =>
  Math.floor((head * groups) / heads);

export function drawGroups({ heads, headDim, stateSize }: Layout, groups: number, chosen: number): void {
  const each = heads / groups;
  const boxes = Array.from({ length: heads }, (_, head) => ({ head, group: groupOf(head, groups, heads) }));
  const shared = Array.from({ length: groups }, (_, group) => ({ group, from: group * each }));
  const fill = ({ group }: { readonly group: number }) => SERIES[group % SERIES.length];
  const count = groups === 1 ? 'one B and one C for all' : `${groups} groups, each with a B and a C`;
  draw(
    byId('groups'),
    {
      alt: `${heads} heads side by side, each with ${headDim} channels by ${stateSize} states and one decay; ${count}, shared by ${each} heads. Head ${chosen} is marked.`,
      caption: `A column is a head: one decay a, ${headDim} channels, each with ${stateSize} numbers of state. Below: ${count}, of ${stateSize} numbers each. This model has one group, Mamba-Codestral 7B eight.`,
    },
    width => ({
      height: 190,
      marginLeft: 8,
      marginRight: 8,
      marginTop: 8,
      marginBottom: 4,
      x: { domain: [0, heads], axis: null },
      y: { domain: [0, 10], axis: null },
      marks: [
        Plot.rect(boxes, {
          ...{ x1: d => d.head + 0.08, x2: d => d.head + 0.92, y1: 3.2, y2: 8.4 },
          ...{ fill, fillOpacity: 0.25, stroke: fill, strokeWidth: d => (d.head === chosen ? 3 : 1) },
        }),
        Plot.text(boxes, { x: d => d.head + 0.5, y: 9.2, text: d => `a${subscript(d.head)}` }),
        Plot.text(boxes, { x: d => d.head + 0.5, y: 6.4, text: d => `${d.head}`, fontWeight: 600 }),
        ...(width > 600
          ? [Plot.text(boxes, { x: d => d.head + 0.5, y: 5, text: () => `${headDim} × ${stateSize}` })]
          : []),
        Plot.rect(shared, {
          ...{ x1: d => d.from + 0.08, x2: d => d.from + each - 0.08, y1: 0.2, y2: 2.4 },
          ...{ fill, fillOpacity: 0.25, stroke: fill },
        }),
        Plot.text(shared, {
          x: d => d.from + each / 2,
          y: 1.3,
          text: ({ group }) =>
            width / groups > 55 ? `B${subscript(group)}, C${subscript(group)}` : `${group}`,
        }),
      ],
    }),
  );
}

const subscript = (n: number): string => [...`${n}`].map(digit => '₀₁₂₃₄₅₆₇₈₉'[Number(digit)]).join('');
