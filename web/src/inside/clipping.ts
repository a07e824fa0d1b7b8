/** The scan's input with the range of two recipes: from its largest value, and from a percentile. */
import { MODEL } from '../chosen-model.ts';
import { byId } from '../dom.ts';
import { bars, countAxis } from '../histograms.ts';
import type { RemoteLab } from '../lab/open.ts';
import { decibels, number, percent } from '../numbers.ts';
import { colour, draw, Plot } from '../plots.ts';
import { newTable } from '../table.ts';
import { sitesOf } from './words.ts';

const COLOURS = ['series-2', 'series-3'];

export async function showClipping(lab: RemoteLab, layer: number): Promise<void> {
  const { all, absmax, recipes } = await lab.clipping(layer);
  const { symbol } = sitesOf(MODEL.modelType).scanIn!;
  const tightest = Math.min(...recipes.map(({ range }) => range));
  const lines = recipes.flatMap(({ recipe, range }, i) =>
    [-range, range].map(x => ({ x, recipe, stroke: colour(COLOURS[i]) })),
  );
  draw(
    byId('clipping'),
    {
      alt: `Histogram of ${symbol} in layer ${layer}, up to ${number(absmax)}. ${recipes.map(({ recipe, range }) => `The range of ${recipe} ends at ${number(range)}`).join('; ')}`,
      caption: `${symbol} in layer ${layer} on this text. Dashed: ± the range of ${recipes.map(({ recipe }) => recipe).join(' and of ')}, from the calibration text. ${absmax > tightest ? 'Red: clipped by quamba.' : 'Quamba gives up about one value in 100 000; this text has none of them.'}`,
    },
    () => ({
      height: 260,
      marginLeft: 56,
      marginTop: 34,
      marginBottom: 40,
      x: { label: symbol, domain: [all.from, all.to] },
      y: countAxis(all),
      marks: [
        bars(all, { isOutside: (from, to) => from >= tightest || to <= -tightest }),
        Plot.ruleY([0]),
        Plot.ruleX(lines, { x: 'x', stroke: 'stroke', strokeWidth: 2, strokeDasharray: '5 3' }),
        ...recipes.map(({ recipe, range }, i) =>
          Plot.text([recipe], {
            x: range,
            frameAnchor: 'top',
            dy: i === 0 ? -26 : -12,
            textAnchor: 'end',
            fill: colour(COLOURS[i]),
            text: () => `${recipe} ▸`,
          }),
        ),
      ],
    }),
  );
  byId('clipping-numbers').replaceChildren(
    newTable(`${symbol} in layer ${layer}`, [
      ['recipe', 'range', 'step', 'clipped', 'to 0', 'signal to noise'],
      ...recipes.map(({ recipe, range, rounding }) => [
        recipe,
        number(range),
        number(rounding.scales[1]),
        percent(rounding.clipped),
        percent(rounding.zeros),
        decibels(rounding.snr),
      ]),
    ]),
  );
}
