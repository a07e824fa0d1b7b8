/**
 * An evaluation measures recipes × (perplexity, tasks, bytes, tokens per second). One call measures everything of a shard. It
 * continues an earlier run, and reports each step, so that the result can be kept.
 *
 * The float model stays loaded, since each window is compared with it. The other recipes are loaded in groups of `together`; a group
 * measures all windows before the next group is loaded. The figures do not depend on the size of the groups.
 */
import { bytesOf } from '../formats/bytes.ts';
import { plain } from '../formats/json.ts';
import type { Model } from '../open/model.ts';
import { hasher, identity } from '../plan/identity.ts';
import type { Recipe } from '../quant/scheme.ts';
import type { Session } from '../session.ts';
import { statesBytes } from '../state.ts';
import { likelihoods, request } from './likelihood.ts';
import {
  difference,
  type EvaluationFigures,
  indicesOf,
  ofShard,
  PARTIAL_FORMAT,
  type PartialResult,
  partOf,
  type RecipePart,
  remaining,
  reportOf,
  type Settings,
  type Shard,
  shardWords,
} from './partial.ts';
import { measureWindow } from './perplexity.ts';
import { speeds } from './speed.ts';
import { type Item, scoreItem, type TaskName } from './tasks.ts';
import { windowsOf } from './windows.ts';

export interface Evaluation {
  readonly recipes: readonly { readonly name: string; readonly scheme: Recipe }[];
  /** The name of the recipe that the others are compared with, if it is one of them. */
  readonly float?: string;
  readonly text?: {
    readonly name: string;
    readonly text: string;
    /** Tokens in each window. */
    readonly window: number;
    /** The largest number of tokens, rounded down to whole windows. Default: the whole text. */
    readonly limit?: number;
  };
  readonly tasks?: readonly {
    readonly task: TaskName;
    readonly items: readonly Item[];
    readonly sha256: string;
  }[];
  /** Default: all of it. */
  readonly shard?: Shard;
}

