/**
 * Runs cases and collects the results. Every form of report is made from this value.
 *
 *   runAll(cases) → Run      { ...about, ...run } → Report      terminal here, html.ts, junit.ts, markdown.ts
 */
import { groupBy } from '../../group-by.ts';
import { align } from '../../plan/render.ts';
import { type Case, OUTCOMES, type Outcome, type Profile, type Verdict } from '../case.ts';

export interface Result extends Verdict {
  readonly address: string;
  readonly says: string;
  /** Why the case is expected to fail, where it is. */
  readonly xfail?: string;
}

/** A failure that was expected is in `expectedFailures` and nowhere else. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly unsupported: number;
  readonly skipped: number;
  readonly errors: number;
  readonly expectedFailures: number;
}

export interface Run {
  readonly results: readonly Result[];
  readonly milliseconds: number;
}

/** What was judged, how and where. */
export interface About {
  /** The name that was asked for: `wasm`, `exec:./backend`. */
  readonly backend: string;
  readonly profile: Profile;
  /** The command that runs one case again, when an address is added. */
  readonly replay: string;
  /** What the run used (versions, hardware), in words, by topic. */
  readonly environment: Readonly<Record<string, string>>;
}

export type Report = About & Run;

/**
 * Runs the cases one after the other. `onCase` receives each result, and the number of cases done.
 *
 * `xfails` are the cases that are expected to fail, with the reason. They count as failures, but the run does not fail by them.
 */
export function runAll(
  cases: readonly Case[],
  onCase: (result: Result, done: number) => void = () => {},
  xfails: ReadonlyMap<string, string> = new Map(),
): Run {
  const begin = performance.now();
  const results = cases.map(({ address, says, run }, i) => {
    const xfail = xfails.get(address);
    const result = { address, says, ...believed(run()), ...(xfail === undefined ? {} : { xfail }) };
    onCase(result, i + 1);
    return result;
  });
  return { results, milliseconds: performance.now() - begin };
}

/** A case whose error is not a number does not pass. */
const believed = (verdict: Verdict): Verdict =>
  Number.isNaN(verdict.worst ?? 0) && verdict.outcome === 'pass'
    ? { ...verdict, outcome: 'fail', reason: 'its worst error is NaN', worst: Number.POSITIVE_INFINITY }
    : verdict;

const isBad = ({ outcome }: Result): boolean => outcome === 'fail' || outcome === 'error';
/** A failure that was not expected. */
export const isFailure = (result: Result): boolean => isBad(result) && result.xfail === undefined;
export const isExpectedFailure = (result: Result): boolean => isBad(result) && result.xfail !== undefined;
export const isUnexpectedPass = ({ outcome, xfail }: Result): boolean =>
  outcome === 'pass' && xfail !== undefined;

/** How many of the results have this outcome. */
export const countOf = (results: readonly Result[], of: Outcome): number =>
  results.filter(({ outcome }) => outcome === of).length;

export function countsOf({ results }: Run): Counts {
  const counted = results.filter(result => !isExpectedFailure(result));
  return {
    passed: countOf(counted, 'pass'),
    failed: countOf(counted, 'fail'),
    unsupported: countOf(counted, 'unsupported'),
    skipped: countOf(counted, 'skipped'),
    errors: countOf(counted, 'error'),
    expectedFailures: results.length - counted.length,
  };
}

/** The conclusion of a run. A run in which nothing was judged is no success. */
export function conclusion(run: Run): { readonly ok: boolean; readonly says: string } {
  const { passed, failed, unsupported, skipped, errors, expectedFailures } = countsOf(run);
  const listed = (...parts: readonly (readonly [number, string])[]): string =>
    parts.flatMap(([n, words]) => (n ? [`${n} ${words}`] : [])).join(', ');
  const untried = listed(
    [expectedFailures, 'expected to fail'],
    [unsupported, 'unsupported'],
    [skipped, 'skipped'],
  );
  const tail = untried && `; ${untried}`;
  if (run.results.length === 0) return { ok: false, says: 'FAILED: there was no case to run' };
  if (passed + failed + errors + expectedFailures === 0)
    return { ok: false, says: `FAILED: nothing was judged${tail}` };
  const judged = listed([failed, 'failed'], [errors, 'ended in an error'], [passed, 'passed']);
  const ok = failed + errors === 0;
  return { ok, says: `${ok ? 'PASSED' : 'FAILED'}: ${judged || 'nothing but what was expected'}${tail}` };
}

/** One line of a table: an op, or a part of the suite that takes several; and the family, for an op. */
export interface Place {
  readonly row: string;
  readonly family: string;
  readonly isOp: boolean;
}

/** `op/fwht/golden/basic` → fwht, golden; `plan/quamba/toy/feed-64` → plan/quamba, toy; `state/fork` → state, fork. */
export function placeOf(address: string): Place {
  const [first, second, third = ''] = address.split('/');
  if (first === 'op') return { row: second, family: third, isOp: true };
  if (first === 'hygiene') return { row: second, family: first, isOp: true };
  return { row: third ? `${first}/${second}` : first, family: third || second, isOp: false };
}

/** The results of each line of a table. */
export const byRow = (results: readonly Result[]): (readonly [row: string, results: readonly Result[]])[] => [
  ...groupBy(results, ({ address }) => placeOf(address).row),
];

/** The outcomes that occur. */
export const outcomesOf = (results: readonly Result[]): readonly Outcome[] =>
  OUTCOMES.filter(outcome => countOf(results, outcome) > 0);

