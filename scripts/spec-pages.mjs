/**
 * The specification as pages: `docs/spec/`, from the op files, their doc comments, the tables of recipes and fused ops, the
 * goldens and the conformance suite. It reads and writes nothing: scripts/spec.mjs gives it the built package,
 * test/docs/spec.test.ts the sources.
 */
import { numericsPage } from './spec-numerics.mjs';

/**
 * @param library the modules: ops, bind, factor, recipes, siteAction, weightScheme, sites, roles, patterns, backends,
 *   goldens, conformance, tolerances, toys, planOfToy, opsOf
 * @param read the text of a file of the project, by its path
 * @returns the pages by their names
 */
export function specPages(library, read) {
  const ops = Object.entries(library.ops);
  const cases = library.conformance(library.backends.reference, { goldens: library.goldens });
  const pages = ops.map(([key, op]) => [`${op.name}.md`, opPage(library, key, op, cases, read)]);
  return new Map([
    ['index.md', indexPage(library, read)],
    ['numerics.md', numericsPage(read('src/ops/numerics.ts'))],
    ...pages,
  ]);
}

const cell = text => text.replaceAll('|', '\\|');
const row = cells => `| ${cells.join(' | ')} |`;
const table = (head, rows) => [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n');
/** Some of all names, said in the shorter way. */
function among(some, all) {
  const others = all.filter(name => !some.includes(name));
  if (!others.length) return 'all';
  return some.length > others.length ? `all but ${list(others)}` : list(some) || '—';
}
const link = op => `[${op}](${op}.md)`;
const code = text => `\`${text}\``;
const fenced = text => `\`\`\`text\n${text}\n\`\`\``;
const list = names => names.map(code).join(', ');
/** Joins what is there, one empty line between. */
const page = parts => `${parts.filter(Boolean).join('\n\n')}\n`;
const section = (title, ...parts) => parts.some(Boolean) && page([`## ${title}`, ...parts]).trimEnd();

const WORDS = ['Shapes', 'State', 'Numerics', 'Errors', 'Example', 'Source'];

/** The first doc comment of a file: what stands before its sections, and each section by its word. */
export function docComment(source) {
  const [, comment] = /\/\*\*\n([\s\S]*?)\n \*\//.exec(source);
  const lines = comment.split('\n').map(line => line.replace(/^ \* ?/, ''));
  const starts = line => WORDS.find(word => line.startsWith(`${word} `));
  const first = lines.findIndex(starts);
  const sections = {};
  let current;
  for (const line of lines.slice(first)) {
    current = starts(line) ?? current;
    (sections[current] ??= []).push(line.slice(9));
  }
  const [summary, ...rest] = paragraphs(lines.slice(0, first));
  return { summary, rest, ...sections };
}

/** Lines as Markdown blocks: indented ones as they stand, others as text. */
function paragraphs(lines) {
  const blocks = [];
  for (const line of lines) {
    const kind = line === '' ? undefined : line.startsWith('  ') ? 'picture' : 'text';
    const last = blocks.at(-1);
    if (last?.kind === kind || (last?.kind === 'picture' && kind === undefined)) last.lines.push(line);
    else blocks.push({ kind, lines: [line] });
  }
  return blocks.flatMap(({ kind, lines: block }) => {
    if (kind === undefined) return [];
    if (kind === 'text') return [block.join('\n')];
    const indent = Math.min(...block.filter(Boolean).map(line => /^ */.exec(line)[0].length));
    return [
      fenced(
        block
          .map(line => line.slice(indent))
          .join('\n')
          .trimEnd(),
      ),
    ];
  });
}
const prose = lines => lines && page(paragraphs(lines)).trimEnd();
/** As sentences of their own, with a link to what they name. */
const sentences = lines => {
  const text = prose(lines)?.replaceAll(/(of|by) numerics\.ts/g, '$1 [Numerics](numerics.md)');
  const first = /^[a-z]{2,}\b(?! =| \w+\[|[./-])/.test(text ?? '') ? text[0].toUpperCase() : text?.[0]; // a name keeps its case
  return text && `${first}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
};
/** Shapes that say more than the signatures. */
function remarks(op, lines) {
  const names = [...Object.keys(op.inputs), ...Object.keys(op.outputs)].join('|');
  const known = new RegExp(`\\b(?:${names})\\b|\\b(?:f32|i8|i32)\\[[^\\]]*\\]|or absent`, 'g');
  return /[a-z]/.test(lines.join(' ').replace(known, '')) && sentences(lines);
}

function opPage(library, key, op, cases, read) {
  const file = `src/ops/${op.name}.ts`;
  const { summary, rest, Shapes, State, Numerics, Errors, Example, Source } = docComment(read(file));
  return page([
    `# ${op.name}`,
    summary,
    ...rest,
    section('Inputs and outputs', signatures(op), remarks(op, Shapes)),
    section('Attributes', attributes(op)),
    section('State', sentences(State)),
    section('Numerics', sentences(Numerics), lanes(Numerics), matrices(library, op)),
    section('Errors', errors(op, Errors)),
    section('Tolerance', tolerance(library, op)),
    section('Example', `\`\`\`js\n${Example.join('\n')}\n\`\`\``),
    section('Cases', caseTables(op, cases)),
    section('Source', sentences(Source), `Defined by [${file}](../../${file}) (\`ops.${key}\`).`),
    '---\n[All ops](index.md) · made by `npm run spec`; do not edit',
  ]);
}

