/** What finer scales bring, rung by rung: bars of KL divergence. */
import type { Ladder } from '../ladder.ts';
import { bars, ROW } from './bars.ts';
import { type Plot, WIDTH } from './svg.ts';
import { number } from './words.ts';

export function ladderPlot({ rows, predictions, p }: Ladder): Plot | undefined {
  const [first, last] = [rows.at(0), rows.at(-1)];
  if (!first || !last) return undefined;
  const says = (name: string, kl: number, change: number) =>
    `${name}: KL ${number(kl)} nats, perplexity ${(100 * change).toFixed(2)} %`;
  const items = rows.map(({ name, kl, change }) => ({
    name,
    kl,
    says: says(name, kl, change),
    colour: name.startsWith('+') ? 2 : 1,
  }));
  return {
    id: 'ladder',
    title: 'What finer scales bring',
    subtitle: `KL divergence from the float model, nats, over ${predictions.toLocaleString('en-US')} predictions; x clipped at p = ${p}.`,
    description: `From ${number(first.kl)} nats with a scale for each tensor to ${number(last.kl)} nats at the last rung.`,
    height: 92 + ROW * rows.length + 48,
    body: [bars('', items, { left: 0, width: WIDTH, names: 290 })],
  };
}
