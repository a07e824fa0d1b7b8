/** How the error grows from layer to layer, a line for each recipe. */
import type { LayerErrors } from '../layer-error.ts';
import { type Box, heading, xAxis, yAxis } from './axes.ts';
import { linear, type Scale, spread } from './scale.ts';
import { line, marker, type Plot, type Point, path, text, tip } from './svg.ts';
import { number } from './words.ts';

const WIDTH = 760;
const DASHES = [undefined, '7 3', '2 3', '9 3 2 3'];

export function layersPlot({ recipes, tokens }: LayerErrors): Plot | undefined {
  const shown = recipes.filter(({ layers }) => layers.length > 0 && layers.every(({ snr }) => snr !== null));
  if (shown.length === 0) return undefined;
  const height = Math.max(400, 110 + 17 * shown.length);
  const box: Box = { left: 48, top: 78, right: WIDTH - 172, bottom: height - 48 };
  const count = shown[0].layers.length;
  const y = linear(
    shown.flatMap(({ layers }) => layers.map(({ snr }) => snr!)),
    [box.bottom, box.top],
  );
  const every = Math.ceil(count / 16);
  const x: Scale = Object.assign(
    (layer: number) => box.left + 8 + ((box.right - box.left - 16) * layer) / Math.max(count - 1, 1),
    {
      ticks: Array.from({ length: Math.ceil(count / every) }, (_, i) => i * every),
      domain: [0, count - 1] as const,
    },
  );
  const ends = shown.map(({ layers }) => y(layers.at(-1)!.snr!));
  const labels = spread(ends, 15, box.top, box.bottom);
  const body = [
    heading(
      'Error of the residual stream after each layer',
      `Signal to noise against the float model, over ${tokens.toLocaleString('en-US')} tokens. Up is better; 6 dB is half the error.`,
    ),
    xAxis(box, x, { title: 'layer', format: layer => `${layer}` }),
    yAxis(box, y, { title: 'SNR, dB', format: snr => `${snr}` }),
    ...shown.map(({ recipe, layers }, i) => {
      const colour = i % 8;
      const points = layers.map(({ layer, snr }): Point => [x(layer), y(snr!)]);
      return [
        path(points, {
          class: `s${colour} curve`,
          'stroke-dasharray': DASHES[Math.floor(i / 8) % DASHES.length],
        }),
        ...points.map((point, k) =>
          marker(
            i,
            point,
            3.2,
            { class: `f${colour}` },
            tip(
              `${recipe}, layer ${k}: ${layers[k].snr!.toFixed(1)} dB, relative error ${number(layers[k].relative)}`,
            ),
          ),
        ),
      ].join('');
    }),
    ...shown.map(({ recipe }, i) => {
      const colour = i % 8;
      return [
        line(box.right - 2, ends[i], box.right + 14, labels[i], { class: 'lead' }),
        marker(i, [box.right + 21, labels[i]], 3.6, { class: `f${colour}` }),
        text(box.right + 30, labels[i] + 4, recipe),
      ].join('');
    }),
  ].join('');
  const words = shown.map(
    ({ recipe, layers }) =>
      `${recipe} from ${layers[0].snr!.toFixed(1)} to ${layers.at(-1)!.snr!.toFixed(1)} dB`,
  );
  return {
    id: 'layer-error',
    title: 'Error of the residual stream after each layer',
    description: `Signal to noise from the first to the last layer: ${words.join('; ')}.`,
    ...{ width: WIDTH, height, body },
  };
}
