/** The first page of the specification: the tables of ops, recipes, fused ops, backends and cases. */
import { backends } from '../../../src/backends/index.ts';
import { forms, keptAll } from '../../../src/conformance/forms.ts';
import { type AnyToy, hybridToys, planOfToy, toy2, toys } from '../../../src/conformance/toy.ts';
import type { Node } from '../../../src/graph.ts';
import { blockRoles, blockSites, roles, sites } from '../../../src/model/index.ts';
import type { AnyOp } from '../../../src/op.ts';
import { ops } from '../../../src/ops/index.ts';
import { patterns } from '../../../src/plan/fuse.ts';
import { recipes } from '../../../src/quant/recipes.ts';
import {
  type Recipe,
  type SiteAction,
  type StateScheme,
  siteAction,
  type WeightScheme,
  weightScheme,
} from '../../../src/quant/scheme.ts';
import { formsOf } from '../../../src/run.ts';
import { block, cell, code, list, page, row, section, table } from '../markdown.ts';
import { docComment } from './doc-comment.ts';

/** The text of a file of the project, by its path. */
type Read = (path: string) => string;

const allOps: readonly AnyOp[] = Object.values(ops);
/** `selective-scan/f16` is on the page of its op. */
const link = (form: string): string => `[${form}](${form.split('/')[0]}.md)`;

/** Some of all names, said in the shorter way. */
function among(some: readonly string[], all: readonly string[]): string {
  const others = all.filter(name => !some.includes(name));
  if (!others.length) return 'all';
  return some.length > others.length ? `all but ${list(others)}` : list(some) || '—';
}

/** The plans that a recipe makes of a small Mamba, of a small Mamba-2 and of small hybrids, in one. */
interface Plan {
  readonly name: string;
  readonly nodes: readonly Node[];
  /** The ops, and how their states are kept, by name. */
  readonly forms: ReadonlySet<string>;
}

