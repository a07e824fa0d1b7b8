/** The error of the residual stream from layer to layer, a line for each chosen recipe. */
import type { LayerError } from 'lib/eval/layer-error.ts';
import { MODEL } from '../chosen-model.ts';
import { byId, element } from '../dom.ts';
import type { RemoteLab } from '../lab/open.ts';
import { RECIPES } from '../model.ts';
import { latest } from '../pace.ts';
import { draw, Plot, SERIES } from '../plots.ts';

const CHOSEN = ['naive-static', 'percentile-only', 'hadamard-only', MODEL.recipes[0]];
/** fp32 is what the others are measured against. */
const OFFERED = [...CHOSEN, ...MODEL.recipes.filter(name => name !== 'fp32' && !CHOSEN.includes(name))];
const strokeOf = (recipe: string): string => SERIES[OFFERED.indexOf(recipe) % SERIES.length];
const DASHES = ['', '6 3', '2 3'];
const dashOf = (recipe: string): string => DASHES[Math.floor(OFFERED.indexOf(recipe) / SERIES.length)];

export interface LayersSection {
  /** The text is another one: everything is measured anew. */
  textChanged(): void;
}

export function layersSection(lab: RemoteLab, fail: (error: unknown) => void): LayersSection {
  const measured = new Map<string, readonly LayerError[]>();
  const boxes = OFFERED.map(recipe => ({
    recipe,
    box: element('input', { type: 'checkbox', checked: CHOSEN.includes(recipe) }),
  }));
  byId('layers-recipes').append(...boxes.map(({ recipe, box }) => choice(recipe, box)));
  const chosen = () => boxes.flatMap(({ recipe, box }) => (box.checked ? recipe : []));
  const say = (text: string) => {
    byId('layers-status').textContent = text;
  };

  let text = 0;
  const measure = latest<void>(async () => {
    for (;;) {
      const missing = chosen().filter(recipe => !measured.has(recipe));
      drawLines(
        new Map(chosen().flatMap(recipe => (measured.has(recipe) ? [[recipe, measured.get(recipe)!]] : []))),
      );
      if (missing.length === 0) return say('');
      const [recipe] = missing;
      say(`Measuring ${recipe}, ${chosen().length - missing.length + 1} of ${chosen().length} …`);
      const asked = text;
      try {
        const errors = await lab.layers(recipe);
        if (asked === text) measured.set(recipe, errors);
      } catch (error) {
        boxes.find(each => each.recipe === recipe)!.box.checked = false; // and on with the others
        fail(error);
      }
    }
  }, fail);
  for (const { box } of boxes) box.addEventListener('change', () => measure());
  return {
    textChanged() {
      text++;
      measured.clear();
      measure();
    },
  };
}

function choice(recipe: string, box: HTMLInputElement): HTMLElement {
  const swatch = element('span', { className: 'swatch' });
  swatch.innerHTML = `<svg width="28" height="8" aria-hidden="true"><line x1="0" x2="28" y1="4" y2="4" stroke="${strokeOf(recipe)}" stroke-width="3" stroke-dasharray="${dashOf(recipe)}"/></svg>`;
  return element('label', { title: RECIPES[recipe] }, box, swatch, recipe);
}

function drawLines(lines: ReadonlyMap<string, readonly LayerError[]>): void {
  if (lines.size === 0) return;
  const last = [...lines].map(([recipe, layers]) => `${recipe} ${percentOf(layers.at(-1)!)}`);
  draw(
    byId('layers'),
    {
      alt: `Relative error of the residual stream after each layer. After the last: ${last.join(', ')}`,
      caption: `After the last layer: ${last.join(', ')}.`,
    },
    () => ({
      height: 320,
      marginLeft: 56,
      marginBottom: 40,
      x: { label: 'layer', ticks: [...lines.values()][0].map(({ layer }) => layer), tickFormat: 'd' },
      y: { label: 'relative error (log scale)', type: 'log', grid: true, tickFormat: '~%', ticks: 5 },
      marks: [...lines].flatMap(([recipe, layers]) => [
        Plot.lineY(layers, {
          x: 'layer',
          y: 'relative',
          stroke: strokeOf(recipe),
          strokeWidth: 2.5,
          strokeDasharray: dashOf(recipe),
        }),
        Plot.dot(layers, {
          x: 'layer',
          y: 'relative',
          r: 3,
          fill: strokeOf(recipe),
          title: ({ layer, relative }: LayerError) => `${recipe}, layer ${layer}: ${percentOf({ relative })}`,
        }),
      ]),
    }),
  );
}

const percentOf = ({ relative }: Pick<LayerError, 'relative'>): string => `${(100 * relative).toFixed(1)} %`;
