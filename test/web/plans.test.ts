/** What the lesson about the integer plan counts and compares. */
import { beforeAll, expect, it } from 'vitest';
import { constantBytes, valueBytes } from '../../web/src/lessons/plan-bytes.ts';
import { differences, linesOf } from '../../web/src/lessons/plan-lines.ts';
import type { BlockPlan, PlanRow } from '../../web/src/lessons/sample.ts';

const row = (value: string, type: string, op: string, more: Partial<PlanRow> = {}): PlanRow => ({
  ...{ value, type, op, inputs: {}, scalars: {}, constants: {} },
  ...more,
});
const planOf = (rows: readonly PlanRow[]): BlockPlan => ({
  rows,
  lines: ['value  op', ...rows.map(({ value, op }) => `${value}  ${op}`)],
});

/** x is normed and rounded in one kernel, sliced, multiplied by an int8 weight, and added. */
const fused = { name: 'norm-quantize', node: 1 };
let plan: BlockPlan;
beforeAll(() => {
  plan = planOf([
    row('normed', 'f32[l, 8]', 'rms-norm', { fused, inputs: { x: 'h' }, constants: { norm: [8] } }),
    row('q', 'i8[l, 8]', 'quantize', { fused, inputs: { x: 'normed' } }),
    row('A', 'f32[8, 4]', 'neg-exp', { constants: { ALog: [8, 4] } }),
    row('xz', 'f32[l, 6]', 'linear-i8', { inputs: { x: 'q', w: 'w.i8' }, constants: { 'w.i8': [6, 8] } }),
    row('x', 'f32[l, 3]', 'slice', { inputs: { x: 'xz' } }),
    row('h', 'f32[l, 3]', 'add', { inputs: { x: 'x', y: 'A' } }),
  ]);
});

it('counts the bytes of each constant once', () => {
  expect(constantBytes(plan)).toEqual({ f32: 4 * (8 + 32), i8: 48 });
  const twice = planOf([
    ...plan.rows,
    row('again', 'f32[l, 6]', 'linear-i8', { constants: { 'w.i8': [6, 8] } }),
  ]);
  expect(constantBytes(twice)).toEqual(constantBytes(plan));
});

it('counts values that go from kernel to kernel: none inside one, no slices, none that are made once', () => {
  expect(valueBytes(plan)).toEqual({ f32: 4 * (6 + 3), i8: 8 });
});

it('shows only what differs between two plans, the old line before the new one', () => {
  const changed = planOf(
    plan.rows
      .map(each => (each.value === 'xz' ? { ...each, op: 'linear' } : each))
      .concat(row('y', 'f32[l, 3]', 'fwht')),
  );
  expect(differences(plan, changed).map(({ text, change }) => [change, text])).toEqual([
    ['removed', 'xz  linear-i8'],
    ['added', 'xz  linear'],
    ['added', 'y  fwht'],
  ]);
  expect(differences(plan, plan)).toEqual([]);
  expect(linesOf(plan)[0].text).toBe('normed  rms-norm');
});