export function indexPage(read: Read): string {
  const plans = Object.entries(recipes).map(([name, recipe]): Plan => {
    const programs = [toys()[0], toy2(), ...hybridToys()].map((toy: AnyToy) => planOfToy(toy, recipe));
    return {
      name,
      nodes: programs.flatMap(({ graph }) => graph.nodes),
      forms: new Set(programs.flatMap(program => [...formsOf(program).keys()])),
    };
  });
  const glossary = docComment(`${read('src/model/mamba.ts').split('\n * Weights keep')[0]}\n * Source -\n */`)
    .rest[0];
  return page([
    '# Specification',
    `What a backend computes: ${allOps.length} ops, each defined by one file of [src/ops](../../src/ops), whose reference is the
definition. These pages say the same in words that need no TypeScript: who follows them has the same bits. They are made from
those files by \`npm run spec\`; a test fails when they are stale. To start: [Write a backend in an afternoon](../write-a-backend.md).`,

    section(
      'How to read a page',
      `A signature such as \`f32[l, n]\` gives type and shape. The types are \`f32\`, \`i8\`, \`i32\`; the layout is row-major and dense,
the last axis contiguous. A letter has one value throughout a call; \`k-1\` is one less; a \`?\` marks what may be absent.
\`fround\` rounds to binary32, and every operation is rounded once ([Numerics](numerics.md)).`,
      glossary,
      `A call that breaks a type, a shape or a constraint is refused before any kernel sees it, in one sentence: \`linear: w
expected f32[o, i] with i=65; got f32[256, 64]\`. Constraints on values are found when these are read.`,
      `A kernel reads its inputs, writes every element of every output, and leaves each of its states as it is after the last token of
the call. It keeps nothing else. At the start of a text a state is zeros. Between two tokens a state is kept in f32, in f16, or in
int8 with a step for each run of its last axis, as the plan says: it is rounded after every token. Feeding tokens in any cut gives
the same bits as feeding them at once.`,
    ),
    section(
      'Ops',
      table(
        ['op', 'computes'],
        allOps.map(op => [link(op.name), cell(op.formula)]),
      ),
    ),
    section(
      'Recipes',
      `A recipe says what happens to weights and at sites, the named activations of the model
([scheme.ts](../../src/quant/scheme.ts)). Static scales are measured in calibration, dynamic ones for each token. A range is the
largest |x|, or the p-quantile of |x|, a moving average over samples with step σ.`,
      recipeTable(),
    ),
    section(
      'Fused ops',
      `A backend may run these nodes of a plan as one. A fused op is defined by the base ops that it replaces, in the order of the
plan, and has their bits; it must hold at least one quantize or dequantize ([fuse.ts](../../src/plan/fuse.ts)).`,
      table(
        ['fused op', 'may take along before', 'grows from', 'may take along after'],
        patterns.map(({ name, anchor, before, after }) => [
          code(name),
          before.map(link).join(', '),
          link(anchor),
          after.map(link).join(', '),
        ]),
      ),
    ),
    fragments(plans),
    section(
      'Backends',
      `What comes with the package, the two examples in other languages, and the recipes whose plans have the op. Yours is judged by
\`quamba conform\`.`,
      matrix(plans, read),
    ),
    section(
      'Cases',
      'Every case of the conformance suite has an address, which stays. `quamba conform --list` prints them all.',
      table(
        ['address', 'what it shows'],
        [
          ['op/OP/golden/CASE', 'the calls for which there are results of PyTorch'],
          ['op/OP/sweep/SIZES', 'sizes and attributes, with seeded values'],
          [
            'op/OP/width/SIZES',
            'the widths of mamba-130m … 2.8b and mamba2-130m … 2.7b with few rows, and more than 1,024 rows',
          ],
          [
            'op/OP/edge/CASE',
            'ties, saturation, zeros of both signs, every exponent, infinities, empty texts',
          ],
          ['alone/OP/CASE', 'a plan of one op, at these widths, zeros and exponents'],
          ['fused/NAME/CASE', 'a fused op gives what its base ops give one by one'],
          ['block/RECIPE/CASE', 'one layer'],
          ['plan/RECIPE/MODEL/CASE', 'whole models: small ones, and the one that comes with the package'],
          ['state/CASE, state/MODEL/CASE', 'texts in any cut, states that move between backends, forks'],
          ['determinism/CASE', 'the same bits again, and over thread counts'],
          ['hygiene/OP/CASE', 'inputs untouched, outputs written, nothing kept, nothing read past an end'],
          ['gate/perplexity/MODEL', 'a real text'],
        ].map(([address, shows]) => [code(address), shows]),
      ),
    ),
    section(
      'More',
      `- [Numerics](numerics.md): rounding, lanes, \`exp\`, \`exp2\`, \`log1p\`, \`softplus\`, \`silu\`, \`sin\`, \`cos\` with all constants, in C
- [Bounds](../bounds.md): how far a tolerant backend may be off, and why
- [The protocol](../conformance-protocol.md) for backends in other languages
- [ONNX](../onnx.md): how \`CausalConvWithState\` and \`LinearAttention\` of opset 27 map to these ops
- [Planted bugs](../planted-bugs.md): which case catches which mistake`,
    ),
  ]);
}

/** Who has which op: the backends of the package, the examples, and the plans that need it. */
function matrix(plans: readonly Plan[], read: Read): string {
  const kernelsIn = (path: string) =>
    [...read(path).matchAll(/^ {4}\{?"([\w-]+)"[,:] \w+\}?,$/gm)].map(([, name]) => name);
  const kernels: readonly (readonly [title: string, names: readonly string[]])[] = [
    ...Object.entries(backends).map(
      ([title, { kernelOf }]) =>
        [
          title,
          forms.filter(({ op, dtype }) => kernelOf(op, keptAll(op, { dtype }))).map(({ name }) => name),
        ] as const,
    ),
    ['[C](../../examples/backend-c)', kernelsIn('examples/backend-c/backend.c')],
    ['[Python](../../examples/backend-python)', kernelsIn('examples/backend-python/backend.py')],
  ];
  const names = plans.map(({ name }) => name);
  return table(
    ['op', ...kernels.map(([title]) => title), 'in the plans of'],
    forms.map(({ name }) => [
      link(name),
      ...kernels.map(([, has]) => (has.includes(name) ? '✓' : '—')),
      among(
        names.filter((_, i) => plans[i].forms.has(name)),
        names,
      ),
    ]),
  );
}