const lanes = lines => /\blanes\b/.test(lines.join(' ')) && 'How lanes add up: [Numerics](numerics.md#sums).';

/** `f32[d, k-1]?` → type, shape, whether it may be absent. */
function signatures(op) {
  const rows = (kind, tensors) =>
    Object.entries(tensors).map(([name, signature]) => {
      const [, dtype, shape, optional] = /^(\w+)(\[.*\])(\??)$/.exec(signature);
      return [kind, code(name), code(dtype), code(shape), optional ? 'may be absent' : ''];
    });
  return table(['', 'name', 'type', 'shape', ''], [...rows('in', op.inputs), ...rows('out', op.outputs)]);
}

const attributes = op =>
  Object.keys(op.attrs).length &&
  table(
    ['name', 'type', 'default'],
    Object.entries(op.attrs).map(([name, value]) => [code(name), typeof value, code(small(value))]),
  );

const small = value => (value > 0 && value < 1e-3 ? value.toExponential() : value);

/** The numbered constraints: those of the definition, then those on values, which only the comment and the kernel know. */
function errors(op, lines) {
  const named = [...lines.join(' ').matchAll(/(C\d+) ((?!…)[^,].*?)(?=, C\d|$)/g)];
  const onValues = named.filter(([, label]) => !(label in op.constraints));
  const rows = [
    ...Object.entries(op.constraints).map(([label, [text]]) => [label, cell(text)]),
    ...onValues.map(([, label, text]) => [label, `${cell(text)}, found when the values are read`]),
  ];
  return rows.length ? table(['', 'must hold'], rows) : 'None beyond the types and shapes above.';
}

/** The base matrices of the Hadamard transform, where an op uses them. */
function matrices({ factor }, op) {
  if (op.name !== 'fwht') return undefined;
  const signs = base => base.map(values => values.map(sign => (sign > 0 ? '+' : '−')).join(' ')).join('\n');
  return [12, 20, 28]
    .map(K => `M_${K}, row i and column j from the top left:\n\n${fenced(signs(factor(K).base))}`)
    .join('\n\n');
}

/** The formulas of an op's stored calls, each once. */
function tolerance({ goldens, bind, tolerances }, op) {
  const found = new Map(Object.keys(op.outputs).map(output => [output, new Set()]));
  for (const golden of goldens.filter(({ op: name }) => name === op.name)) {
    const { inputs, attrs } = golden.read();
    const call = bind(op, inputs, attrs);
    op.reference(call.inputs, call.attrs, call.outputs, call.dims);
    for (const [output, { formula }] of Object.entries(tolerances(op, call, call.outputs)))
      found.get(output).add(formula);
  }
  const rows = [...found].flatMap(([output, formulas]) =>
    [...formulas].map(formula => [code(output), cell(formula)]),
  );
  return page([
    'In the `exact` profile: the bits of the reference. In `tolerant` ([why](../bounds.md)), with u = 2⁻²⁴ and τ = 2⁻¹²⁶:',
    table(['output', 'each element may be off by'], rows),
  ]).trimEnd();
}

/** Cases by what they are for: the names of those that share it, which follow `prefix`, or their whole addresses. */
function reasons(cases, prefix) {
  const by = new Map();
  for (const { address, says } of cases) {
    const name = address.startsWith(prefix) ? address.slice(prefix.length) : address;
    by.set(says, [...(by.get(says) ?? []), name]);
  }
  const byNumber = (a, b) => a.localeCompare(b, 'en', { numeric: true });
  return table(
    ['case', 'what for'],
    [...by].map(([says, names]) => [list(names.sort(byNumber)), cell(says)]),
  );
}

