/** The picture of a block: boxes at their places, arrows from the model's graph, a real button for each site. */
import type { Site } from 'quamba';
import { element } from '../dom.ts';
import { type BlockGraph, blockGraph } from './block-graph.ts';
import { LAYOUTS, type Layout, type Place, WIDTH } from './block-places.ts';
import { actionAt, inWords, MARKS, type Mark, marksOf, sitesOf, weightsAt } from './words.ts';

export interface BlockPicture {
  /** Marks what a recipe does at each site, and which site is looked at. */
  show(recipe: string, site: Site): void;
}

/** Of a block of a family. */
export function drawBlock(
  figure: HTMLElement,
  modelType: string,
  onChoose: (site: Site) => void,
): BlockPicture {
  const layout = LAYOUTS[modelType];
  const words = sitesOf(modelType);
  // in the order of the picture, so that the keyboard goes through it from top to bottom
  const sites = Object.keys(layout.places).filter(name => layout.places[name].label.length === 0) as Site[];
  const buttons = new Map(sites.map(site => [site, siteButton(layout, site, onChoose)] as const));
  const graph = blockGraph(modelType);
  const legend = element('figcaption');
  const picture = element('div', { className: 'block-picture' });
  let drawn = drawing(layout, graph, 'fp32');
  picture.append(drawn, ...buttons.values());
  figure.classList.add('figure');
  figure.replaceChildren(picture, legend);
  return {
    show(recipe, chosen) {
      const anew = drawing(layout, graph, recipe);
      drawn.replaceWith(anew); // the buttons stay, and keep the focus
      drawn = anew;
      const used = new Set<Mark>();
      for (const [site, button] of buttons) {
        const action = actionAt(recipe, site);
        const marks = marksOf(action);
        for (const mark of marks) used.add(mark);
        const { symbol, about } = words[site]!;
        button.textContent = symbol;
        button.dataset.marks = marks.join('');
        button.className = `site ${action.quantize ? 'int8' : 'float'}`;
        button.setAttribute('aria-pressed', `${site === chosen}`);
        button.setAttribute('aria-label', `${symbol}, ${about}: ${inWords(action)}`);
      }
      const marks = [...used].map(mark => `${mark}: ${MARKS[mark]}`).join('. ');
      legend.textContent = marks || 'No site is changed but for its rounding.';
      figure.dataset.rendered = 'true';
    },
  };
}

function siteButton(
  { places, height }: Layout,
  site: Site,
  onChoose: (site: Site) => void,
): HTMLButtonElement {
  const { x, y } = places[site];
  const button = element('button', { type: 'button' });
  button.style.left = `${(100 * x) / WIDTH}%`;
  button.style.top = `${(100 * y) / height}%`;
  button.addEventListener('click', () => onChoose(site));
  return button;
}

function drawing(layout: Layout, { arrows, roles }: BlockGraph, recipe: string): SVGSVGElement {
  const { places, states, height, about } = layout;
  const rotates = actionAt(recipe, 'scanOut').basis === 'hadamard';
  const drawn = rotates
    ? arrows.flatMap(arrow =>
        arrow.to === 'scanOut'
          ? [
              { from: arrow.from, to: 'rotation' },
              { from: 'rotation', to: 'scanOut' },
            ]
          : arrow,
      )
    : arrows;
  const boxes = Object.entries(places).filter(
    ([name, { label }]) => label.length > 0 && (rotates || name !== 'rotation'),
  );
  const svg = node('svg', { viewBox: `0 0 ${WIDTH} ${height}`, role: 'img' });
  svg.setAttribute(
    'aria-label',
    `${about}; ${rotates ? 'a Hadamard rotation; ' : ''}out_proj; and the sum with the residual stream`,
  );
  const tip = node('marker', {
    id: 'tip',
    viewBox: '0 0 8 8',
    refX: 7,
    refY: 4,
    markerWidth: 7,
    markerHeight: 7,
    orient: 'auto-start-reverse',
  });
  tip.append(node('path', { d: 'M0 0 L8 4 L0 8 Z', class: 'tip' }));
  svg.append(
    tip,
    ...drawn.map(({ from, to }) =>
      node('path', { class: 'arrow', d: pathOf(places, from, to), 'marker-end': 'url(#tip)' }),
    ),
    ...boxes.flatMap(([name, place]) =>
      boxOf(place, name === 'rotation' ? 'box added' : 'box', weightsAt(recipe, roles.get(name))),
    ),
    ...states.flatMap(state => stateOf(places[state.of], state)),
    textAt(16, places.headIn.y + 5, 'after the last layer: norm_f →', 'note', 'start'),
    textAt(318, places.headIn.y + 5, '→ head', 'note', 'start'),
  );
  return svg;
}

/** The narrower of two parts says where the arrow between them runs. The residual stream has a lane of its own. */
function pathOf(places: Layout['places'], from: string, to: string): string {
  const [a, b] = [places[from], places[to]];
  if (from === 'input' && to === 'h')
    return `M${a.x - a.width / 2} ${a.y} H12 V${b.y} H${b.x - b.width / 2 - 1}`;
  const within = (x: number, { x: middle, width }: Place) =>
    Math.min(Math.max(x, middle - width / 2 + 8), middle + width / 2 - 8);
  const x0 = a.width <= b.width ? a.x : within(b.x, a);
  const x1 = a.width <= b.width ? within(a.x, b) : b.x;
  const [y0, y1] = [a.y + a.height / 2, b.y - b.height / 2 - 1];
  return x0 === x1 ? `M${x0} ${y0} V${y1}` : `M${x0} ${y0} V${(y0 + y1) / 2} H${x1} V${y1}`;
}

const boxOf = (
  { x, y, width, height, label: [first, ...rest] }: Place,
  name: string,
  weights: string | undefined,
): SVGElement[] => [
  node('rect', { x: x - width / 2, y: y - height / 2, width, height, rx: 5, class: name }),
  textAt(x, y + 4.5 - 9 * rest.length, weights ? `${first} · ${weights}` : first, 'label'),
  ...rest.map((line, i) => textAt(x, y + 4.5 + 9 * (2 * i + 1), line, 'formula')),
];

function stateOf(owner: Place, { x, y, label }: Layout['states'][number]): SVGElement[] {
  const d =
    owner.y === y
      ? `M${owner.x + owner.width / 2 + 1} ${y} H${x - 43}`
      : `M${x} ${owner.y + owner.height / 2 + 1} V${y - 13}`;
  return [
    node('path', { class: 'arrow', d, 'marker-start': 'url(#tip)', 'marker-end': 'url(#tip)' }),
    node('rect', { x: x - 42, y: y - 12, width: 84, height: 24, rx: 12, class: 'state' }),
    textAt(x, y + 4, label, 'note'),
  ];
}

function textAt(x: number, y: number, content: string, name: string, anchor = 'middle'): SVGElement {
  const text = node('text', { x, y, class: name, 'text-anchor': anchor });
  text.textContent = content;
  return text;
}

function node<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Readonly<Record<string, string | number>>,
): SVGElementTagNameMap[K] {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, `${value}`);
  return made;
}