/** What fused nodes are made of in the plans of the small models, in the order of the plan. */
function fragments(plans: readonly Plan[]): string {
  const recipesOf = new Map<string, Set<string>>();
  for (const { name, nodes } of plans)
    for (const node of nodes) {
      if (node.kind !== 'fused') continue;
      const counts = new Map<string, number>();
      for (const { op } of node.body) counts.set(op.name, (counts.get(op.name) ?? 0) + 1);
      const body = [...counts]
        .map(([op, count]) => (count > 1 ? `${count} × ${link(op)}` : link(op)))
        .join(' → ');
      const key = row([code(node.name), body]);
      recipesOf.set(key, (recipesOf.get(key) ?? new Set<string>()).add(name));
    }
  const rows = [...recipesOf]
    .map(
      ([key, names]) =>
        `${key} ${among(
          [...names],
          plans.map(({ name }) => name),
        )} |`,
    )
    .sort();
  return block([
    'In the plans of the recipes they are:',
    [row(['fused op', 'base ops', 'recipes']), row(['---', '---', '---']), ...rows].join('\n'),
  ]);
}

/** The recipes in words: what most sites do, and those that differ. */
function recipeTable(): string {
  const inWords = ({ basis, quantize }: SiteAction) => {
    const named = { none: '', hadamard: 'Hadamard', channels: 'a scale by channel' };
    const turned =
      typeof basis !== 'object'
        ? named[basis]
        : 'smooth' in basis
          ? `smooth(${basis.smooth})`
          : `a scale by ${basis.channels} channels`;
    const { range, when } = quantize ?? {};
    const of = typeof range === 'object' ? ` p = ${range.percentile}, σ = ${range.ema}` : '';
    return [turned, quantize && `int8 ${when}${of}`].filter(Boolean).join(' · ') || 'float';
  };
  const weightInWords = (scheme: WeightScheme | undefined) => {
    if (!scheme) return 'float';
    const { bits, per, rounding } = scheme;
    const by = { nearest: ', each to the nearest', gptq: ', by GPTQ' };
    const group = typeof per === 'object' ? `group of ${per.group}` : per;
    return `int${bits} per ${group}${rounding ? by[rounding] : ''}`;
  };
  const stateInWords = ({ bits, when = 'static' }: StateScheme) =>
    bits === 16 ? 'in f16' : `int8 ${when}, a step for each row`;
  const group = (names: readonly string[], words: (name: string) => string) => {
    const by = new Map<string, string[]>();
    for (const name of names) by.set(words(name), [...(by.get(words(name)) ?? []), name]);
    return [...by].sort(([, a], [, b]) => b.length - a.length);
  };
  /** The words of most names, then the others with their names. */
  const summary = (names: readonly string[], words: (name: string) => string) => {
    const [[most], ...others] = group(names, words);
    return [most, others.map(([other, which]) => `${list(which)} ${other}`).join('; ') || ''];
  };
  return table(
    ['recipe', 'weights of a block', 'embedding, head', 'sites of a block', 'but'],
    Object.entries<Recipe>(recipes).map(([name, recipe]) => {
      const role = (word: string) => weightInWords(weightScheme(recipe, word));
      const site = (word: string) => inWords(siteAction(recipe, word));
      const outer = roles.filter(word => !(blockRoles as readonly string[]).includes(word));
      const [most, but] = summary(blockSites, site);
      const head = sites.filter(
        word => !(blockSites as readonly string[]).includes(word) && site(word) !== 'float',
      );
      return [
        code(name),
        summary(blockRoles, role).filter(Boolean).join('; '),
        summary(outer, role).filter(Boolean).join('; '),
        most,
        [
          but,
          ...head.map(word => `${code(word)} ${site(word)}`),
          ...Object.entries(recipe.weightsIn ?? {}).map(
            ([word, weights]) => `${weightInWords(weights)} in layers ${code(word)}`,
          ),
          recipe.residual && 'the residual stream Hadamard',
          ...Object.entries(recipe.states ?? {}).map(
            ([word, state]) => `the state ${code(word)} ${stateInWords(state)}`,
          ),
        ]
          .filter(Boolean)
          .join('; '),
      ];
    }),
  );
}
