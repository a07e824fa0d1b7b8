/**
 * Static ranges for random weights (random/model.ts) without calibration: a constant for each kind of site. Their
 * activations are alike in every layer and at every size, since each layer begins with a norm and matrices have variance
 * 1 / fan-in; and the float weights of the largest shapes do not fit into a memory that could calibrate them.
 *
 * The constants are the medians over the layers of mamba-130m's shape of what calibration finds (3 × 96 tokens), rounded. In
 * mamba2-130m's the largest values of B, C and scanOut are twice as large. Its logits are nearer to the float model's with the
 * constants as they are (relative error 0.29 against 0.34 in `quamba`, 12 layers): few values are cut off. Those of attention and MLP
 * are of granite-4.0-h-350m's shape (14 layers).
 */
import type { Program, Ref } from '../graph.ts';
import type { Site, StateWord } from '../model/index.ts';
import { inferTypes } from '../plan/types.ts';
import type { Basis, Recipe, WeightScheme } from '../quant/scheme.ts';
import { siteAction, stateScheme, wordOf } from '../quant/scheme.ts';
import type { Stats } from '../quant/stats.ts';
import { transformOf } from '../quant/transforms.ts';
import { shapeAt, stateRows } from '../state.ts';

/** The |x|, of a state the |h|, that is to map to 127: plain, and rotated, where large values are spread over all channels. */
/* biome-ignore format: a table */
const RANGES: { readonly [W in Site | StateWord]?: { readonly none: number; readonly hadamard?: number } } = {
  blockIn: { none: 4.5, hadamard: 4.5 },
  convIn:  { none: 5 },
  gate:    { none: 5 },
  scanIn:  { none: 7, hadamard: 10 },
  dtLow:   { none: 3.25 },
  B:       { none: 3 },
  C:       { none: 3 },
  dt:      { none: 7 },
  scanOut: { none: 15, hadamard: 3.5 },
  attnIn:  { none: 4.5, hadamard: 4.5 },
  attnOut: { none: 3 },
  mlpIn:   { none: 4.5, hadamard: 4.5 },
  mlpProduct: { none: 11, hadamard: 3 },
  headIn:  { none: 4.5 },
  ssmState: { none: 8 },
};

/**
 * The recipe with weights of 4 bits rounded to the nearest step, since GPTQ has nothing to go by: a plan of as many bytes, that
 * is as fast.
 */
export function nominalRecipe(recipe: Recipe): Recipe {
  const plain = (scheme: WeightScheme): WeightScheme =>
    scheme.rounding ? { ...scheme, rounding: 'nearest' } : scheme;
  return {
    ...recipe,
    ...(recipe.weights && { weights: plain(recipe.weights) }),
    ...(recipe.weightsAt && {
      weightsAt: Object.fromEntries(Object.entries(recipe.weightsAt).map(([role, w]) => [role, plain(w)])),
    }),
  };
}

/**
 * What calibration would see: a range for every site, and channels that are all alike, as those of random weights are.
 *
 * @throws RangeError where the recipe puts a site into a basis whose range is not known, such as one made from statistics.
 */
export function nominalStats({ graph }: Program, recipe: Recipe): Stats {
  const types = inferTypes(graph);
  const channels: Record<Ref, Float32Array> = {};
  const ranges: Record<Ref, number> = {};
  for (const node of graph.nodes) {
    if (node.kind !== 'site') continue;
    const { basis, quantize } = siteAction(recipe, node.site);
    if (basis === 'none' && !quantize) continue;
    const known: { readonly [B in Basis & string]?: number } = RANGES[node.site as Site] ?? {};
    const measured = typeof basis === 'object' ? undefined : known[basis];
    const { factors, range = measured } = transformOf(basis) ?? {};
    if (range === undefined)
      throw new RangeError(
        `random weights: no range is known for site ${node.site} in basis ${JSON.stringify(basis)}; recipes for them leave it, or rotate blockIn, scanIn or scanOut`,
      );
    ranges[node.out] = range;
    if (factors) channels[node.out] = alike(types.get(node.out)!.shape[1], known.none);
  }
  for (const [ref, state] of graph.states)
    if (stateScheme(recipe, ref)?.bits === 8)
      channels[ref] = alike(stateRows(shapeAt(state, 0)), RANGES[wordOf(ref) as StateWord]?.none);
  return { channels, ranges };
}

/** Channels, or rows of a state, that are all alike. */
const alike = (size: unknown, largest?: number) => new Float32Array(size as number).fill(largest!);
