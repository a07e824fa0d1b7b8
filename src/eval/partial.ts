/**
 * What an evaluation has measured so far, as one JSON object: it is written while a run goes on, a later run continues from
 * it, and the parts of several machines are joined. It holds the sums of each window and the scores of each item, and no
 * figure: those are made at the end, from all of them in order, so that no sharding changes a digit.
 */
import { array, isObject, object, plain, show } from '../formats/json.ts';
import type { Recipe } from '../quant/scheme.ts';
import { type Perplexity, perplexityOf, type WindowSums } from './perplexity.ts';
import { median, type Speed } from './speed.ts';
import { type ItemScore, type TaskFigures, type TaskName, taskFigures } from './tasks.ts';

export const PARTIAL_FORMAT = { format: 'quamba-eval', version: 1 } as const;

/** What figures depend on. Two partial results belong together where all of it is equal. */
export interface Settings {
  readonly recipes: readonly { readonly name: string; readonly scheme: Recipe }[];
  /** Which of the recipes the others are compared with. */
  readonly float: string | null;
  readonly text: {
    readonly name: string;
    readonly sha256: string;
    readonly window: number;
    /** Tokens at most. */
    readonly limit: number | null;
  } | null;
  readonly tasks: readonly {
    readonly task: TaskName;
    readonly sha256: string;
    /** How many of its items are measured, all shards together. */
    readonly items: number;
  }[];
}

/** Window or item i is measured by shard i mod count. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}
export const shardWords = ({ index, count }: Shard): string => `${index}/${count}`;

export interface RecipePart {
  readonly recipe: string;
  /** Of the weights, the scheme and the tokens of the text. */
  readonly identity: string;
  /** Of the plan's tensors in memory, and of the state of one text. */
  readonly bytes: number;
  readonly stateBytes: number;
  speed: Speed;
  readonly windows: WindowSums[];
  readonly tasks: { [T in TaskName]?: ItemScore[] };
}

export interface PartialResult {
  readonly format: typeof PARTIAL_FORMAT.format;
  readonly version: typeof PARTIAL_FORMAT.version;
  readonly model: string;
  readonly backend: string;
  readonly settings: Settings;
  readonly shard: Shard;
  /** Windows of the text, all shards together; null where there is no text. */
  readonly windows: number | null;
  readonly parts: RecipePart[];
}

/** What --json prints of one recipe. Where there is one task, its figures stand here too. */
export interface RecipeFigures
  extends Partial<Perplexity>,
    Partial<Pick<TaskFigures, 'acc' | 'acc_norm' | 'stderr' | 'n'>> {
  readonly recipe: string;
  readonly bytes: number;
  readonly stateBytes: number;
  /** Tokens per second, medians: a prompt of 128 tokens, and tokens one by one. Absent where they were not measured. */
  readonly prefill?: number;
  readonly decode?: number;
  readonly tasks?: { [T in TaskName]?: TaskFigures };
}

/** What --json prints. */
export interface EvaluationFigures {
  readonly model: string;
  readonly backend: string;
  readonly text?: { readonly name: string; readonly window: number; readonly windows: number | null };
  /** `1/4` where it is a part of a run. */
  readonly shard?: string;
  readonly results: readonly RecipeFigures[];
}

/** The recipes are in the order of the settings. */
export function reportOf(partial: PartialResult): EvaluationFigures {
  const { model, backend, settings, shard, windows, parts } = partial;
  const { text } = settings;
  const measured = settings.recipes.flatMap(({ name }) => partOf(parts, name) ?? []);
  return {
    model,
    backend,
    ...(text && { text: { name: text.name, window: text.window, windows } }),
    ...(shard.count > 1 && { shard: shardWords(shard) }),
    results: measured.map(part => figuresOf(part, settings)),
  };
}

/** The figures of what is there. */
function figuresOf(part: RecipePart, { text, tasks }: Settings): RecipeFigures {
  const { recipe, bytes, stateBytes, speed, windows } = part;
  const scored = tasks.flatMap(({ task }) =>
    part.tasks[task]?.length ? [[task, taskFigures(part.tasks[task])] as const] : [],
  );
  const [[, only] = []] = tasks.length === 1 ? scored : [];
  return {
    recipe,
    ...(text && windows.length > 0 && perplexityOf(windows, text.window)),
    bytes,
    stateBytes,
    ...(speed.prefill.length > 0 && { prefill: median(speed.prefill), decode: median(speed.decode) }),
    ...(scored.length > 0 && { tasks: Object.fromEntries(scored) }),
    ...(only && { acc: only.acc, acc_norm: only.acc_norm, stderr: only.stderr, n: only.n }),
  };
}

/** @throws Error for what is no partial result, or one of another version. Only its outline is checked: it is our own file. */
export function parsePartial(value: unknown, where: string): PartialResult {
  if (!isObject(value) || value.format !== PARTIAL_FORMAT.format)
    throw new Error(`${where}: is not a partial result of quamba eval`);
  if (value.version !== PARTIAL_FORMAT.version)
    throw new Error(
      `${where}: format version ${show(value.version)} is not known; this quamba reads version ${PARTIAL_FORMAT.version}`,
    );
  object(value.settings, `${where}: settings`);
  object(value.shard, `${where}: shard`);
  array(value.parts, `${where}: parts`);
  return value as unknown as PartialResult;
}

