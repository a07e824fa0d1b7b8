/** The same call gives the same bits, each time and with any number of threads. */

import type { Executable } from '../../executable.ts';
import type { Program } from '../../graph.ts';
import { resultsOf } from '../../op.ts';
import { DEFAULT_RECIPE, type RecipeName, recipes, recipesOfMamba2 } from '../../quant/recipes.ts';
import type { Case, Subject } from '../case.ts';
import { type Form, forms } from '../forms.ts';
import { compare } from '../judge/compare.ts';
import { called, caseOf, type Finding, Skipped, skippedCase, worstOf } from '../judge/judge.ts';
import type { Tensors } from '../named.ts';
import { cut, fed, opNamesOf, withExecutable } from '../plan.ts';
import { type AnyToy, planOfToy, toy2, toys } from '../toy.ts';
import { textFor } from './plan.ts';
import { callsOf } from './small-calls.ts';

const TIMES = 3;

/** Often enough that threads which start late take part in some of the feeds. */
const FEEDS = 12;

function ofForm({ backend }: Subject, { name, op, dtype }: Form): Case {
  const says = `the same call ${TIMES} times gives the same bits`;
  return caseOf(backend, { address: `determinism/${name}`, says, quick: true, ops: [name] }, () =>
    worstOf(
      callsOf({ op, dtype }).flatMap(call => {
        const [first, ...again] = Array.from({ length: TIMES }, () => resultsOf(called(backend, op, call)));
        return again.map(outputs => compare(first, outputs, 'exact'));
      }),
    ),
  );
}

const outcomesOf = (executable: Executable, text: Int32Array): Tensors =>
  fed(executable, cut(text, [1, text.length - 1]));

const everyTime =
  (address: string, needed: readonly string[], plan: () => Program, text: () => Int32Array) =>
  ({ backend }: Subject, threads: number): Case => {
    const about = {
      address: `determinism/${threads === 1 ? 'plan' : `threads-${threads}`}/${address}`,
      says:
        threads === 1
          ? 'the same text gives the same bits, on the same executable and on another'
          : `${threads} threads give the bits of one`,
      quick: false,
      ops: needed,
    };
    const judge = (many: Executable): Finding => {
      const { threads: found = 1 } = many.about ?? {};
      if (found !== threads)
        throw new Skipped(`backend ${backend.name} runs a plan with ${found} threads, not ${threads}`);
      const one = withExecutable(backend, plan(), alone => outcomesOf(alone, text()));
      return worstOf(Array.from({ length: FEEDS }, () => compare(one, outcomesOf(many, text()), 'exact')));
    };
    return caseOf(backend, about, () => withExecutable(backend, plan(), judge, threads));
  };

export function determinismCases(subject: Subject): Case[] {
  const under = (toy: AnyToy, names: readonly RecipeName[]) =>
    names.map(name =>
      everyTime(
        `${name}/${toy.name}`,
        opNamesOf(toy.program, recipes[name]),
        () => planOfToy(toy, recipes[name]),
        () => textFor(toy.config.vocabSize, 150),
      ),
    );
  const ofToy = [
    ...under(toys()[0], Object.keys(recipes) as RecipeName[]),
    ...under(toy2(), recipesOfMamba2),
  ];
  const ofModels = subject.models
    .filter(({ recipe }) => recipe === DEFAULT_RECIPE)
    .map(({ name, recipe, ops: needed, plan, text }) =>
      everyTime(`${recipe}/${name}`, needed, plan, () => text().slice(0, 8)),
    );
  const counts = subject.threads.filter(count => count > 1);
  const says = 'the bits do not depend on the threads';
  const ofThreads = { address: 'determinism/threads', says, quick: false, ops: [] };
  return [
    ...forms.map(form => ofForm(subject, form)),
    ...ofToy.map(make => make(subject, 1)),
    ...counts.flatMap(count => [...ofToy, ...ofModels].map(make => make(subject, count))),
    ...(counts.length ? [] : [skippedCase(subject.backend, ofThreads, 'no number of threads was given')]),
  ];
}