/** The largest error in units of its bound; undefined where none was measured. */
export const largestError = (results: readonly Result[]): number | undefined =>
  results.reduce<number | undefined>(
    (most, { worst }) => (worst === undefined || (most !== undefined && !(worst > most)) ? most : worst),
    undefined,
  );

/** A number in few letters: `0`, `0.37`, `1.4e+3`, `−0`, `NaN`. */
export const short = (x: number): string =>
  Object.is(x, -0)
    ? '-0'
    : Number.isInteger(x) && Math.abs(x) < 1e6
      ? String(x)
      : String(Number(x.toPrecision(3)));

/** The largest error in a table; nothing in the exact profile, in which no error is allowed. */
export function errorOf(results: readonly Result[], profile: Profile): string {
  const worst = largestError(results);
  return worst === undefined || profile === 'exact' ? '' : short(worst);
}

/** An f32 with enough digits to tell it from its neighbours. */
export const value = (x: number): string => (Object.is(x, -0) ? '-0' : String(Number(x.toPrecision(9))));

/** A failure in lines: what is wrong, where, by how much, and how far it may be off. */
export function explain({ reason, mismatch }: Result): readonly string[] {
  if (!mismatch) return [reason ?? NO_REASON];
  const { tensor, shape, index, expected, got, ulp, bound, formula, wrong, of } = mismatch;
  if (index.length === 0 && Number.isNaN(expected)) return [`${tensor}: ${formula}`]; // of another type or shape
  const shown = `[${shape.join(', ')}]`;
  if (index.length === 0)
    return [
      `${tensor} of the shape ${shown} is off on the whole by ${short(got)}`,
      `bound ${short(bound)}: ${formula}`,
    ];
  const distance = Number.isFinite(ulp)
    ? `${short(ulp)} ulp, off by ${short(Math.abs(got - expected))}`
    : 'no distance';
  return [
    `${tensor} has the shape ${shown}; ${wrong} of ${of} values are wrong, first at [${index.join(', ')}]`,
    `expected ${value(expected)}, got ${value(got)}: ${distance}`,
    `bound ${short(bound)}: ${formula}`,
  ];
}

/** A word for a shell, quoted if it must be. */
export const shellWord = (word: string): string =>
  /^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;

export const replayOf = ({ replay }: About, { address }: Result): string =>
  `${replay} --case ${shellWord(address)}`;

/** Failures that the terminal shows in full. */
const SHOWN = 20;

/** The report for a terminal: a table, each failure, and what was not tried. */
export function renderText(report: Report): string {
  const { results, environment } = report;
  const failures = results.filter(isFailure);
  const details = failures
    .slice(0, SHOWN)
    .map(result =>
      [
        `${result.outcome.toUpperCase()} ${result.address}`,
        ...[result.says, ...explain(result), replayOf(report, result)].map(line => `  ${line}`),
      ].join('\n'),
    );
  if (failures.length > SHOWN)
    details.push(`and ${failures.length - SHOWN} more; --json, --html and --junit have them all`);
  const untried = reasons(results).map(
    ([outcome, count, reason]) => `${outcome}  ${count} ${count === 1 ? 'case' : 'cases'}: ${reason}`,
  );
  const surprises = results
    .filter(isUnexpectedPass)
    .map(({ address, xfail }) => `passed, though expected to fail (${xfail}): ${address}`);
  const known = results
    .filter(isExpectedFailure)
    .map(({ address, xfail }) => `failed as expected (${xfail}): ${address}`);
  return [
    `${report.backend}, profile ${report.profile}`,
    align(Object.entries(environment)),
    results.length ? align(table(report)) : '',
    ...details,
    untried.join('\n'),
    [...known, ...surprises].join('\n'),
    `${conclusion(report).says} (${(report.milliseconds / 1000).toFixed(1)} s)`,
  ]
    .filter(text => text !== '')
    .join('\n\n');
}

/** Why cases were not tried, each reason with its number of cases, the most frequent first. */
export const reasons = (results: readonly Result[]): readonly (readonly [Outcome, number, string])[] =>
  (['unsupported', 'skipped'] as const).flatMap(kind => {
    const untried = results.filter(({ outcome }) => outcome === kind);
    return [...groupBy(untried, ({ reason }) => reason ?? NO_REASON)]
      .map(([reason, group]) => [kind, group.length, reason] as const)
      .sort(([, a], [, b]) => b - a);
  });
const NO_REASON = 'no reason was given';

/** A line for each op and part, a column for each outcome that occurs. */
function table({ results, profile }: Report): readonly (readonly string[])[] {
  const columns = outcomesOf(results);
  const lines = [...byRow(results), ['all', results] as const].map(([name, group]) => {
    const counts = columns.map(column => String(countOf(group, column) || '·'));
    return [name, ...counts, errorOf(group, profile)];
  });
  return [['', ...columns, 'worst error / bound'], ...lines];
}

/** JSON has no NaN, no infinity and no −0, so they are written as strings. */
export const toJson = (whole: unknown, indent = 0): string =>
  JSON.stringify(
    whole,
    (_, x) => (typeof x === 'number' && (!Number.isFinite(x) || Object.is(x, -0)) ? value(x) : x),
    indent,
  );

/** One JSON object, in one line: the counts, what it ran on, and every case. */
export function renderJson(report: Report): string {
  const { results, ...about } = report;
  const { ok, says } = conclusion(report);
  const cases = results.map(result =>
    isFailure(result) ? { ...result, replay: replayOf(report, result) } : result,
  );
  return toJson({ ok, says, ...countsOf(report), ...about, cases });
}
