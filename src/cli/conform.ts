/** `quamba conform`: whether a backend computes Quamba, op by op and whole. */
import { cpus } from 'node:os';
import { type Command, InvalidArgumentError } from 'commander';
import { backendNames } from '../backends/node.ts';
import { best } from '../backends/wasm/variants.ts';
import { brokenBackends } from '../conformance/broken/index.ts';
import type { Case } from '../conformance/case.ts';
import { embeddedModels, goldens, goldensHash } from '../conformance/goldens.ts';
import { renderHtml } from '../conformance/report/html.ts';
import { renderJUnit } from '../conformance/report/junit.ts';
import { renderMarkdown } from '../conformance/report/markdown.ts';
import {
  type About,
  conclusion,
  isFailure,
  type Report,
  renderJson,
  renderText,
  runAll,
  shellWord,
} from '../conformance/report/report.ts';
import { conformance } from '../conformance/suite.ts';
import { writeFileAtomic } from '../formats/disk.ts';
import { align } from '../plan/render.ts';
import { command, type OptionsOf, option, refuse } from './command.ts';
import { openJudged } from './conform-backend.ts';
import { dump, emit } from './conform-files.ts';
import { jsonOption, outFile, outFolder } from './options.ts';
import { print, printAs, progressLine, readGiven, tell, UsageError } from './terminal.ts';
import { integer, positive } from './values.ts';
import { version } from './version.ts';

const threadCounts = (text: string): number[] =>
  text.split(',').map(part => {
    const n = Number(part);
    const expected = 'expected thread counts separated by commas, such as 1,2';
    if (!Number.isSafeInteger(n) || n < 1) throw new InvalidArgumentError(`${expected}; got '${text}'`);
    return n;
  });
const collect = (text: string, before: readonly string[] = []): string[] => [...before, text];

const OPTIONS = [
  option(
    '--backend <name>',
    `${backendNames.join(', ')}, ./module.mjs, exec:COMMAND (docs/conformance-protocol.md), or broken:NAME`,
    String,
    'wasm',
  ),
  option(
    '--profile <name>',
    "exact: the reference's bits; tolerant: within bounds derived from the work",
    ['exact', 'tolerant'],
    'exact',
  ),
  option('--quick', 'the cases that are quick, instead of all'),
  option(
    '--threads <counts>',
    'thread counts of whole models, for a backend that has threads',
    threadCounts,
    [1, 2],
  ),
  option('--seed <n>', 'of the values in sweeps', integer, 1),
  option(
    '--filter <text>',
    'only addresses that hold this text, or match it where it has a *; repeatable',
    collect,
  ),
  option('--case <address>', 'one case'),
  option('--list', 'print the cases instead of running them'),
  option('--list-broken', 'print the planted bugs, each a backend broken:NAME'),
  option('--xfails <file>', 'cases that are expected to fail: an address and the reason in each line'),
  option('--timeout <seconds>', 'that exec:COMMAND may take for one call', positive, 30),
  outFolder('--dump <dir>', 'write what failing cases were made of: inputs, expected, got, bounds'),
  outFolder('--emit <dir>', 'write the calls of all ops as safetensors and JSON, instead of running them'),
  jsonOption,
  outFile('--junit <file>', 'write the report as JUnit XML'),
  outFile('--html <file>', 'write the report as a page'),
  outFile('--md <file>', 'write the report as Markdown'),
] as const;

export const conformCommand = command(
  'conform',
  'Judges a backend: runs the conformance suite against it and reports case by case.',
  OPTIONS,
  `
Exit code 0 where all that was judged passed; 1 where something failed or nothing was judged; 2 where nothing could run.
What a backend does not have is unsupported, and no pass.

Examples:
  quamba conform --backend wasm --quick
  quamba conform --backend ./mine.mjs --filter 'op/quantize/*' --html report.html
  quamba conform --backend "exec:python3 backend.py" --profile tolerant
  quamba conform --backend exec:./backend --case op/quantize/golden/ties --dump failing
  quamba conform --emit vectors`,
).action(conform);

type Options = OptionsOf<typeof OPTIONS>;

/** What judging writes and reads. */
const OF_JUDGING = ['--xfails', '--dump', '--junit', '--html', '--md'];
const OF_SELECTING = ['--quick', '--filter'];

async function conform(options: Options, self: Command): Promise<void> {
  if (options.listBroken) {
    const all = self.options.map(({ long }) => long!);
    refuse(
      self,
      all.filter(flag => !['--list-broken', '--json'].includes(flag)),
      'with --list-broken',
    );
    return listBroken(options);
  }
  if (options.list) refuse(self, ['--emit', ...OF_JUDGING], 'with --list');
  if (options.emit !== undefined) refuse(self, OF_JUDGING, 'with --emit');
  if (options.case !== undefined) refuse(self, OF_SELECTING, 'with --case');
  if (!options.backend.startsWith('exec:')) refuse(self, ['--timeout'], 'without --backend exec:COMMAND');
  const judged = notEndedBy(options.backend);
  try {
    await judge(options);
  } finally {
    judged();
  }
}

