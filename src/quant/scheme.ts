/**
 * The words of a recipe. For each site (an activation) and each weight, a recipe answers three independent questions:
 *
 *   in which basis?          none · hadamard · smooth(α) · channels  transforms.ts
 *   with which range?        absmax · percentile(p, ema)             ranges.ts
 *   when, and how fine?      static · dynamic per token; bits; per tensor, row or group
 *
 * and one question for the whole model: in which basis is the residual stream?   none · hadamard   residual.ts
 *
 * Everything is symmetric: real = q · scale, no zero point.
 */
import { array, isObject, number, object, oneOf, show, string, unexpected } from '../formats/json.ts';
import { type Architecture, outerRoles, outerSites } from '../model/architecture.ts';
import type { Role, Site, StateWord } from '../model/index.ts';
import { blockRoles, blockSites, roles, sites, sitesLike, states } from '../model/index.ts';

/** `channels` gives each channel a step of its own; with a number, each run of so many channels. */
export type Basis =
  | 'none'
  | 'hadamard'
  | 'channels'
  | { readonly channels: number }
  | { readonly smooth: number };
/**
 * `percentile` is p, or a list with a p for each layer. `ema` is σ of m ← m + σ (p_i − m), the moving average over calibration
 * samples.
 */
export type Range = 'absmax' | { readonly percentile: number | readonly number[]; readonly ema: number };

export interface SiteScheme {
  readonly basis: Basis;
  readonly range: Range;
  readonly when: 'static' | 'dynamic';
  readonly bits: 8;
}
export interface WeightScheme {
  /**
   * 4 bits have scales per group only. There a group has the largest number of columns that divides the weight's columns and is
   * not above `group`.
   */
  readonly bits: 8 | 4;
  readonly per: 'tensor' | 'row' | { readonly group: number };
  /**
   * How 4 bits are rounded: each weight to its nearest step, or all so that the product with the calibration inputs changes
   * least (gptq.ts).
   */
  readonly rounding?: 'nearest' | 'gptq';
}

/**
 * How a state is kept between two tokens: 16 bits are IEEE binary16; 8 are int8, with a step for each row, a run of the last axis.
 * The steps are those of calibration, or of a dynamic scheme measured at every token.
 */
export interface StateScheme {
  readonly bits: 16 | 8;
  /**
   * Of 8 bits. Absent: static. Only a state whose rows are written whole can be dynamic: that of a scan, or keys and values, which
   * grow with the text, and cannot be static.
   */
  readonly when?: 'static' | 'dynamic';
}

/** The layers that a recipe can tell from the others. A layer that is before one that attends, and attends itself, is the first. */
const layerWords = ['attention', 'beforeAttention'] as const;
export type LayerWord = (typeof layerWords)[number];

export interface Recipe {
  /** The scheme of all weights of the blocks that have a role. Absent: float. */
  readonly weights?: WeightScheme;
  /** The scheme of all sites of the blocks (of Mamba: the paper's nine). Absent: float. */
  readonly acts?: SiteScheme;
  /**
   * Patches of single sites. What is said of `scanOut` holds for `mlpProduct` too, and what is said of `blockIn` for `attnIn` and
   * `mlpIn`, where nothing is said of these.
   */
  readonly at?: { readonly [S in Site]?: Partial<SiteScheme> };
  /** Schemes in the place of `weights` for whole layers: those that attend, and the one before each of them. */
  readonly weightsIn?: { readonly [L in LayerWord]?: WeightScheme };
  /** Schemes of single weights, by role. */
  readonly weightsAt?: { readonly [R in Role]?: WeightScheme };
  /** The basis of the residual stream, folded into the weights that write and read it. Absent: its own. */
  readonly residual?: 'hadamard';
  /** Schemes of the states of the blocks. Absent: float32. */
  readonly states?: { readonly [S in StateWord]?: StateScheme };
  /** Words of `at`, `weightsAt` and `states` that a model need not have, so that one row can serve several families. */
  readonly optional?: readonly (Site | Role | StateWord)[];
}

export const w8: WeightScheme = { bits: 8, per: 'tensor' };
export const w8rows: WeightScheme = { bits: 8, per: 'row' };
export const w4nearest: WeightScheme = { bits: 4, per: { group: 64 }, rounding: 'nearest' };
export const w4: WeightScheme = { ...w4nearest, rounding: 'gptq' };
export const a8: SiteScheme = { basis: 'none', range: 'absmax', when: 'static', bits: 8 };
/** A state in binary16. */
export const f16: StateScheme = { bits: 16 };
export const i8: StateScheme = { bits: 8 };
export const i8dynamic: StateScheme = { bits: 8, when: 'dynamic' };
export const a8dynamic: SiteScheme = { ...a8, when: 'dynamic' };

