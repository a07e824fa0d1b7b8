/** A plan's lines, one of which is explained at a time. */
import { ops } from 'quamba';
import { byId } from '../dom.ts';
import type { BlockPlan, PlanRow } from './sample.ts';

export interface Line {
  readonly text: string;
  readonly row: PlanRow;
  readonly change?: 'added' | 'removed';
}

/** What each op is for, in one sentence. */
const DEFINITIONS: Readonly<Record<string, string>> = {
  'rms-norm': 'Divides the vector by its root mean square; a learned weight scales each channel.',
  linear: 'A product with a weight matrix, in float32.',
  'linear-i8':
    'A product with a weight matrix in integers: an exact int32 sum, then one multiplication by both scales.',
  slice: 'Takes a run of columns; a fused kernel does not copy them.',
  quantize: 'Rounds to int8 steps of the scale and clamps to −128 … 127.',
  dequantize: 'Gives int8 steps their real size back.',
  'causal-conv1d': 'Mixes each channel with its last three values, then silu.',
  softplus: 'Makes Δ positive: log(1 + eˣ).',
  'neg-exp': 'A = −exp(A_log): made once, when the plan is loaded.',
  'selective-scan': 'The recurrence of lesson 1: decays the state, adds the input, reads it out, and gates.',
  fwht: 'Multiplies by the Hadamard matrix: spreads outliers over all channels.',
  add: 'Adds the block’s output to the residual stream.',
};

export const linesOf = ({ lines, rows }: BlockPlan): readonly Line[] =>
  rows.map((row, i) => ({ row, text: lines[i + 1] }));

/** Only what differs: a line of `after` that `before` has not, behind the one that it replaces. */
export function differences(before: BlockPlan, after: BlockPlan): readonly Line[] {
  const same = (text: string) => text.replaceAll(/\s+/g, ' ').replaceAll(/[┌│└]/g, '');
  const old = new Map(linesOf(before).map(line => [line.row.value, line]));
  return linesOf(after).flatMap((line): readonly Line[] => {
    const replaced = old.get(line.row.value);
    if (replaced && same(replaced.text) === same(line.text)) return [];
    const removed = replaced ? [{ ...replaced, change: 'removed' as const }] : [];
    return [...removed, { ...line, change: 'added' }];
  });
}

/** Fills the list. The arrow keys, a pointer or a touch choose a line; the sentence below explains it. */
export function showLines(lines: readonly Line[]): void {
  const list = byId('lines');
  const options = lines.map(({ text, change }, i) => {
    const option = Object.assign(document.createElement('div'), { id: `line-${i}`, className: change ?? '' });
    option.textContent = `${change ? { added: '+ ', removed: '− ' }[change] : ''}${text}`;
    option.setAttribute('role', 'option');
    option.addEventListener('pointerenter', () => choose(i));
    option.addEventListener('click', () => choose(i));
    return option;
  });
  let chosen = 0;
  const choose = (i: number) => {
    chosen = Math.min(Math.max(i, 0), lines.length - 1);
    for (const [k, option] of options.entries()) option.setAttribute('aria-selected', `${k === chosen}`);
    list.setAttribute('aria-activedescendant', options[chosen].id);
    byId('definition').textContent = explained(lines[chosen].row);
  };
  list.onkeydown = event => {
    const to = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, Home: 0, End: lines.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(to);
    options[chosen].scrollIntoView({ block: 'nearest', inline: 'nearest' });
  };
  list.replaceChildren(...options);
  choose(0);
}

function explained({ op, value, fused }: PlanRow): string {
  const name = op.replaceAll(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
  const { formula } = ops[name as keyof typeof ops];
  const kernel = fused ? ` Runs inside the kernel ${fused.name}.` : '';
  return `${value}: ${op}. ${DEFINITIONS[op] ?? ''} Formula: ${formula}.${kernel}`;
}
