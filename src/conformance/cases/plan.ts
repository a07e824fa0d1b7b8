/** Whole blocks and whole models are run under every recipe. */
import { withNodes, writes } from '../../graph.ts';
import { outerRoles, outerSites } from '../../model/architecture.ts';
import { once } from '../../once.ts';
import {
  DEFAULT_RECIPE,
  FLOAT_RECIPE,
  type RecipeName,
  recipes,
  recipesOfHybrids,
  recipesOfMamba2,
} from '../../quant/recipes.ts';
import type { Recipe } from '../../quant/scheme.ts';
import { random } from '../../text/random.ts';
import type { Case, Subject } from '../case.ts';
import { caseOf } from '../judge/judge.ts';
import { cut, fed, judgeOutcomes, opNamesOf, type PlanUnderTest, withExecutable } from '../plan.ts';
import { type AnyToy, hybridToys, planOfToy, toy2, toys } from '../toy.ts';

/** A text for a toy model of so many words. */
export function textFor(vocabSize: number, length: number, seed = 9): Int32Array {
  const next = random(seed);
  return Int32Array.from({ length }, () => Math.floor(next() * vocabSize));
}

/** The toy as far as its first layer: its result is the residual stream f32[l, m]. */
function blockOf(toy: AnyToy): AnyToy {
  const { nodes } = toy.program.graph;
  const result = 'layers.0.h';
  const end = nodes.findIndex(node => writes(node).includes(result)) + 1;
  const { graph, weights } = withNodes(toy.program, nodes.slice(0, end));
  return { ...toy, name: `${toy.name}, one block`, program: { graph: { ...graph, result }, weights } };
}

/** The recipes for a block alone, which lacks what is outside it. */
const inPart: Readonly<Record<string, Recipe>> = Object.fromEntries(
  Object.entries<Recipe>(recipes).map(([name, scheme]) => [
    name,
    { ...scheme, optional: [...(scheme.optional ?? []), ...outerSites, ...outerRoles] },
  ]),
);

const blocks = once(() => [
  ...toys().map(toy => ({ toy, one: blockOf(toy), names: Object.keys(recipes) as RecipeName[] })),
  { toy: toy2(), one: blockOf(toy2()), names: recipesOfMamba2 },
  ...hybridToys().map(toy => ({ toy, one: blockOf(toy), names: recipesOfHybrids })),
]);

/** A text is fed from its start, in one feed after the other. */
export const feedCase = (
  { backend, profile }: Subject,
  about: Pick<Case, 'address' | 'says' | 'quick' | 'ops'>,
  make: () => PlanUnderTest,
  textOf: (length: number) => Int32Array,
  sizes: readonly number[],
): Case =>
  caseOf(backend, about, () => {
    const under = make();
    const text = textOf(sizes.reduce((sum, size) => sum + size, 0));
    return withExecutable(backend, under.plan, executable =>
      judgeOutcomes(profile, under, text, fed(executable, cut(text, sizes))),
    );
  });

const toyCases = (subject: Subject): Case[] =>
  (Object.keys(recipes) as RecipeName[]).flatMap(recipe =>
    blocks().flatMap(({ toy, one, names }) => {
      if (!names.includes(recipe)) return [];
      const feed = (kind: 'block' | 'plan', what: string, sizes: readonly number[]) => {
        const of = kind === 'block' ? one : toy;
        const row = (kind === 'block' ? inPart : recipes)[recipe];
        const about = {
          address: `${kind}/${recipe}/${toy.name}/${what}`,
          says: `a ${kind === 'block' ? 'block' : 'model'} of width ${toy.config.dModel} and the states after the text`,
          quick: recipe === DEFAULT_RECIPE || recipe === FLOAT_RECIPE,
          ops: opNamesOf(of.program, row),
        };
        const under = () => ({ plan: planOfToy(of, row), float: of.program });
        return feedCase(subject, about, under, length => textFor(toy.config.vocabSize, length), sizes);
      };
      return [
        feed('block', 'feed-64', [64]),
        feed('block', 'tokens', Array(16).fill(1)),
        feed('plan', 'feed-64', [64]),
        feed('plan', 'feed-300', [300]),
        feed('plan', 'cuts', [1, 1, 1, 125, 129, 43]),
      ];
    }),
  );

const modelCases = (subject: Subject): Case[] =>
  subject.models.map(({ name, recipe, plan, float, ops, text }) => {
    const address = `plan/${recipe}/${name}/feed-64`;
    const says = `the logits of ${name} over 64 tokens of a real text`;
    const under = () => ({ plan: plan(), float: float() });
    return feedCase(subject, { address, says, quick: false, ops }, under, l => text().slice(0, l), [64]);
  });

export const planCases = (subject: Subject): Case[] => [...toyCases(subject), ...modelCases(subject)];