export interface EvaluateOptions {
  /** Every model must come from the same folder, since one tokenizer encodes the text for all. */
  load(recipe: Evaluation['recipes'][number]): Promise<Model>;
  /** How many recipes are loaded at a time, beside the float model. Default: 1. */
  readonly together?: number;
  /** In how many rounds tokens per second are measured; 0: not at all. Default: 3. */
  readonly rounds?: number;
  /** What an earlier run of the same evaluation kept, and its name in errors. It is not changed. */
  readonly resume?: { readonly partial: PartialResult; readonly name: string };
  /** Called after each window and each item, with everything measured so far. A promise is waited for. */
  readonly onStep?: (partial: PartialResult) => unknown;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Evaluated {
  /** Everything that was measured, to be kept or merged. */
  readonly partial: PartialResult;
  /** The figures: what --json prints. */
  readonly report: EvaluationFigures;
}

/** @throws Error in one sentence; RangeError for a text that is shorter than a window. */
export async function evaluate(evaluation: Evaluation, options: EvaluateOptions): Promise<Evaluated> {
  const { load, together = 1, rounds = 3, resume, onStep, onProgress } = options;
  const { recipes, float: floatName, tasks = [] } = evaluation;
  const settings = settingsOf(evaluation);
  const shard = evaluation.shard ?? { index: 0, count: 1 };
  const where = resume ? `${resume.name}: ` : '';
  if (resume) checkResume(resume, settings, shard);
  const others = recipes.filter(({ name }) => name !== floatName);
  const floatRecipe = recipes.find(({ name }) => name === floatName);
  const groups = Array.from({ length: Math.max(1, Math.ceil(others.length / together)) }, (_, i) =>
    others.slice(i * together, (i + 1) * together),
  );

  const opened: Model[] = [];
  let tokens: Int32Array[] | undefined;
  const open = async (recipe: Evaluation['recipes'][number]): Promise<Row> => {
    const model = await load(recipe);
    opened.push(model);
    if (evaluation.text) {
      const { name, text, window, limit } = evaluation.text;
      tokens ??= windowsOf(model.tokenizer.encode(text), window, limit, name);
    }
    const windows = tokens?.length ?? null;
    partial ??= {
      ...PARTIAL_FORMAT,
      model: model.name.split(/[\\/]/).findLast(step => step !== '') ?? model.name,
      backend: model.backend,
      ...{ settings, shard, windows, parts: [] },
    };
    if (partial.windows !== windows)
      throw new Error(
        `${where}recipe ${recipe.name}: cuts the text into ${windows} windows, the run so far into ${partial.windows}`,
      );
    return { model, session: model.session(), part: partFor(partial, recipe, model, tokens, where) };
  };
  let partial = resume && structuredClone(resume.partial);
  let done = 0;
  let total = 0;
  const step = async (): Promise<void> => {
    done++;
    await onStep?.(partial!);
    onProgress?.(done, total);
  };
  try {
    const float = floatRecipe && (await open(floatRecipe));
    for (const [g, group] of groups.entries()) {
      const rows: Row[] = [];
      for (const recipe of group) rows.push(await open(recipe));
      if (g === 0) total = remaining(partial!); // this counts the recipes that are not loaded yet, too
      const measured = g === 0 && float ? [float, ...rows] : rows;
      const unmeasured = measured.filter(({ part }) => part.speed.prefill.length === 0);
      const models = unmeasured.map(({ model }) => model);
      for (const [i, speed] of speeds(models, rounds).entries()) unmeasured[i].part.speed = speed;
      const windowsDone = measured.map(({ part }) => indicesOf(part.windows));
      for (const index of ofShard(shard, partial!.windows ?? 0)) {
        const missing = measured.filter((_, i) => !windowsDone[i].has(index));
        if (missing.length === 0) continue;
        const sessions = missing.map(({ session }) => session);
        const sums = measureWindow(sessions, tokens![index], index, float?.session);
        for (const [i, { part }] of missing.entries()) {
          part.windows.push(sums[i]);
          await step();
        }
      }
      for (const { task, items } of tasks) {
        const itemsDone = measured.map(({ part }) => indicesOf((part.tasks[task] ??= [])));
        for (const index of ofShard(shard, items.length))
          for (const [i, row] of measured.entries()) {
            if (itemsDone[i].has(index)) continue;
            row.part.tasks[task]!.push(await scored(row, task, index, items[index]));
            await step();
          }
      }
      for (const { model } of rows) {
        model.dispose();
        opened.splice(opened.indexOf(model), 1);
      }
    }
    return { partial: partial!, report: reportOf(partial!) };
  } finally {
    for (const model of opened) model.dispose();
  }
}

/** A loaded recipe, and what has been measured of it. */
interface Row {
  readonly model: Model;
  readonly session: Session;
  readonly part: RecipePart;
}

function settingsOf({ recipes, float, text, tasks = [] }: Evaluation): Settings {
  return {
    recipes: recipes.map(({ name, scheme }) => ({ name, scheme })),
    float: recipes.some(({ name }) => name === float) ? float! : null,
    text: text
      ? { name: text.name, sha256: sha256(text.text), window: text.window, limit: text.limit ?? null }
      : null,
    tasks: tasks.map(({ task, items, sha256 }) => ({ task, sha256, items: items.length })),
  };
}

function checkResume(
  { partial, name }: NonNullable<EvaluateOptions['resume']>,
  settings: Settings,
  shard: Shard,
): void {
  const [there, here] = [partial.shard, shard].map(shardWords);
  const differing =
    difference(partial.settings, settings) ??
    (there === here ? undefined : `it is shard ${there} there, ${here} here`);
  if (differing) throw new Error(`${name}: is of another run; ${differing}`);
}

/** The part of a recipe: the one that an earlier run began, if it is of the same model; else a new one. */
function partFor(
  partial: PartialResult,
  { name, scheme }: Evaluation['recipes'][number],
  { plan, info }: Model,
  windows: readonly Int32Array[] | undefined,
  where: string,
): RecipePart {
  const ofPlan = identity(plan.weights, plan.graph.weights.keys(), [scheme, info.source]);
  const own = sha256(
    ofPlan,
    windows?.map(window => bytesOf(window)),
  );
  const there = partOf(partial.parts, name);
  if (there && there.identity !== own)
    throw new Error(
      `${where}recipe ${name}: what was kept is of another model, tokenizer or calibration (${plain(there.identity.slice(0, 12))} there, ${own.slice(0, 12)} here)`,
    );
  if (there) return there;
  const sizes = [...plan.graph.weights.keys()].map(ref => plan.weights.read(ref).data.byteLength);
  const part: RecipePart = {
    recipe: name,
    identity: own,
    bytes: sizes.reduce((sum, size) => sum + size, 0),
    stateBytes: statesBytes(plan.graph.states, 0),
    speed: { prefill: [], decode: [] },
    windows: [],
    tasks: {},
  };
  partial.parts.push(part);
  return part;
}

async function scored({ model, session }: Row, task: TaskName, index: number, item: Item) {
  try {
    const requests = item.choices.map(({ context, continuation }) =>
      request(model.tokenizer, context, continuation),
    );
    return scoreItem(index, item, await likelihoods(session, requests));
  } catch (error) {
    const why = error instanceof Error ? error.message : error;
    throw new Error(`${task}: item ${index + 1}: ${why}`, { cause: error });
  }
}

export function sha256(text: string, more: readonly Uint8Array[] = []): string {
  const hash = hasher();
  for (const bytes of [new TextEncoder().encode(text), ...more]) hash.update(bytes);
  return hash.hex();
}
