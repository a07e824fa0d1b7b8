/** One site: its values in this layer and text, and the integers that a recipe has for them. */
import type { Site } from 'quamba';
import { MODEL } from '../chosen-model.ts';
import { byId } from '../dom.ts';
import { bars, countAxis } from '../histograms.ts';
import type { RemoteLab } from '../lab/open.ts';
import type { SiteView } from '../lab/protocol.ts';
import type { Rounding } from '../measures.ts';
import { decibels, number, percent, signed } from '../numbers.ts';
import { colour, draw, Plot } from '../plots.ts';
import { newTable } from '../table.ts';
import { actionAt, inWords, sitesOf } from './words.ts';

export interface SiteQuestion {
  readonly recipe: string;
  readonly layer: number;
  readonly site: Site;
}

/** Every so many integers have a line in the figure of all values. */
const EVERY = 16;

export async function showSite(lab: RemoteLab, { recipe, layer, site }: SiteQuestion): Promise<void> {
  const panel = byId('site');
  panel.setAttribute('aria-busy', 'true');
  const view = await lab.site(recipe, layer, site).finally(() => panel.removeAttribute('aria-busy'));
  const { symbol, about } = sitesOf(MODEL.modelType)[site]!;
  const where = site === 'headIn' ? 'after the last layer' : `layer ${layer}`;
  byId('site-title').textContent = `${symbol}, ${where}`;
  const basis = view.basis ? ' The numbers and figures are those of the values in that basis.' : '';
  byId('site-about').textContent =
    `This is ${about}. In ${recipe}: ${inWords(actionAt(recipe, site))}.${basis}`;
  byId('site-numbers').replaceChildren(numbersOf(view));
  drawAll(view, symbol);
  drawNear(view, symbol);
}

function numbersOf({ tokens, channels, shape, rounding }: SiteView): HTMLElement {
  const rows = [
    ['number', 'value'],
    ['tokens × channels', `${tokens} × ${channels}`],
    ['largest |x|', number(shape.max)],
    ['root mean square', number(shape.rms)],
    ['kurtosis (normal: 3)', number(shape.kurtosis)],
  ];
  if (rounding)
    rows.push(
      [rounding.when === 'static' ? 'scale (one step)' : 'scales, one for each token', scaleText(rounding)],
      ['clipped', percent(rounding.clipped)],
      ['rounded to 0', percent(rounding.zeros)],
      ['integers in use, of 256', `${rounding.levels}`],
      ['mean squared error', number(rounding.mse)],
      ['signal to noise', decibels(rounding.snr)],
    );
  return newTable('Numbers of this site', rows);
}

const scaleText = ({ scales: [low, high], when }: Rounding): string =>
  when === 'static' ? number(high) : `${number(low)} … ${number(high)}`;

function drawAll({ all, basis, rounding }: SiteView, symbol: string): void {
  const step = rounding?.scales[1];
  const [low, high] = step ? [-128.5 * step, 127.5 * step] : [all.from, all.to];
  const name = basis ? `${symbol}, ${basisWords(basis)}` : symbol;
  draw(
    byId('site-all'),
    {
      alt: `Histogram of the values of ${name}${step ? `, with the range of int8 from ${number(-128 * step)} to ${number(127 * step)}` : ''}`,
      caption: step
        ? `All values of ${name}. Between the dashed lines lie the 256 integers of int8, with a line at every ${EVERY}th; the next figure shows single ones. Red bars are clipped.`
        : `All values of ${name}: this recipe leaves them in float32.`,
    },
    () => ({
      height: 260,
      marginLeft: 56,
      marginBottom: 40,
      marginTop: 44,
      x: { label: `value${basis === 'steps' ? ', in steps' : ''}`, domain: [all.from, all.to] },
      y: countAxis(all),
      marks: [
        ...(step ? gridOf(step) : []),
        bars(all, { isOutside: (from, to) => to <= low || from >= high }),
        Plot.ruleY([0]),
      ],
    }),
  );
}

/** The integers along the top. One step is at most some three pixels wide, so that only every so many have a line. */
function gridOf(step: number): Plot.Markish[] {
  const lines = Array.from({ length: 256 / EVERY - 1 }, (_, i) => (i + 1) * EVERY - 128);
  return [
    Plot.ruleX(lines, { x: q => q * step, stroke: colour('line') }),
    Plot.ruleX([-128, 127], { x: q => q * step, stroke: colour('ink'), strokeDasharray: '4 3' }),
    Plot.axisX({
      anchor: 'top',
      ticks: [-128, -64, 0, 64, 127].map(q => q * step),
      tickFormat: (x: number) => signed(`${Math.round(x / step)}`),
      label: 'int8',
    }),
    Plot.axisX({ anchor: 'bottom' }),
  ];
}

function drawNear({ near, rounding }: SiteView, symbol: string): void {
  const figure = byId('site-near');
  figure.hidden = !near || !rounding;
  if (!near || !rounding) return;
  const step = rounding.scales[1];
  const most = Math.round(near.to / step);
  const edges = Array.from({ length: 2 * most }, (_, i) => (i - most + 0.5) * step);
  const ticks = Array.from({ length: most + 1 }, (_, i) => (2 * i - most) * step);
  draw(
    figure,
    {
      alt: `The values of ${symbol} within ${most} steps of 0, and where they are rounded`,
      caption: `The same, within ${most} steps of 0${rounding.when === 'dynamic' ? ' (of the token with the largest step)' : ''}. All values between two lines, which have one shade, become one integer.`,
    },
    () => ({
      height: 200,
      marginLeft: 56,
      marginBottom: 40,
      x: {
        label: 'value, in steps of the scale',
        domain: [near.from, near.to],
        ticks,
        tickFormat: (x: number) => signed(`${Math.round(x / step)}`),
      },
      y: countAxis(near),
      marks: [
        bars(near, { integer: x => Math.round(x / step) }),
        Plot.ruleX(edges, { stroke: colour('ink'), strokeOpacity: 0.45 }),
        Plot.ruleY([0]),
      ],
    }),
  );
}

const BASES: Readonly<Record<string, string>> = {
  rotated: 'rotated',
  smoothed: 'smoothed',
  steps: 'each channel in steps of its own',
};
const basisWords = (word: string): string => BASES[word] ?? word;
