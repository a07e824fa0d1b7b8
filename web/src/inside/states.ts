/** The two states of a block after each token, and what the last token changed. */

import { absmax } from 'lib/ops/absmax-scale.ts';
import { byId, element } from '../dom.ts';
import { type Cells, heatmap } from '../heatmap.ts';
import type { RemoteLab } from '../lab/open.ts';
import type { StatesView } from '../lab/protocol.ts';
import { number, quoted } from '../numbers.ts';

const PACE = 700;
const CALM_PACE = 1600;
/** Pixels of all rows of the SSM state together, and the most of one. */
const HEIGHT = 256;
const ROW = 9;

export interface StatesSection {
  show(layer: number, pieces: readonly string[]): Promise<void>;
}

export function statesSection(lab: RemoteLab): StatesSection {
  const [back, step, play] = ['back', 'step', 'play'].map(id => byId<HTMLButtonElement>(id));
  const calm = matchMedia('(prefers-reduced-motion: reduce)');
  let view: StatesView | undefined;
  let shown: { readonly layer: number; readonly pieces: readonly string[] } = { layer: 0, pieces: [] };
  let at = 0;
  let timer: ReturnType<typeof setInterval> | undefined;

  const stop = () => {
    clearInterval(timer);
    timer = undefined;
    play.textContent = 'Play';
  };
  const go = (to: number) => {
    if (!view) return;
    at = Math.min(Math.max(to, 0), shown.pieces.length - 1);
    back.disabled = at === 0;
    step.disabled = at === shown.pieces.length - 1;
    if (step.disabled) stop();
    drawTokens(shown.pieces, at);
    const change = changeOf(view, at);
    drawStates(view, shown.layer, shown.pieces, at, change);
    // while it plays, a reader that is told of every token is told too much
    const status = byId('states-status');
    status.setAttribute('aria-live', timer === undefined ? 'polite' : 'off');
    status.textContent = `Token ${at + 1} of ${shown.pieces.length}: ${quoted(shown.pieces[at])}. ${changes(view, change)}`;
  };
  back.addEventListener('click', () => {
    stop();
    go(at - 1);
  });
  step.addEventListener('click', () => {
    stop();
    go(at + 1);
  });
  play.addEventListener('click', () => {
    if (timer !== undefined) return stop();
    play.textContent = 'Stop';
    timer = setInterval(() => go(at + 1), calm.matches ? CALM_PACE : PACE);
    go(at === shown.pieces.length - 1 ? 0 : at + 1);
  });
  return {
    async show(layer, pieces) {
      view = await lab.states(layer);
      if (pieces !== shown.pieces) {
        stop();
        at = 0;
      }
      shown = { layer, pieces };
      go(at);
    },
  };
}

function drawTokens(pieces: readonly string[], at: number): void {
  byId('tokens').replaceChildren(
    ...pieces.map((piece, i) =>
      element('span', { className: i === at ? 'token now' : i < at ? 'token' : 'token ahead' }, piece),
    ),
  );
}

const slice = (all: Float32Array, size: number, at: number): Float32Array =>
  at < 0 ? new Float32Array(size) : all.subarray(at * size, (at + 1) * size);

/** State [channel, place] as a picture with channels from left to right. */
const acrossChannels = (state: Float32Array, channels: number, width: number, most: number): Cells => ({
  rowHeight: Math.min(ROW, Math.ceil(HEIGHT / width)),
  rows: width,
  columns: channels,
  values: state,
  rowStride: 1,
  columnStride: width,
  most,
  power: 0.5, // most of what is there is small
});

function changeOf({ ssm, channels, size }: StatesView, at: number): Float32Array {
  const before = slice(ssm, channels * size, at - 1);
  return slice(ssm, channels * size, at).map((value, i) => value - before[i]);
}

function changes({ channels, size }: StatesView, change: Float32Array): string {
  const most = Array.from({ length: channels }, (_, channel) => ({
    channel,
    by: absmax(change.subarray(channel * size, (channel + 1) * size)),
  })).sort((a, b) => b.by - a.by);
  const told = most.slice(0, 3).map(({ channel, by }) => `${channel} (by ${number(by)})`);
  return `It changes the SSM state most in the channels ${told.join(', ')}.`;
}

function drawStates(
  view: StatesView,
  layer: number,
  pieces: readonly string[],
  at: number,
  change: Float32Array,
): void {
  const { conv, ssm, convChannels, channels, width, size, mostConv, mostSsm } = view;
  const axis = (count: number) => `channel, 0 … ${count - 1}`;
  const x = axis(channels);
  const after = `layer ${layer}, after ${quoted(pieces[at])}`;
  heatmap(
    byId('conv-state'),
    {
      ...acrossChannels(slice(conv, convChannels * width, at), convChannels, width, mostConv),
      rowHeight: 2 * ROW,
    },
    {
      alt: `Convolution state, ${after}: ${convChannels} channels by ${width} places`,
      caption: `The convolution's state: its input of the last ${width} tokens, the newest in the lowest row. A token moves everything up by one.`,
      x: axis(convChannels),
      y: 'conv state: places, the oldest on top',
    },
  );
  heatmap(byId('ssm-state'), acrossChannels(slice(ssm, channels * size, at), channels, size, mostSsm), {
    alt: `SSM state, ${after}: ${channels} channels by ${size}`,
    caption: `The SSM state, ${size} numbers for each channel. The colours are those of the largest value in the whole text.`,
    x,
    y: `SSM state: n, 0 … ${size - 1} from top to bottom`,
  });
  const mostChange = absmax(change);
  heatmap(byId('ssm-change'), acrossChannels(change, channels, size, mostChange), {
    alt: `What the token ${quoted(pieces[at])} changed in the SSM state, ${channels} channels by ${size}`,
    caption: 'What this token changed: decay and new input together, in colours of its own largest change.',
    x,
    y: `change of the SSM state: n, 0 … ${size - 1} from top to bottom`,
  });
}