/** A module that is judged runs in this process. Where it ends it, with whatever code, that is no pass. @returns what is called at the end */
function notEndedBy(backend: string): () => void {
  const ended = () => {
    tell(`quamba: --backend ${backend}: ended the process before it was judged`);
    process.exitCode = 2;
  };
  process.once('exit', ended);
  return () => void process.removeListener('exit', ended);
}

async function judge(options: Options): Promise<void> {
  const { backend, device, dispose } = await openJudged(options.backend, 1000 * options.timeout);
  try {
    const { profile, seed, threads, json } = options;
    const given = { goldens: goldens(), models: embeddedModels() };
    const all = conformance(backend, { profile, seed, threads, ...given });
    const cases = select(all, options);
    if (options.list) return list(cases, json);
    if (options.emit !== undefined) return await emitTo(options.emit, cases, options);
    const xfails = options.xfails === undefined ? undefined : readXfails(options.xfails, all);
    const about = aboutOf(options, device);
    const line = progressLine(backend.name);
    const byAddress = new Map(cases.map(c => [c.address, c]));
    const run = runAll(
      cases,
      (result, done) => {
        line(done, cases.length);
        if (options.dump !== undefined && isFailure(result))
          dump(options.dump, backend, byAddress.get(result.address)!, result, about);
      },
      xfails,
    );
    await give({ ...about, ...run }, options);
  } finally {
    dispose();
  }
}

/** Prints and writes every form of the report that was asked for. */
async function give(report: Report, { json, junit, html, md }: Options): Promise<void> {
  print(json ? renderJson(report) : renderText(report));
  if (!conclusion(report).ok) process.exitCode = 1;
  // biome-ignore format: a table
  const forms = [[junit, renderJUnit], [html, renderHtml], [md, renderMarkdown]] as const;
  for (const [path, renderAs] of forms)
    if (path !== undefined) await writeFileAtomic(path, [new TextEncoder().encode(renderAs(report))]);
}

function select(all: readonly Case[], { quick, filter, case: address }: Options): readonly Case[] {
  if (address !== undefined) {
    const found = all.filter(c => c.address === address);
    if (found.length === 0)
      throw new UsageError(`--case ${address}: there is no such case; --list shows them`);
    return found;
  }
  const matches = (filter ?? ['']).map(matcher);
  return all.filter(c => (!quick || c.quick) && matches.some(match => match(c.address)));
}

/** A filter with a star matches a whole address (`op/fwht/*`); one without a star matches a part of it. */
function matcher(filter: string): (address: string) => boolean {
  if (!filter.includes('*')) return address => address.includes(filter);
  const pattern = filter
    .split('*')
    .map(text => text.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
    .join('.*');
  return address => new RegExp(`^${pattern}$`).test(address);
}

function list(cases: readonly Case[], json?: boolean): void {
  const listed = cases.map(({ address, says, ops, quick }) => ({ address, says, ops, quick }));
  const rows = listed.map(({ address, says }) => [address, says]);
  printAs(json, { cases: listed }, () => align([['address', 'what it shows'], ...rows]));
}

function listBroken({ json }: Options): void {
  const named = brokenBackends.map(({ name, says }) => ({ name, says }));
  const rows = named.map(({ name, says }) => [name, says]);
  printAs(json, { broken: named }, () => align([['name', 'what is wrong'], ...rows]));
}

async function emitTo(folder: string, cases: readonly Case[], options: Options): Promise<void> {
  const { suite, goldens: hash } = environmentOf();
  const about = { suite, goldens: hash, seed: options.seed };
  const written = await emit(folder, cases, about, progressLine('writing call'));
  const words = () => `${folder}: ${written} calls, and index.json`;
  printAs(options.json, { folder, cases: written }, words);
}

/** Each line has an address and a reason. Empty lines and lines that begin with # are skipped. */
function readXfails(path: string, all: readonly Case[]): ReadonlyMap<string, string> {
  const text = new TextDecoder().decode(readGiven(path, { name: `--xfails ${path}` }));
  const known = new Set(all.map(({ address }) => address));
  return new Map(
    text.split(/\r?\n/).flatMap((line, i) => {
      const [, address, reason] = /^\s*([^\s#]\S*)\s*(.*?)\s*$/.exec(line) ?? [];
      if (address === undefined) return [];
      const where = `${path}:${i + 1}`;
      if (!known.has(address)) throw new UsageError(`${where}: there is no case ${address}`);
      if (reason === '') throw new UsageError(`${where}: ${address} expected a reason after the address`);
      return [[address, reason] as const];
    }),
  );
}

function aboutOf({ backend, profile, seed, threads }: Options, device?: string): About {
  const replay = ['quamba', 'conform', '--backend', backend, '--profile', profile];
  if (seed !== 1) replay.push('--seed', String(seed));
  if (String(threads) !== '1,2') replay.push('--threads', String(threads));
  const kernels = device ?? (backend === 'wasm' ? (best()?.name ?? 'none') : undefined);
  return { backend, profile, replay: replay.map(shellWord).join(' '), environment: environmentOf(kernels) };
}

const environmentOf = (kernels?: string) => ({
  suite: version,
  goldens: goldensHash().slice(0, 16),
  node: process.version,
  engine: `V8 ${process.versions.v8}`,
  platform: `${process.platform} ${process.arch}`,
  cpu: cpus()[0]?.model.trim() ?? 'unknown',
  ...(kernels !== undefined && { kernels }),
});