/** Clips to the p-quantile of |x|, averaged over samples: the range that Quamba gives the scan's input. */
export const clip = (p: number, ema = 0.01) => ({ range: { percentile: p, ema } }) as const;
/** Rotates by the Hadamard matrix: the basis that Quamba gives the scan's output. */
export const hadamard = { basis: 'hadamard' } as const;
/** Gives each channel a scale of its own, from the channel's largest |x|, which counts no more than the site's range. */
export const channels = { basis: 'channels' } as const;
/** Divides each channel by maxᵅ|x| / max¹⁻ᵅ|W| (SmoothQuant). */
export const smooth = (alpha: number) => ({ basis: { smooth: alpha } }) as const;

export interface SiteAction {
  readonly basis: Basis;
  /** Absent: the site stays float. */
  readonly quantize?: Omit<SiteScheme, 'basis'>;
}

/** What a recipe does at a site. A site that the recipe does not mention has basis `none` and is not quantized. */
export function siteAction(recipe: Recipe, site: string): SiteAction {
  const { basis = 'none', range, when, bits } = schemeAt(recipe, site);
  return bits && range && when ? { basis, quantize: { range, when, bits } } : { basis };
}

function schemeAt(recipe: Recipe, site: string): Partial<SiteScheme> {
  const inBlock = (blockSites as readonly string[]).includes(site);
  const patch = recipe.at?.[site as Site] ?? recipe.at?.[sitesLike[site as Site] as Site];
  return { ...(inBlock ? recipe.acts : {}), ...patch };
}

/** What a recipe does to the weights of a role, in layers of this word; undefined where they stay float. */
export function weightScheme(recipe: Recipe, role: string, layer?: LayerWord): WeightScheme | undefined {
  const inBlock = (blockRoles as readonly string[]).includes(role);
  const ofLayer = (layer && recipe.weightsIn?.[layer]) ?? recipe.weights;
  return recipe.weightsAt?.[role as Role] ?? (inBlock ? ofLayer : undefined);
}

/** What a recipe does to a state, by the last word of its name: `layers.0.ssmState`. Undefined where it stays float32. */
export const stateScheme = (recipe: Recipe, state: string): StateScheme | undefined =>
  recipe.states?.[wordOf(state) as StateWord];

/** The last part of a name: `layers.0.ssmState` → `ssmState`. */
export const wordOf = (ref: string): string => ref.slice(ref.lastIndexOf('.') + 1);

/** What a recipe may speak of: the words of an architecture, or of a program. */
export type Words = Pick<Architecture, 'name' | 'sites' | 'roles' | 'states'>;

export const wordsOf = ({ name, sites, floatSites = [], roles, states }: Architecture): Words => ({
  name,
  sites: [...sites, ...floatSites, ...outerSites],
  roles: [...roles, ...outerRoles],
  states,
});

/**
 * Checks a recipe, be it made by hand, and its words against those of what it is to be applied to.
 *
 * @throws TypeError for what is no recipe, naming the field; RangeError for a word that is none of them, unless the recipe says that it
 * is optional.
 */
export function checkWords(recipe: Recipe, { name, sites, roles, states }: Words): void {
  checkFields(recipe, 'recipe'); // a program may have words of its own
  const words = [
    ['at', 'site', sites],
    ['weightsAt', 'weight', roles],
    ['states', 'state', states],
  ] as const;
  const optional: readonly string[] = recipe.optional ?? [];
  for (const [field, kind, has] of words)
    for (const word of Object.keys(recipe[field] ?? {}))
      if (!has.includes(word) && !optional.includes(word))
        throw new RangeError(
          `recipe.${field}: ${name} has no ${kind} ${show(word)}; it has ${has.join(', ') || 'none'}`,
        );
}

/** Whether two recipes do the same, whatever the order of their fields, and whatever models may have them. */
export const sameRecipe = ({ optional: _a, ...a }: Recipe, { optional: _b, ...b }: Recipe): boolean =>
  sorted(a) === sorted(b);

/** The JSON of a value with the keys of every object in alphabetical order. */
const sorted = (value: unknown): string =>
  JSON.stringify(value, (_, inner) =>
    isObject(inner) ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner,
  );

/** The recipe with another p (or a list) at every site that has a percentile range: p belongs to the model, not to the method. */
export function withPercentile(recipe: Recipe, p: number | readonly number[]): Recipe {
  const patch = <S extends Partial<SiteScheme>>(scheme: S): S =>
    typeof scheme.range === 'object' ? { ...scheme, range: { ...scheme.range, percentile: p } } : scheme;
  return {
    ...recipe,
    ...(recipe.acts && { acts: patch(recipe.acts) }),
    ...(recipe.at && {
      at: Object.fromEntries(Object.entries(recipe.at).map(([site, scheme]) => [site, patch(scheme)])),
    }),
  };
}

/**
 * Reads a recipe from JSON. An unknown field is an error.
 *
 * @throws TypeError naming the field, its value and what was expected.
 */
export const parseRecipe = (json: unknown, where = 'recipe'): Recipe =>
  checkFields(json, where, { sites, roles, states });

