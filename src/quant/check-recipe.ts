/** Whether a recipe can be applied to a model: known before anything is calibrated. */
import { flatten, type Graph, type Weights } from '../graph.ts';
import type { Config } from '../model/architecture.ts';
import { architectureOf } from '../model/index.ts';
import { ops } from '../ops/index.ts';
import { statsSizes } from './calibrate.ts';
import { planOf } from './pipeline.ts';
import { recipes } from './recipes.ts';
import { unrotatable } from './rotations.ts';
import { checkWords, type Recipe, type Words, wordOf, wordsOf } from './scheme.ts';

/**
 * @returns the recipe for the layers that the model has: of a hybrid all of whose layers attend, the words of the other kind are
 * optional.
 * @throws RangeError where the recipe has a word that the model does not have; where it rotates values of a size that has no
 * Hadamard matrix, naming the field of the config and the rows of the table that do without; and where no plan can be made of it,
 * naming the weight.
 */
export function checkRecipe(
  { name, scheme: given }: { readonly name: string; readonly scheme: Recipe },
  config: Config,
  graph: Graph,
): Recipe {
  const words = wordsOf(architectureOf(config));
  checkWords(given, words);
  const scheme = fitted(given, words, graph);
  const found = unrotatable(graph, scheme);
  if (!found) {
    checkPlan(graph, scheme);
    return scheme;
  }
  const [field = 'a size'] =
    Object.entries(config).find(([name, value]) => value === found.size && !COUNTS.includes(name)) ?? [];
  const key = field.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);
  const others = Object.entries<Recipe>(recipes).filter(([, row]) => !unrotatable(graph, row));
  throw new RangeError(
    `recipe ${name} rotates ${found.what}, and ${key} ${found.size} has no Hadamard matrix (${ops.fwht.constraints.C1[0]}); ` +
      `recipes that work: ${others.map(([other]) => other).join(', ')}`,
  );
}

/** The same recipe where the graph has all words of the model. */
function fitted(recipe: Recipe, { sites, roles, states }: Words, graph: Graph): Recipe {
  const has = new Set([
    ...graph.nodes.flatMap(node => (node.kind === 'site' ? node.site : [])),
    ...flatten(graph.nodes).map(({ role }) => role),
    ...[...graph.states.keys()].map(wordOf),
  ]);
  const lacking = [...sites, ...roles, ...states].filter(word => !has.has(word));
  const optional = [...(recipe.optional ?? []), ...lacking] as Recipe['optional'];
  return lacking.length > 0 ? { ...recipe, optional } : recipe;
}

/** Fields of a config that are no width of anything that is rotated, though they may have the same number. */
const COUNTS = ['layers', 'vocabSize', 'eosTokenId'];

/** Makes the plan, whatever calibration will see: no weight is read for that. */
function checkPlan(graph: Graph, recipe: Recipe): void {
  const unread: Weights = {
    has: ref => graph.weights.has(ref),
    read: ref => {
      throw new Error(`recipe: ${ref} was read to check it`);
    },
  };
  const program = { graph, weights: unread };
  const { channels, ranges, hessians } = statsSizes(program, recipe);
  const each = <T>(sizes: object, value: T) =>
    Object.fromEntries(Object.keys(sizes).map(ref => [ref, value]));
  const nothing = new Float32Array(0);
  planOf(program, recipe, {
    channels: each(channels, nothing),
    ranges: each(ranges, 1),
    hessians: each(hessians, nothing),
  });
}