/** The first setting in which two runs differ, in words, or undefined. */
export function difference(a: Settings, b: Settings): string | undefined {
  for (const [what, of] of COMPARED)
    if (of(a) !== of(b)) return `${what}: ${show(of(a))} there, ${show(of(b))} here`;
  const scheme = a.recipes.find(
    ({ scheme }, i) => JSON.stringify(scheme) !== JSON.stringify(b.recipes[i].scheme),
  );
  if (scheme) return `recipe ${plain(scheme.name)} is another one`;
  if (a.text?.sha256 !== b.text?.sha256)
    return `the text is another one (${plain(a.text?.name)} there, ${plain(b.text?.name)} here)`;
  const other = a.tasks.find(({ sha256 }, i) => sha256 !== b.tasks[i].sha256);
  return other && `the data of ${plain(other.task)} is another file`;
}

const COMPARED: readonly (readonly [what: string, of: (settings: Settings) => unknown])[] = [
  ['the recipes', ({ recipes }) => recipes.map(({ name }) => name).join(',')],
  ['a text', ({ text }) => text !== null],
  ['the window', ({ text }) => text?.window],
  ['the limit', ({ text }) => text?.limit],
  ['the tasks', ({ tasks }) => tasks.map(({ task, items }) => `${task} (${items} items)`).join(', ')],
];

/**
 * Joins the parts of a sharded run.
 *
 * @throws Error where one is missing, twice there, unfinished, or of another run. `names` are what errors call them.
 */
export function merge(
  partials: readonly PartialResult[],
  names: readonly string[] = partials.map((_, i) => `part ${i}`),
): PartialResult {
  const [first] = partials;
  const { count } = first.shard;
  for (const [i, { settings, shard, windows, parts }] of partials.entries()) {
    const differing = difference(first.settings, settings);
    if (differing) throw new Error(`${names[i]}: is of another run than ${names[0]}; ${differing}`);
    if (shard.count !== count)
      throw new Error(`${names[i]}: is one of ${shard.count} shards; ${names[0]} is one of ${count}`);
    const twin = partials.findIndex(other => other.shard.index === shard.index);
    if (twin < i) throw new Error(`${names[i]}: is shard ${shardWords(shard)}, as ${names[twin]} is`);
    if (windows !== first.windows)
      throw new Error(`${names[i]}: has a text of ${windows} windows; ${names[0]} one of ${first.windows}`);
    for (const part of parts) {
      const other = partOf(first.parts, part.recipe);
      if (other && other.identity !== part.identity)
        throw new Error(
          `${names[i]}: recipe ${plain(part.recipe)} is of another model, text or calibration than in ${names[0]}`,
        );
    }
  }
  const shards = new Set(partials.map(({ shard }) => shard.index));
  const missing = Array.from({ length: count }, (_, i) => i).filter(i => !shards.has(i));
  if (missing.length > 0) throw new Error(`expected all of ${count} shards; missing ${missing.join(', ')}`);

  for (const [i, partial] of partials.entries()) {
    const left = remaining(partial);
    if (left > 0)
      throw new Error(`${names[i]}: is not finished (${left} measurements are missing); run it again`);
  }
  const joined = first.settings.recipes.map(({ name }) =>
    join(partials.map(({ parts }) => partOf(parts, name)!)),
  );
  return { ...first, shard: { index: 0, count: 1 }, parts: joined };
}

export const partOf = (parts: readonly RecipePart[], name: string): RecipePart | undefined =>
  parts.find(({ recipe }) => recipe === name);

/** The order of windows, items and rounds is that of the parts. Figures do not depend on it. */
function join(parts: readonly RecipePart[]): RecipePart {
  const tasks = Object.keys(parts[0].tasks) as TaskName[];
  const joined = <T>(of: (part: RecipePart) => readonly T[] | undefined): T[] =>
    parts.flatMap(part => of(part) ?? []);
  return {
    ...parts[0],
    speed: { prefill: joined(({ speed }) => speed.prefill), decode: joined(({ speed }) => speed.decode) },
    windows: joined(({ windows }) => windows),
    tasks: Object.fromEntries(tasks.map(task => [task, joined(part => part.tasks[task])])),
  };
}

/** The indices that a shard measures, of `total`. */
export const ofShard = ({ index, count }: Shard, total: number): number[] =>
  Array.from({ length: Math.ceil(Math.max(total - index, 0) / count) }, (_, i) => index + i * count);

/** How many windows and items of a shard are still to be measured, all recipes together. */
export function remaining({ settings, shard, windows, parts }: PartialResult): number {
  const missing = (done: readonly Indexed[] = [], total: number) => {
    const there = indicesOf(done);
    return ofShard(shard, total).filter(index => !there.has(index)).length;
  };
  const left = settings.recipes.flatMap(({ name }) => {
    const part = partOf(parts, name);
    const ofText = missing(part?.windows, windows ?? 0);
    return [ofText, ...settings.tasks.map(({ task, items }) => missing(part?.tasks[task], items))];
  });
  return left.reduce((sum, n) => sum + n, 0);
}

type Indexed = { readonly index: number };
export const indicesOf = (list: readonly Indexed[]): ReadonlySet<number> =>
  new Set(list.map(({ index }) => index));