/** @param words what the recipe may speak of; without them, anything. */
function checkFields(
  json: unknown,
  where: string,
  words?: Pick<Words, 'sites' | 'roles' | 'states'>,
): Recipe {
  const fields = ['weights', 'acts', 'at', 'weightsIn', 'weightsAt', 'residual', 'states', 'optional'];
  const recipe = object(json, where, fields);
  if (recipe.residual !== undefined) oneOf(recipe.residual, `${where}.residual`, ['hadamard']);
  if (recipe.weights !== undefined) parseWeights(recipe.weights, `${where}.weights`);
  if (recipe.acts !== undefined) parseSite(recipe.acts, `${where}.acts`, true);
  for (const [site, patch] of Object.entries(object(recipe.at ?? {}, `${where}.at`, words?.sites)))
    parseSite(patch, `${where}.at.${site}`, false);
  for (const site of Object.keys(recipe.at ?? {})) {
    // of which only a part is there would stay float in silence
    const scheme = schemeAt(recipe as Recipe, site);
    const missing = scheme.bits && (['range', 'when'] as const).find(key => scheme[key] === undefined);
    if (missing) throw new TypeError(`${where}.at.${site}.${missing} is missing`);
  }
  for (const [word, scheme] of Object.entries(
    object(recipe.weightsIn ?? {}, `${where}.weightsIn`, layerWords),
  ))
    parseWeights(scheme, `${where}.weightsIn.${word}`);
  for (const [role, scheme] of Object.entries(
    object(recipe.weightsAt ?? {}, `${where}.weightsAt`, words?.roles),
  ))
    parseWeights(scheme, `${where}.weightsAt.${role}`);
  for (const [state, scheme] of Object.entries(
    object(recipe.states ?? {}, `${where}.states`, words?.states),
  )) {
    const { bits, when } = object(scheme, `${where}.states.${state}`, ['bits', 'when']);
    oneOf(bits, `${where}.states.${state}.bits`, [16, 8]);
    if (when !== undefined)
      oneOf(
        when,
        `${where}.states.${state}.when`,
        bits === 8 && state !== 'convState' ? ['static', 'dynamic'] : ['static'],
      );
  }
  const all: readonly unknown[] | undefined = words && [...words.sites, ...words.roles, ...words.states];
  for (const [i, word] of array(recipe.optional ?? [], `${where}.optional`).entries())
    if (all) oneOf(word, `${where}.optional[${i}]`, all);
    else string(word, `${where}.optional[${i}]`);
  return recipe as Recipe;
}

function parseSite(json: unknown, where: string, whole: boolean): void {
  const scheme = object(json, where, ['basis', 'range', 'when', 'bits']);
  for (const key of whole ? ['basis', 'range', 'when', 'bits'] : [])
    if (scheme[key] === undefined) throw new TypeError(`${where}.${key} is missing`);
  const { basis, range, when, bits } = scheme;
  if (when !== undefined) oneOf(when, `${where}.when`, ['static', 'dynamic']);
  if (bits !== undefined) oneOf(bits, `${where}.bits`, [8]);
  if (typeof basis === 'object') {
    const { smooth, channels } = object(basis, `${where}.basis`, ['smooth', 'channels']);
    if (channels === undefined) unit(smooth, `${where}.basis.smooth`);
    else
      number(channels, `${where}.basis.channels`, 'a positive integer', n => Number.isInteger(n) && n >= 1);
    if (channels !== undefined && smooth !== undefined)
      unexpected(`${where}.basis.smooth`, 'nothing beside channels', smooth);
  } else if (basis !== undefined)
    oneOf(basis, `${where}.basis`, ['none', 'hadamard', 'channels', '{ "channels": n }', '{ "smooth": α }']);
  if (typeof range === 'object') {
    const { percentile, ema } = object(range, `${where}.range`, ['percentile', 'ema']);
    if (!Array.isArray(percentile)) unit(percentile, `${where}.range.percentile`);
    else for (const [layer, p] of percentile.entries()) unit(p, `${where}.range.percentile[${layer}]`);
    unit(ema, `${where}.range.ema`);
  } else if (range !== undefined) oneOf(range, `${where}.range`, ['absmax', '{ "percentile": p, "ema": σ }']);
}

function parseWeights(json: unknown, where: string): void {
  const { bits, per, rounding } = object(json, where, ['bits', 'per', 'rounding']);
  oneOf(bits, `${where}.bits`, [8, 4]);
  if (bits === 4) oneOf(rounding, `${where}.rounding`, ['nearest', 'gptq']);
  else if (rounding !== undefined) unexpected(`${where}.rounding`, 'nothing beside 8 bits', rounding);
  if (typeof per === 'object') {
    const { group } = object(per, `${where}.per`, ['group']);
    number(group, `${where}.per.group`, 'a positive integer', size => Number.isInteger(size) && size >= 1);
  } else if (bits === 4) unexpected(`${where}.per`, '{ "group": size } beside 4 bits', per);
  else oneOf(per, `${where}.per`, ['tensor', 'row', '{ "group": size }']);
}

const unit = (value: unknown, where: string): number =>
  number(value, where, 'a number in (0, 1]', x => x > 0 && x <= 1);
