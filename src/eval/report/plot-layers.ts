/** How the error grows from layer to layer, a line for each recipe. */
import type { LayerErrors } from '../layer-error.ts';
import { type Box, xAxis, yAxis } from './axes.ts';
import { linear, places, spread } from './scale.ts';
import { curve, line, marker, type Plot, type Point, text, WIDTH } from './svg.ts';
import { number } from './words.ts';

const DASHES = [undefined, '7 3', '2 3', '9 3 2 3'];

export function layersPlot({ recipes, tokens }: LayerErrors): Plot | undefined {
  const shown = recipes.filter(({ layers }) => layers.length > 0 && layers.every(({ snr }) => snr !== null));
  if (shown.length === 0) return undefined;
  const height = Math.max(400, 110 + 17 * shown.length);
  const box: Box = { left: 48, top: 78, right: WIDTH - 172, bottom: height - 48 };
  const values = shown.flatMap(({ layers }) => layers.map(({ snr }) => snr!));
  const y = linear(values, [box.bottom, box.top]);
  const x = places(shown[0].layers.length, [box.left + 8, box.right - 8], 16);
  const ends = shown.map(({ layers }) => y(layers.at(-1)!.snr!));
  const labels = spread(ends, 15, box.top, box.bottom);
  const words = shown.map(
    ({ recipe, layers }) =>
      `${recipe} from ${layers[0].snr!.toFixed(1)} to ${layers.at(-1)!.snr!.toFixed(1)} dB`,
  );
  return {
    id: 'layer-error',
    title: 'Error of the residual stream after each layer',
    subtitle: `Signal to noise against the float model, over ${tokens.toLocaleString('en-US')} tokens. Up is better; 6 dB is half the error.`,
    description: `Signal to noise from the first to the last layer: ${words.join('; ')}.`,
    height,
    body: [
      xAxis(box, x, 'layer', String),
      yAxis(box, y, 'SNR, dB', String),
      ...shown.map(({ recipe, layers }, i) =>
        curve(
          layers.map(({ layer, snr }): Point => [x(layer), y(snr!)]),
          { colour: i % 8, kind: i, dash: DASHES[Math.floor(i / 8) % DASHES.length] },
          k =>
            `${recipe}, layer ${k}: ${layers[k].snr!.toFixed(1)} dB, relative error ${number(layers[k].relative)}`,
        ),
      ),
      ...shown.flatMap(({ recipe }, i) => [
        line(box.right - 2, ends[i], box.right + 14, labels[i], { class: 'lead' }),
        marker(i, [box.right + 21, labels[i]], 3.6, i % 8),
        text(box.right + 30, labels[i] + 4, recipe),
      ]),
    ],
  };
}
