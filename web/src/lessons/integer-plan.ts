import source from '../../../src/ops/linear-i8.ts?raw';
import { byId } from '../dom.ts';
import { number } from '../numbers.ts';
import { choice, part, showSources, slider } from './lesson.ts';
import { showLinear } from './linear-by-hand.ts';
import { constantBytes, drawBytes, valueBytes } from './plan-bytes.ts';
import { differences, linesOf, showLines } from './plan-lines.ts';
import { fetchPlans } from './sample.ts';

const DIFFERENCE = 'difference';

function byHand(): void {
  const show = () => showLinear({ x0: x0(), range: range(), bits: Number(bits()) });
  const x0 = slider('x0', value => number(value), show);
  const range = slider('range', value => `±${number(value)}`, show);
  const bits = choice('bits', { 8: '8', 6: '6', 4: '4' }, show);
  byId<HTMLSelectElement>('bits').value = '4';
  show();
}

async function plans(): Promise<void> {
  const all = await fetchPlans();
  const names = {
    fp32: 'fp32: no integers',
    'naive-static': 'naive-static: int8',
    quamba: 'quamba: int8, u clipped, y rotated',
    [DIFFERENCE]: 'naive-static → quamba: what differs',
  };
  const show = () =>
    showLines(shown() === DIFFERENCE ? differences(all['naive-static'], all.quamba) : linesOf(all[shown()]));
  const shown = choice('plan', names, show);
  byId<HTMLSelectElement>('plan').value = 'quamba';
  show();
  for (const span of document.querySelectorAll<HTMLElement>('[data-step]')) {
    const [recipe, site] = span.dataset.step!.split(' ');
    span.textContent = number(all[recipe].rows.find(({ value }) => value === site)!.scalars.scale, 2);
  }
  drawBytes('weights', 'Constants of the block that a token reads.', all, constantBytes);
  drawBytes('values', 'Values of one token that go from kernel to kernel.', all, valueBytes);
}

void showSources({ 'src/ops/linear-i8.ts': source });
void part(async () => {
  byHand();
  await plans();
});
