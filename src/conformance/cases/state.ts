/** What is carried from call to call: any cut of a text gives the same, on whatever backend each part is fed. */
import { prepare } from '../../backends/backend.ts';
import { reference } from '../../backends/reference.ts';
import { type AnyOp, bind } from '../../op.ts';
import { ops } from '../../ops/index.ts';
import { DEFAULT_RECIPE, recipe } from '../../quant/recipes.ts';
import { type Executable, initialState } from '../../run.ts';
import { createSession, type Session } from '../../session.ts';
import { type Tensor, tensor } from '../../tensor.ts';
import type { Case, Subject } from '../case.ts';
import { ordinaryCall } from '../inputs.ts';
import { compare } from '../judge/compare.ts';
import { called, caseOf, expectedOf, type Finding, judgeTolerances, worstOf } from '../judge/judge.ts';
import { cut, fed, joined, judgeOutcomes, opNamesOf, type PlanUnderTest, withExecutable } from '../plan.ts';
import { planOfToy, toys } from '../toy.ts';
import { feedCase, textFor } from './plan.ts';

const scheme = recipe(DEFAULT_RECIPE);
const under = (): PlanUnderTest => ({ plan: planOfToy(toys()[0], scheme), float: toys()[0].program });
const needed = () => opNamesOf(toys()[0].program, scheme);
const text = (length: number, seed?: number) => textFor(toys()[0], length, seed);

const CUTS = [[20, 20], Array(24).fill(1), [1, 5, 17, 3, 14], [2, 1, 2, 1, 2], [127, 1, 1, 128, 43]];
const inWords = (sizes: readonly number[]) =>
  sizes.every(size => size === 1) ? `1x${sizes.length}` : sizes.join('+');

const sessionOn = (executable: Executable): Session =>
  createSession({
    program: under().plan,
    executable,
    vocabSize: toys()[0].config.vocabSize,
    name: 'toy',
    identity: () => 'toy',
  });

type Feeding = (executable: Executable, others: Executable) => Iterable<Finding>;