function caseTables(op, cases) {
  const alone = cases.filter(({ ops }) => ops.length === 1 && ops[0] === op.name);
  const family = name => `op/${op.name}/${name}/`;
  const within = name => alone.filter(({ address }) => address.startsWith(family(name)));
  const [stored, sweeps] = [within('golden'), within('sweep')];
  const rest = alone.filter(made => !stored.includes(made) && !sweeps.includes(made));
  const sizes = Object.entries(op.sweep).map(([letter, values]) => `${code(letter)} ${values.join(', ')}`);
  return page([
    `Stored calls, with PyTorch's results, in [golden/${op.name}](../../golden/${op.name}); addresses ${code(`${family('golden')}CASE`)}:`,
    reasons(stored, family('golden')),
    rest.length && `Calls that are made; addresses ${code(`${family('edge')}CASE`)}, or as they stand:`,
    rest.length && reasons(rest, family('edge')),
    `And ${sweeps.length} sizes, ${code(sweeps[0].address)} to ${code(sweeps.at(-1).address)}: every combination of
${sizes.join(' · ')}, and sizes next to the tiles that kernels are made of.`,
    `One case alone: \`quamba conform --backend … --case ${alone[0].address}\`.`,
  ]).trimEnd();
}

function indexPage(library, read) {
  const all = Object.values(library.ops);
  const plans = Object.entries(library.recipes).map(([name, recipe]) => {
    const program = library.planOfToy(library.toys()[0], recipe);
    return { name, nodes: program.graph.nodes, ops: new Set([...library.opsOf(program)].map(op => op.name)) };
  });
  const glossary = docComment(`${read('src/model/mamba.ts').split('\n * Weights keep')[0]}\n * Source -\n */`)
    .rest[0];
  return page([
    '# Specification',
    `What a backend computes: ${all.length} ops, each defined by one file of [src/ops](../../src/ops), whose reference is the
definition. These pages say the same in words that need no TypeScript: who follows them has the same bits. They are made from
those files by \`npm run spec\`; a test fails when they are stale. To start: [Write a backend in an afternoon](../write-a-backend.md).`,

    section(
      'How to read a page',
      `A signature such as \`f32[l, n]\` gives type and shape. The types are \`f32\`, \`i8\`, \`i32\`; the layout is row-major and dense,
the last axis contiguous. A letter has one value throughout a call; \`k-1\` is one less; a \`?\` marks what may be absent.
\`fround\` rounds to binary32, and every operation is rounded once ([Numerics](numerics.md)).`,
      glossary,
      `A call that breaks a type, a shape or a constraint is refused before any kernel sees it, in one sentence: \`fwht C1: n must be
m·2^k with m in {1, 12, 20, 28, 40}; got n=36\`. Constraints on values are found when these are read.`,
      `A kernel reads its inputs only, writes every element of every output, and keeps nothing. An output \`state\` is the input \`state\` after the last token; a state that is
absent is zeros. Feeding tokens in any cut gives the same bits as feeding them at once.`,
    ),
    section(
      'Ops',
      table(
        ['op', 'computes'],
        all.map(op => [link(op.name), cell(op.formula)]),
      ),
    ),
    section(
      'Recipes',
      `A recipe says what happens to weights and at sites, the named activations of the model
([scheme.ts](../../src/quant/scheme.ts)). Static scales are measured in calibration, dynamic ones for each token. A range is the
largest |x|, or the p-quantile of |x|, a moving average over samples with step σ.`,
      recipeTable(library),
    ),
    section(
      'Fused ops',
      `A backend may run these nodes of a plan as one. A fused op is defined by the base ops that it replaces, in the order of the
plan, and has their bits; it must hold at least one quantize or dequantize ([fuse.ts](../../src/plan/fuse.ts)).`,
      table(
        ['fused op', 'may take along before', 'grows from', 'may take along after'],
        library.patterns.map(({ name, anchor, before, after }) => [
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
      matrix(library, plans, read),
    ),
    section(
      'Cases',
      'Every case of the conformance suite has an address, which stays. `quamba conform --list` prints them all.',
      table(
        ['address', 'what it shows'],
        [
          ['op/OP/golden/CASE', 'the calls for which there are results of PyTorch'],
          ['op/OP/sweep/SIZES', 'sizes and attributes, with seeded values'],
          ['op/OP/edge/CASE', 'ties, saturation, zeros of both signs, denormals, infinities, empty texts'],
          ['fused/NAME/CASE', 'a fused op gives what its base ops give one by one'],
          ['block/RECIPE/CASE', 'one layer'],
          ['plan/RECIPE/MODEL/CASE', 'whole models: small ones, and the one that comes with the package'],
          ['state/CASE', 'texts in any cut, states that move between backends, forks'],
          ['determinism/CASE', 'the same bits again, and over thread counts'],
          ['hygiene/OP/CASE', 'inputs untouched, outputs written, nothing kept, nothing read past an end'],
          ['gate/perplexity/MODEL', 'a real text'],
        ].map(([address, shows]) => [code(address), shows]),
      ),
    ),
    section(
      'More',
      `- [Numerics](numerics.md): rounding, lanes, \`exp\`, \`exp2\`, \`log1p\`, \`softplus\`, \`silu\` with all constants, in C
- [Bounds](../bounds.md): how far a tolerant backend may be off, and why
- [The protocol](../conformance-protocol.md) for backends in other languages
- [ONNX](../onnx.md): how \`CausalConvWithState\` and \`LinearAttention\` of opset 27 map to these ops
- [Planted bugs](../planted-bugs.md): which case catches which mistake`,
    ),
  ]);
}

/** Who has which op: the backends of the package, the examples, and the plans that need it. */
function matrix({ ops, backends }, plans, read) {
  const kernelsIn = path =>
    [...read(path).matchAll(/^ {4}\{?"([\w-]+)"[,:] \w+\}?,$/gm)].map(([, name]) => name);
  const having = [
    ...Object.entries(backends).map(([name, { kernelOf }]) => [name, op => kernelOf(op)]),
    ...[
      ['[C](../../examples/backend-c)', kernelsIn('examples/backend-c/backend.c')],
      ['[Python](../../examples/backend-python)', kernelsIn('examples/backend-python/backend.py')],
    ].map(([title, names]) => [title, op => names.includes(op.name)]),
  ];
  const recipes = plans.map(({ name }) => name);
  return table(
    ['op', ...having.map(([title]) => title), 'in the plans of'],
    Object.values(ops).map(op => [
      link(op.name),
      ...having.map(([, has]) => (has(op) ? '✓' : '—')),
      among(
        recipes.filter((_, i) => plans[i].ops.has(op.name)),
        recipes,
      ),
    ]),
  );
}

/** What fused nodes are made of in the plans of a small model, in the order of the plan. */
function fragments(plans) {
  const recipesOf = new Map();
  for (const { name, nodes } of plans)
    for (const node of nodes) {
      if (node.kind !== 'fused') continue;
      const counts = new Map();
      for (const { op } of node.body) counts.set(op.name, (counts.get(op.name) ?? 0) + 1);
      const body = [...counts]
        .map(([op, count]) => (count > 1 ? `${count} × ${link(op)}` : link(op)))
        .join(' → ');
      const key = row([code(node.name), body]);
      recipesOf.set(key, (recipesOf.get(key) ?? new Set()).add(name));
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
  return page([
    'In the plans of the recipes they are:',
    [row(['fused op', 'base ops', 'recipes']), row(['---', '---', '---']), ...rows].join('\n'),
  ]).trimEnd();
}

/** The recipes in words: what most sites do, and those that differ. */
function recipeTable({ recipes, siteAction, weightScheme, sites, blockSites, roles, blockRoles }) {
  const inWords = ({ basis, quantize }) => {
    const named = { none: '', hadamard: 'Hadamard', channels: 'a scale by channel' };
    const turned = typeof basis === 'object' ? `smooth(${basis.smooth})` : named[basis];
    const { range, when } = quantize ?? {};
    const of = range === 'absmax' ? '' : ` p = ${range?.percentile}, σ = ${range?.ema}`;
    return [turned, quantize && `int8 ${when}${of}`].filter(Boolean).join(' · ') || 'float';
  };
  const weightInWords = scheme =>
    scheme
      ? `int8 per ${typeof scheme.per === 'object' ? `group of ${scheme.per.group}` : scheme.per}`
      : 'float';
  const group = (names, words) => {
    const by = new Map();
    for (const name of names) by.set(words(name), [...(by.get(words(name)) ?? []), name]);
    return [...by].sort(([, a], [, b]) => b.length - a.length);
  };
  /** The words of most names, then the others with their names. */
  const summary = (names, words) => {
    const [[most], ...others] = group(names, words);
    return [most, others.map(([other, which]) => `${list(which)} ${other}`).join('; ') || ''];
  };
  return table(
    ['recipe', 'weights of a block', 'embedding, head', 'sites of a block', 'but'],
    Object.entries(recipes).map(([name, recipe]) => {
      const role = word => weightInWords(weightScheme(recipe, word));
      const site = word => inWords(siteAction(recipe, word));
      const outer = roles.filter(word => !blockRoles.includes(word));
      const [most, but] = summary(blockSites, site);
      const head = sites.filter(word => !blockSites.includes(word) && site(word) !== 'float');
      return [
        code(name),
        summary(blockRoles, role).filter(Boolean).join('; '),
        summary(outer, role).filter(Boolean).join('; '),
        most,
        [
          but,
          ...head.map(word => `${code(word)} ${site(word)}`),
          recipe.residual && 'the residual stream Hadamard',
        ]
          .filter(Boolean)
          .join('; '),
      ];
    }),
  );
}
