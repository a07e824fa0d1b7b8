/** A convolution's state that is kept in f16 or int8: no cut of a text shows, and WASM has the reference's bits. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { prepare } from '../../src/backends/backend.ts';
import { ops } from '../../src/ops/index.ts';
import { recipes } from '../../src/quant/recipes.ts';
import type { Recipe } from '../../src/quant/scheme.ts';
import { interpret } from '../../src/run.ts';
import { tensor } from '../../src/tensor.ts';
import { cut, difference, run, variants } from '../backends/feeds.ts';
import { noise, planOfToy, random, toys } from '../toy.ts';

it.each(['f16', 'i8'] as const)('in %s, fed token by token it gives what it gives at once', dtype => {
  fc.assert(
    fc.property(fc.nat(999), fc.integer({ min: 1, max: 5 }), (seed, k) => {
      const [l, d] = [9, 3];
      const next = random(seed);
      const [x, w] = [tensor(noise(l * d, next), [l, d]), tensor(noise(d * k, next), [d, k])];
      const kept = { past: dtype === 'i8' ? { dtype, scale: Float32Array.of(0.01, 0.02, 0.3) } : { dtype } };
      const whole = ops.causalConv1d({ x, w }, {}, kept);
      let past = tensor(new Float32Array(d * (k - 1)), [d, k - 1]);
      const rows = Array.from({ length: l }, (_, t) => {
        const row = tensor(x.data.slice(t * d, (t + 1) * d), [1, d]);
        const made = ops.causalConv1d({ x: row, w, past }, {}, kept);
        past = made.past;
        return [...made.y.data];
      });
      expect(difference(Float32Array.from(rows.flat()), whole.y.data)).toBe('');
      expect(difference(past.data, whole.past.data)).toBe('');
    }),
  );
});

it.each(variants)('wasm %s: a plan that keeps it so has the bits of the reference', (_, backend) => {
  for (const of of toys)
    for (const bits of [16, 8] as const)
      for (const base of [recipes.fp32, recipes.quamba, recipes['quamba-channels']]) {
        const recipe: Recipe = { ...base, states: { convState: { bits } } };
        const plan = planOfToy(of, recipe);
        const expected = run(interpret(plan), [of.text]);
        for (const cuts of [[32], [1, 1, 5, 25]]) {
          const found = run(prepare(backend, plan), cut(of.text, cuts));
          expect(difference(found.logits, expected.logits), `${of.name} ${bits} ${cuts}`).toBe('');
          for (const [ref, { data }] of Object.entries(expected.state))
            expect(difference(found.state[ref].data, data), ref).toBe('');
        }
      }
});
