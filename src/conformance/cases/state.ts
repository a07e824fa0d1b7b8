/** What is carried from call to call: a text gives the same however it is cut, and on whichever backend each part is fed. */
import { prepare } from '../../backends/backend.ts';
import { reference } from '../../backends/reference.ts';
import { batches } from '../../batches.ts';
import type { Executable } from '../../executable.ts';
import { type LazyTensor, type Program, type Ref, withNodes } from '../../graph.ts';
import { once } from '../../once.ts';
import { type AnyOp, type BoundCall, bind, resultsOf } from '../../op.ts';
import {
  DEFAULT_RECIPE,
  HYBRID_RECIPE,
  MAMBA2_RECIPE,
  type RecipeName,
  recipe,
} from '../../quant/recipes.ts';
import { formsOf } from '../../run.ts';
import { createSession, type Session } from '../../session.ts';
import { isGrowing, parse } from '../../signature.ts';
import type { StateType } from '../../state.ts';
import { joined, sizeOf, type Tensor, tensor } from '../../tensor.ts';
import type { Case, Subject } from '../case.ts';
import { type Form, forms } from '../forms.ts';
import { ordinaryCall } from '../inputs.ts';
import { compare } from '../judge/compare.ts';
import type { Finding } from '../judge/judge.ts';
import { called, caseOf, judgeResults, Skipped, worstOf } from '../judge/judge.ts';
import { copied, type Tensors, tokensOf } from '../named.ts';
import type { PlanUnderTest } from '../plan.ts';
import { cut, judgeOutcomes, opNamesOf, statesOf, withExecutable } from '../plan.ts';
import { rotary } from '../rotary.ts';
import { type AnyToy, hybridToys, planOfToy, toy2, toys } from '../toy.ts';
import { feedCase, textFor } from './plan.ts';
import { ownSizes } from './small-calls.ts';

/** The program in which the last row of the tables that tokens index is NaN. */
function withNaN(program: Program): Program {
  const made = new Map<Ref, LazyTensor>();
  const nodes = program.graph.nodes.map(node => {
    if (node.kind !== 'op' || !node.in.tokens || !node.in.w) return node;
    const { data, shape } = program.weights.read(node.in.w);
    const table = tensor(data.slice(), shape);
    table.data.fill(Number.NaN, NAN_TOKEN * shape[1], (NAN_TOKEN + 1) * shape[1]);
    const ref = `${node.in.w}.with-nan`;
    made.set(ref, { ...table, read: () => table });
    return { ...node, in: { ...node.in, w: ref } };
  });
  return withNodes(program, nodes, made);
}
const CUTS = [[20, 20], Array(24).fill(1), [1, 5, 17, 3, 14], [2, 1, 2, 1, 2], [127, 1, 1, 128, 43]];
const inWords = (sizes: readonly number[]) =>
  sizes.every(size => size === 1) ? `1x${sizes.length}` : sizes.join('+');

/** A model whose sequences are cut, saved, forked and fed together. */
interface Carried {
  /** The first part of the addresses of its cases. */
  readonly family: string;
  readonly ops: () => readonly string[];
  readonly under: () => PlanUnderTest;
  /** How many tokens come before a state is saved or forked; then another 13. */
  readonly begun: number;
}
const carrying = (family: string, toy: () => AnyToy, name: RecipeName, begun = 19): Carried => ({
  family,
  ops: () => opNamesOf(toy().program, recipe(name)),
  under: once(() => ({ plan: withNaN(planOfToy(toy(), recipe(name))), float: toy().program })),
  begun,
});
/** States that grow are saved and forked inside their second block of 128 rows. */
const IN_SECOND_BLOCK = 135;
const growing = (dtype: StateType['dtype']): Carried => {
  const plan = once(() => withNaN(rotary(VOCABULARY, dtype)));
  return {
    family: dtype === 'f32' ? 'state/rotary' : `state/rotary/${dtype}`,
    ops: () => [...formsOf(plan()).keys()],
    under: once(() => ({ plan: plan(), float: rotary(VOCABULARY) })),
    begun: IN_SECOND_BLOCK,
  };
};
const VOCABULARY = 32;
const models = [
  carrying('state', () => toys()[0], DEFAULT_RECIPE),
  carrying('state/toy-mamba2', toy2, MAMBA2_RECIPE),
  ...(['f32', 'f16', 'i8-dynamic'] as const).map(growing),
  ...hybridToys().flatMap(toy => [
    carrying(`state/${toy.name}`, () => toy, MAMBA2_RECIPE, IN_SECOND_BLOCK),
    carrying(`state/${toy.name}/i8-dynamic`, () => toy, HYBRID_RECIPE, IN_SECOND_BLOCK),
  ]),
];

