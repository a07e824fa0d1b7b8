/** What a kernel may touch: it only reads its inputs, writes all of its outputs, touches no other memory, and remembers nothing. */
import { type AnyOp, type BoundCall, resultsOf } from '../../op.ts';
import { stateView } from '../../state.ts';
import { type Tensor, tensor } from '../../tensor.ts';
import type { Case, Subject } from '../case.ts';
import { type Form, forms } from '../forms.ts';
import { compare } from '../judge/compare.ts';
import { called, caseOf, type Finding, freshCall, invoke, judgeCall, worstOf } from '../judge/judge.ts';
import { copied, each, type Tensors } from '../named.ts';
import { callsOf } from './small-calls.ts';

/** How many values stand on each side of a tensor. It is no multiple of a vector's length, so that nothing is aligned by chance. */
const MARGIN = 67;

interface Framed {
  readonly inner: Tensor;
  readonly whole: Tensor;
}

/** A copy of the tensor inside a larger array, which is filled with `filler`. */
function framed({ data, shape }: Tensor, filler: number): Framed {
  const whole = new (data.constructor as Float32ArrayConstructor)(data.length + 2 * MARGIN).fill(filler);
  const inner = whole.subarray(MARGIN, MARGIN + data.length);
  inner.set(data);
  return { inner: tensor(inner, shape), whole: tensor(whole) };
}

/** The outputs of a kernel whose tensors lie inside larger arrays, and the values around these outputs afterwards. */
function inFrames({ backend }: Subject, op: AnyOp, call: BoundCall, around: (t: Tensor) => number) {
  const fresh = freshCall(call);
  const inputs = each(fresh.inputs, t => framed(t, around(t)));
  const outputs = each(fresh.outputs, t => framed(t, 99));
  const states = each(fresh.states, view => ({ view, ...framed(tensor(view.data, view.shape), 99) }));
  const inner = (frames: Readonly<Record<string, Framed>>): Tensors => each(frames, frame => frame.inner);
  const views = each(states, ({ view, inner: { data } }) =>
    stateView(view, view.shape, data as Float32Array),
  );
  const framedCall = { ...fresh, inputs: inner(inputs), outputs: inner(outputs), states: views };
  invoke(backend.kernelOf(op, call.states)!, framedCall);
  const margins = each({ ...outputs, ...states }, ({ whole: { data } }) =>
    tensor(Float32Array.from([...data.subarray(0, MARGIN), ...data.subarray(data.length - MARGIN)])),
  );
  return { outputs: inner({ ...outputs, ...states }), margins };
}

/** The outputs, named apart from the inputs. */
const marginsOf = (outputs: Tensors): Tensors =>
  each(outputs, () => tensor(new Float32Array(2 * MARGIN).fill(99)));

/** Compares outputs of one kernel bit for bit, in either profile. */
const same = (a: Tensors, b: Tensors, reason: string): Finding => ({ ...compare(a, b, 'exact'), reason });

type Judge = (subject: Subject, form: Form) => Iterable<Finding>;

/* biome-ignore format: rows of a name, a sentence, and how it is judged */
const manners: readonly (readonly [what: string, says: string, judge: Judge])[] = [
  ['inputs-untouched', 'the inputs are after a call what they were before',
    function* ({ backend }, form) {
      for (const call of callsOf(form))
        yield same(call.inputs, called(backend, form.op, call).inputs, 'the kernel changed its inputs');
    }],
  ['outputs-written', 'every element of the outputs is written, whatever was there before',
    function* ({ backend }, form) {
      for (const call of callsOf(form)) {
        const [first, second] = [0, 77].map(filler => {
          const fresh = freshCall(call);
          for (const { data } of Object.values(fresh.outputs)) data.fill(filler);
          invoke(backend.kernelOf(form.op, call.states)!, fresh);
          return resultsOf(fresh);
        });
        yield same(first, second, 'the outputs depend on what they held before the call');
      }
    }],
  ['nothing-kept',
    'a call gives what it gives alone, also between calls of other sizes, and earlier results stay',
    function* (subject, form) {
      const { op } = form;
      const calls = callsOf(form);
      const results = [...calls, ...[...calls].reverse()].map(call => {
        const outputs = resultsOf(called(subject.backend, op, call));
        return { call, outputs, fresh: copied(outputs) };
      });
      for (const { call, outputs, fresh } of results) {
        yield same(fresh, outputs, 'a later call changed the outputs of an earlier one');
        yield same(fresh, resultsOf(called(subject.backend, op, call)), 'a call depends on those before it');
        yield judgeCall(subject.backend, subject.profile, op, call);
      }
    }],
  ['in-bounds',
    'nothing past the ends of the inputs is read, and nothing past those of the outputs is written',
    function* (subject, form) {
      const { op } = form;
      for (const call of callsOf(form)) {
        const first = inFrames(subject, op, call, ({ dtype }) => (dtype === 'f32' ? Number.NaN : 127));
        const second = inFrames(subject, op, call, () => -3);
        yield same(first.outputs, second.outputs, 'what lies around the inputs changes the outputs');
        for (const { margins } of [first, second])
          yield same(marginsOf(margins), margins, 'the kernel wrote past the ends of an output');
      }
    }],
];

export const hygieneCases = (subject: Subject): Case[] =>
  forms.flatMap(form =>
    manners.map(([what, says, judge]) => {
      const about = { address: `hygiene/${form.name}/${what}`, says, quick: true, ops: [form.name] };
      return caseOf(subject.backend, about, () => worstOf(judge(subject, form)));
    }),
  );
