/** What the page shows of the specimen, in numbers that are small enough to send. */
import { type LayerError, measureLayers } from 'lib/eval/layer-error.ts';
import { absmax, scaleOf } from 'lib/ops/absmax-scale.ts';
import { nameOf } from 'lib/quant/names.ts';
import { siteAction } from 'lib/quant/scheme.ts';
import { transformOf } from 'lib/quant/transforms.ts';
import { ops, planOf, type Recipe, recipe as recipeOf, type Site, type Tensor } from 'quamba';
import { histogram, rounding, shapeOf } from '../measures.ts';
import type { ClippingView, RotationView, SiteView, StatesView } from './protocol.ts';
import { prepare, type Specimen, type Turned } from './specimen.ts';

const BINS = 120;
/** The part around 0 that is shown closely: so many steps to each side, in so many bins a step. */
const NEAR_STEPS = 8;
const BINS_A_STEP = 8;

export async function siteView(
  specimen: Specimen,
  recipe: string,
  layer: number,
  site: Site,
): Promise<SiteView> {
  const ref = site === 'headIn' ? site : `layers.${layer}.${site}`;
  const turned = await specimen.turned(recipe);
  const { scheme, stats, seen } = turned;
  const { basis, quantize } = siteAction(scheme, site);
  const x = seen.get(ref)!;
  const [tokens, channels] = x.shape;
  const shape = shapeOf(x.data);
  const word = transformOf(basis)?.word;
  const about = { tokens, channels, shape, basis: word };
  if (!quantize)
    return { ...about, all: histogram(x.data, shape.max, BINS), near: undefined, rounding: undefined };

  const scales =
    quantize.when === 'dynamic'
      ? ops.absmaxScale({ x }).scale.data
      : Float32Array.of(scaleOf(stats.ranges[ref]));
  const numbers = rounding(x.data, scales, quantize.when, undoOf(turned, site, ref, x.shape));
  const largest = numbers.scales[1];
  return {
    ...about,
    all: histogram(x.data, Math.max(shape.max, 128 * largest), BINS),
    near: histogram(x.data, NEAR_STEPS * largest, 2 * NEAR_STEPS * BINS_A_STEP),
    rounding: numbers,
  };
}

/** From the basis of a site back to its own, as the plan does it for readers that cannot absorb the basis. */
function undoOf(
  { scheme, program }: Turned,
  site: Site,
  ref: string,
  shape: readonly number[],
): (x: Float32Array) => Float32Array {
  const t = transformOf(siteAction(scheme, site).basis);
  if (!t) return x => x;
  const c = t.factors && program.weights.read(nameOf.factors(ref));
  const { op, attrs } = t.undo('x', 'y', 'c');
  return data => {
    const x: Tensor<'f32'> = { dtype: 'f32', shape, data };
    return op({ x, ...(c && { c }) }, attrs).y!.data as Float32Array;
  };
}

export async function clippingView(
  specimen: Specimen,
  layer: number,
  recipes: readonly string[],
): Promise<ClippingView> {
  const ref = `layers.${layer}.scanIn`;
  const { data } = specimen.plain(ref);
  const ranges = await Promise.all(recipes.map(async recipe => (await specimen.stats(recipe)).ranges[ref]));
  const most = absmax(data);
  return {
    all: histogram(data, Math.max(most, ...ranges) * 1.02, BINS),
    absmax: most,
    recipes: recipes.map((recipe, i) => ({
      recipe,
      range: ranges[i],
      rounding: rounding(data, Float32Array.of(scaleOf(ranges[i])), 'static'),
    })),
  };
}

export function rotationView(specimen: Specimen, layer: number): RotationView {
  const ref = `layers.${layer}.scanOut`;
  const y = specimen.plain(ref);
  const { data: rotated } = specimen.rotated(ref);
  const [tokens, channels] = y.shape;
  return {
    tokens,
    channels,
    before: { values: y.data, shape: shapeOf(y.data) },
    after: { values: rotated, shape: shapeOf(rotated) },
  };
}

export async function layerErrors(specimen: Specimen, recipe: string): Promise<readonly LayerError[]> {
  const scheme: Recipe = recipeOf(recipe);
  const plan = planOf(specimen.program, scheme, await specimen.stats(recipe));
  const named = { name: recipe, scheme, plan: async <T>(use: (program: typeof plan) => T) => use(plan) };
  const { recipes } = await measureLayers(specimen.program, [named], { windows: [specimen.tokens], prepare });
  return recipes[0].layers;
}

/** Feeds the text token by token and keeps the states of one layer. */
export function statesView(
  { program, executable, tokens }: Pick<Specimen, 'program' | 'executable' | 'tokens'>,
  layer: number,
): StatesView {
  const [convRef, ssmRef] = ['convState', 'ssmState'].map(word => `layers.${layer}.${word}`);
  const shapeOfState = (ref: string) => program.graph.states.get(ref)!.shape as readonly number[]; // neither grows
  const [e, width] = shapeOfState(convRef);
  const [h, n, p = 1] = shapeOfState(ssmRef); // by channel, [d, n], or by head, [h, n, p]
  const conv = new Float32Array(tokens.length * e * width);
  const ssm = new Float32Array(tokens.length * h * p * n);
  const sequence = executable.open();
  for (let t = 0; t < tokens.length; t++) {
    sequence.feed(tokens.subarray(t, t + 1), { logits: 'last' });
    const { values } = sequence.save();
    conv.set(values.get(convRef)!.data, t * e * width);
    ssm.set(byChannel(values.get(ssmRef)!.data as Float32Array, h, n, p), t * h * p * n);
  }
  sequence.close();
  const [mostConv, mostSsm] = [absmax(conv), absmax(ssm)];
  return { conv, ssm, mostConv, mostSsm, convChannels: e, channels: h * p, width, size: n };
}

/** [h, n, p] → [h·p, n] */
function byChannel(state: Float32Array, h: number, n: number, p: number): Float32Array {
  if (p === 1) return state;
  const turned = new Float32Array(state.length);
  for (let head = 0; head < h; head++)
    for (let s = 0; s < n; s++)
      for (let c = 0; c < p; c++) turned[(head * p + c) * n + s] = state[(head * n + s) * p + c];
  return turned;
}