type Feeding = (executable: Executable, others: Executable) => Iterable<Finding>;

export const stateCases = (subject: Subject): Case[] => [
  ...models.flatMap(model => casesOfModel(subject, model)),
  ...forms.filter(({ op }) => Object.keys(op.states).length > 0).map(form => opCuts(subject, form)),
];

function casesOfModel(subject: Subject, { family, ops, under, begun: length }: Carried): Case[] {
  const { backend, profile } = subject;
  const text = (size: number, seed?: number) =>
    textFor(VOCABULARY, size, seed).map(token => (token === NAN_TOKEN ? 0 : token));
  const about = (what: string, says: string) => ({
    address: `${family}/${what}`,
    says,
    quick: true,
    ops: ops(),
  });
  const sessionOn = (executable: Executable): Session =>
    createSession({
      program: under().plan,
      executable,
      batches: batches(executable),
      vocabSize: VOCABULARY,
      name: 'toy',
      identity: () => 'toy',
    });

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
  const [first, second, other] = cut(text(length + 26), [length, 13, 13]);
  const begun = Int32Array.of(...first, ...second);

  const handOver = (from: Executable, to: Executable): Finding => {
    const [giver, taker] = [sessionOn(from), sessionOn(to)];
    const before = giver.feed(first);
    taker.restore(giver.snapshot());
    return logits(begun, before, taker.feed(second));
  };

  return [
    ...CUTS.map(sizes => {
      const says = 'a text fed in these cuts gives what it gives at once';
      return feedCase(subject, about(`chunks/${inWords(sizes)}`, says), under, text, sizes);
    }),
    together(
      'save-reference-load-backend',
      'a state that the reference saved goes on here',
      (mine, other) => [handOver(other, mine)],
    ),
    together(
      'save-backend-load-reference',
      'a state that was saved here goes on on the reference',
      (...both) => [handOver(...both)],
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
    together('saved-stays', 'what was saved stays as it is, and can be loaded again and again', mine => {
      const sequence = mine.open();
      const rows = sequence.feed(first);
      const saved = sequence.save();
      const kept = copied(statesOf(sequence));
      const again = [second, other, second].map(tokens => {
        sequence.load(saved);
        return sequence.feed(tokens);
      });
      return [compare(kept, Object.fromEntries(saved.values), 'exact'), logits(begun, rows, again[2])];
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
    together('last-logits', 'the logits of the last token alone are those that it has among all', mine => {
      const [inParts, atOnce] = [mine.open(), mine.open()];
      const rows = inParts.feed(begun.slice(0, -1));
      const last = atOnce.feed(begun, { logits: 'last' });
      inParts.feed(begun.slice(-1));
      return [
        logits(begun, rows, last),
        judgeOutcomes(profile, under(), begun, statesOf(atOnce)),
        judgeOutcomes(profile, under(), begun, statesOf(inParts)),
      ];
    }),
    ...[2, 3, 8].map(count =>
      together(`batch/${count}`, 'texts that are fed together give what each gives alone', mine =>
        inBatches(
          mine,
          Array.from({ length: count }, (_, i) => text(40 + 37 * (i % 3), 20 + i)),
          logits,
        ),
      ),
    ),
    together('failed-feed', 'after a feed that fails every text is as it was before', mine => {
      const [a, b] = [mine.open(), mine.open()];
      const [rowsOfA, rowsOfB] = [a.feed(first), b.feed(other)];
      const before = [a, b].map(sequence => copied(statesOf(sequence)));
      const turns = [
        { sequence: a, tokens: second },
        { sequence: b, tokens: Int32Array.of(...text(140), NAN_TOKEN) },
      ];
      if (!fails(() => mine.feed(turns)))
        throw new Skipped(`backend ${backend.name} takes a NaN that is to be quantized`);
      return [
        ...[a, b].map((sequence, i) => compare(before[i], statesOf(sequence), 'exact')),
        logits(begun, rowsOfA, a.feed(second)),
        logits(Int32Array.of(...other, ...second), rowsOfB, b.feed(second)),
      ];
    }),
  ];
}

/** The token whose row of the table holds NaN in the plan of these cases. No text holds it. */
const NAN_TOKEN = 31;

function fails(attempt: () => unknown): boolean {
  try {
    attempt();
    return false;
  } catch {
    return true;
  }
}

/** Texts that start one after the other, each fed in parts of its own length, are compared with each text alone. */
function inBatches(
  executable: Executable,
  texts: readonly Int32Array[],
  logits: (tokens: Int32Array, ...rows: readonly Tensor<'f32'>[]) => Finding,
): readonly Finding[] {
  const running = texts.map((tokens, i) => {
    const size = [1, 13, 64][i % 3];
    const count = Math.ceil(tokens.length / size);
    const parts = Array.from({ length: count }, (_, part) => tokens.slice(part * size, (part + 1) * size));
    return { tokens, sequence: executable.open(), parts, rows: [] as Tensor<'f32'>[] };
  });
  for (let step = 0; running.some(({ parts }) => parts.length > 0); step++) {
    const now = running.filter(({ parts }, i) => i <= step && parts.length > 0);
    const turns = now.map(({ sequence, parts }) => ({ sequence, tokens: parts.shift()! }));
    for (const [i, made] of executable.feed(turns).entries()) now[i].rows.push(made);
  }
  return running.map(({ tokens, rows }) => logits(tokens, ...rows));
}

/** The states before a call, without the room that one which grows has for the tokens of the call. */
const pastOf = (op: AnyOp, { states, dims: { t } }: BoundCall): Tensors =>
  Object.fromEntries(
    Object.entries(states).map(([key, { shape, data }]) => {
      const past = isGrowing(parse(op.states[key])) ? [t, ...shape.slice(1)] : shape;
      return [key, tensor(data.slice(0, sizeOf(past)), past)];
    }),
  );

/** A call of an op with states, cut after each of a few tokens. */
function opCuts({ backend, profile }: Subject, form: Form): Case {
  const { op, name } = form;
  const about = {
    address: `state/${name}`,
    says: 'the op in parts, each from the state after the one before, gives what it gives at once',
    quick: true,
    ops: [name],
  };
  return caseOf(backend, about, () => {
    const whole = ordinaryCall(form, { l: 23, d: 9, n: 5, k: 4, ...ownSizes[op.name]?.[0] });
    const rows: Tensor<'f32'>[] = [];
    let states = pastOf(op, whole);
    let at = 0;
    for (const size of [1, 2, 9, 1, 10]) {
      const part = tokensOf(op.inputs, whole.inputs, at, size);
      const call = called(backend, op, bind(op, { ...part, ...states }, whole.attrs, whole.states));
      const { y, ...after } = resultsOf(call);
      rows.push(y as Tensor<'f32'>);
      states = after;
      at += size;
    }
    return judgeResults(profile, op, whole, { y: joined(rows), ...states });
  });
}