export function stateCases(subject: Subject): Case[] {
  const { backend, profile } = subject;
  const about = (what: string, says: string) => ({
    address: `state/${what}`,
    says,
    quick: true,
    ops: needed(),
  });
  const sum = (sizes: readonly number[]) => sizes.reduce((a, b) => a + b, 0);

  /** A case in which the backend and the reference each have the plan. */
  const together = (what: string, says: string, feeding: Feeding): Case =>
    caseOf(backend, about(what, says), () =>
      withExecutable(backend, under().plan, executable =>
        worstOf(feeding(executable, prepare(reference, under().plan))),
      ),
    );
  /** Whether these rows are the logits of this text. */
  const logits = (tokens: Int32Array, ...rows: readonly Tensor<'f32'>[]): Finding =>
    judgeOutcomes(profile, under(), tokens, { logits: joined(rows) });
  const [first, second, other] = cut(text(45), [19, 13, 13]);
  const begun = Int32Array.of(...first, ...second);

  const handOver = (from: Executable, to: Executable): Finding => {
    const [giver, taker] = [sessionOn(from), sessionOn(to)];
    const before = giver.feed(first);
    taker.restore(giver.snapshot());
    return logits(begun, before, taker.feed(second));
  };

  return [
    ...CUTS.map(sizes =>
      feedCase(
        subject,
        about(`chunks/${inWords(sizes)}`, 'a text fed in these cuts gives what it gives at once'),
        under,
        () => text(sum(sizes)),
        sizes,
      ),
    ),
    together(
      'save-reference-load-backend',
      'a state that the reference saved goes on here',
      (mine, reference) => [handOver(reference, mine)],
    ),
    together(
      'save-backend-load-reference',
      'a state that was saved here goes on on the reference',
      (mine, reference) => [handOver(mine, reference)],
    ),
    together('fork', 'two texts go on from one state, in turns', mine => {
      const trunk = sessionOn(mine);
      const rows = trunk.feed(first);
      const branch = trunk.fork();
      const [a, b] = [trunk.feed(second), branch.feed(other)];
      const ends = [trunk.feed(other), branch.feed(second)];
      return [
        logits(Int32Array.of(...begun, ...other), rows, a, ends[0]),
        logits(Int32Array.of(...first, ...other, ...second), rows, b, ends[1]),
      ];
    }),
    together('untouched', 'feeding leaves the state that it was given as it is', mine => {
      const { outcomes, state } = fed(mine, [first], initialState(under().plan));
      const kept = copied(state);
      mine.feed(second, state);
      mine.feed(other, state);
      const again = mine.feed(second, state).logits;
      return [compare(kept, state, 'exact'), logits(begun, outcomes.logits as Tensor<'f32'>, again)];
    }),
    together('apart', 'texts that are fed in turns do not mix', mine => {
      const [a, b] = [sessionOn(mine), sessionOn(mine)];
      const [a1, b1, a2, b2] = [a.feed(first), b.feed(other), a.feed(second), b.feed(second)];
      return [logits(begun, a1, a2), logits(Int32Array.of(...other, ...second), b1, b2)];
    }),
    together('reset', 'a new text starts from zeros', mine => {
      const session = sessionOn(mine);
      session.feed(other);
      session.reset();
      return [logits(begun, session.feed(begun))];
    }),
    together('given-up', 'a state that nobody else will look at gives the same', mine => {
      const { logits: rows, state } = mine.feed(first, initialState(under().plan));
      return [logits(begun, rows, mine.feed(second, state, { giveUp: true }).logits)];
    }),
    together('last-logits', 'the logits of the last token alone are those that it has among all', mine => {
      const { logits: rows, state } = mine.feed(begun.slice(0, -1), initialState(under().plan));
      const last = mine.feed(begun, initialState(under().plan), { logits: 'last' });
      const all = fed(mine, [begun.slice(-1)], state);
      return [
        logits(begun, rows, last.logits),
        judgeOutcomes(profile, under(), begun, { ...last.state }),
        judgeOutcomes(profile, under(), begun, { ...all.state }),
      ];
    }),
    ...[ops.causalConv1d, ops.selectiveScan, ops.selectiveScanF16, ops.selectiveScanI8state].map(op =>
      opCuts(subject, op),
    ),
  ];
}

const copied = (state: Readonly<Record<string, Tensor>>) =>
  Object.fromEntries(Object.entries(state).map(([ref, t]) => [ref, tensor(t.data.slice(), t.shape)]));

/** A stateful op, its call cut after each of a few tokens. */
function opCuts({ backend, profile }: Subject, op: AnyOp): Case {
  const about = {
    address: `state/${op.name}`,
    says: 'the op in parts, each from the state after the one before, gives what it gives at once',
    quick: true,
    ops: [op.name],
  };
  return caseOf(backend, about, () => {
    const whole = ordinaryCall(op, { l: 23, d: 9, n: 5, k: 4 });
    const expected = expectedOf(op, whole);
    const ofEachToken = (key: string) => (op.inputs[key] as string).startsWith('f32[l,');
    const rows: Tensor<'f32'>[] = [];
    let { state } = whole.inputs;
    let at = 0;
    for (const size of [1, 2, 9, 1, 10]) {
      const part = Object.entries(whole.inputs).map(([key, t]) => {
        const width = t.shape.at(-1)!;
        return ofEachToken(key)
          ? [key, tensor(t.data.slice(at * width, (at + size) * width), [size, width])]
          : [key, t];
      });
      const { outputs } = called(backend, op, bind(op, { ...Object.fromEntries(part), state }, whole.attrs));
      rows.push(outputs.y as Tensor<'f32'>);
      state = outputs.state;
      at += size;
    }
    return compare(
      expected,
      { y: joined(rows), state },
      profile,
      judgeTolerances(profile, op, whole, expected),
    );
  });
}
