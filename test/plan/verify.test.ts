/**
 * The verifier's rules. Each row spoils a good plan in one place, which no other rule minds, and says the sentence that its
 * loading ends with.
 */
import { describe, expect, it } from 'vitest';
import { prepare } from '../../src/backends/backend.ts';
import { reference } from '../../src/backends/reference.ts';
import { recipes } from '../../src/quant/recipes.ts';
import { run } from '../../src/run.ts';
import { thrown } from '../formats/file.ts';
import { planOfToy, sameBits, toy } from '../toy.ts';
import { type Crafted, copyOf, craft, f32, type Json, loadCrafted } from './crafted.ts';

const good = craft(toy, recipes['quamba-int8-state']);

/** Node numbers of the first layer. */
const [EMBEDDING, NORM, IN, DEQUANTIZE, CONV, NEG_EXP, SCAN, OUT] = [0, 1, 2, 3, 4, 7, 8, 10];
const text = Int32Array.of(1, 2, 3, 31, 0, 7);

function sentence(spoil: (plan: Crafted, nodes: Json) => void): string {
  const plan = copyOf(good);
  spoil(plan, plan.graph.nodes);
  const error = thrown(() => loadCrafted(plan));
  return error.message;
}

it('the plan that all of these spoil is good', () => {
  const { plan } = loadCrafted(good);
  const { data } = prepare(reference, plan).open().feed(text);
  expect(sameBits(data, run(planOfToy(toy, recipes['quamba-int8-state']), text).data)).toBe(true);
});

type Row = readonly [rule: string, spoil: (plan: Crafted, nodes: Json) => void, sentence: string];

const renamed = (plan: Crafted, from: string, to: string) => {
  plan.graph = JSON.parse(JSON.stringify(plan.graph).replaceAll(JSON.stringify(from), JSON.stringify(to)));
  const found = plan.tensors.get(from);
  if (found) plan.tensors.delete(from) && plan.tensors.set(to, found);
};

/* biome-ignore format: a table */
const names: Row[] = [
  ['a value is written once', (_, nodes) => { nodes[OUT].out.y = 'layers.0.y'; },
    'crafted: graph.nodes[10].out.y expected a new name; got "layers.0.y", which is a value'],
  ['no value is a weight', (_, nodes) => { nodes[EMBEDDING].out.y = 'layers.0.blockIn.scale'; },
    'crafted: graph.nodes[0].out.y expected a new name; got "layers.0.blockIn.scale", which is a weight'],
  ['no value is a state', (_, nodes) => { nodes[EMBEDDING].out.y = 'layers.0.ssmState'; },
    'crafted: graph.nodes[0].out.y expected a new name; got "layers.0.ssmState", which is a state'],
  ['no value is the input', (_, nodes) => { nodes[EMBEDDING].out.y = 'tokens'; },
    'crafted: graph.nodes[0].out.y expected a new name; got "tokens", which is the input'],
  ['no state is a weight', ({ graph }) => { graph.states['layers.0.blockIn.scale'] = { type: 'f32[1]' }; },
    'crafted: graph.states["layers.0.blockIn.scale"] expected a new name; got "layers.0.blockIn.scale", which is a weight'],
  ['no weight is the input', plan => renamed(plan, 'layers.0.blockIn.scale', 'tokens'),
    'crafted: graph.weights["tokens"] expected a new name; got "tokens", which is the input'],
  ['what is read is defined', (_, nodes) => { nodes[NEG_EXP].in.x = 'nowhere'; },
    'crafted: graph.nodes[7].in.x expected the name of a value or weight that comes before; got "nowhere"'],
  ['what is read comes before', (_, nodes) => { nodes[NORM].body[0].in.x = 'layers.0.out'; },
    'crafted: graph.nodes[1].body[0].in.x expected the name of a value or weight that comes before; got "layers.0.out"'],
  ['a node does not read what it writes', (_, nodes) => { nodes[NEG_EXP].in.x = 'layers.0.A'; },
    'crafted: graph.nodes[7].in.x expected the name of a value or weight that comes before; got "layers.0.A"'],
  ['a state is read by its own node only', (_, nodes) => { nodes[NEG_EXP].in.x = 'layers.0.convState'; },
    'crafted: graph.nodes[7].in.x expected the name of a value or weight that comes before; got "layers.0.convState"'],
  ['a name is not empty', plan => renamed(plan, 'layers.0.blockIn.scale', ''),
    'crafted: graph.weights[""] expected a name of 1 to 1024 characters; got ""'],
  ['a name is not long', plan => renamed(plan, 'embedded', 'e'.repeat(1025)),
    `crafted: graph.nodes[0].out.y expected a name of 1 to 1024 characters; got "${'e'.repeat(80)}…"`],
  ['a file of tensors can have it', plan => renamed(plan, 'layers.0.convState', '__metadata__'),
    'crafted: graph.states["__metadata__"] expected a name that a file of tensors can have; got "__metadata__"'],
  ['it is text', plan => renamed(plan, 'layers.0.convState', '\ud800'),
    'crafted: graph.states["\\ud800"] expected a name that a file of tensors can have; got "\\ud800"'],
  ['the result is defined', ({ graph }) => { graph.result = 'nowhere'; },
    'crafted: graph.result expected the name of a value or weight that comes before; got "nowhere"'],
];

/* biome-ignore format: a table */
const types: Row[] = [
  ['dtypes are those of the signature', (_, nodes) => { nodes[OUT].in.x = 'embedded'; },
    'crafted: graph.nodes[10].in.x expected i8[l, i]; got f32[l, 24]'],
  ['ranks are those of the signature', (_, nodes) => { nodes[NEG_EXP].in.x = 'backbone.layers.0.mixer.D'; },
    'crafted: graph.nodes[7].in.x expected f32[l, n]; got f32[48]'],
  ['a letter is one size', (_, nodes) => { nodes[OUT].in.x = 'layers.0.blockIn'; },
    'crafted: graph.nodes[10].in.w expected i8[o, i] with o=24, i=24; got i8[24, 48]'],
  ['what is of each token is so in every input', (_, nodes) => { nodes[11].body[0].in.y = 'backbone.embeddings.weight'; },
    'crafted: graph.nodes[11].body[0].in.y expected f32[l, m] with l=l, m=24; got f32[32, 24]'],
  ['a size is not the number of tokens', (_, nodes) => { nodes.at(-1).in.w = 'embedded'; },
    'crafted: graph.nodes[23].in.w expected f32[o, i] with i=24; got f32[l, 24]'],
  ['a size is whole', (_, nodes) => { nodes[IN].body[1].attrs.size = 47.5; },
    'crafted: graph.nodes[2].body[1].attrs.size expected a whole number; got 47.5'],
  ['an attribute keeps the constraints', (_, nodes) => { nodes[IN].body[3].attrs.start = 49; },
    'crafted: graph.nodes[2].body[3]: slice C1: start + size must be at most n, start a whole number from 0 on, size at least 1; got start=49, size=48, n=96'],
  ['a start is not negative', (_, nodes) => { nodes[IN].body[1].attrs.start = -1; },
    'crafted: graph.nodes[2].body[1]: slice C1: start + size must be at most n, start a whole number from 0 on, size at least 1; got start=-1, size=48, n=96'],
  ['eps is positive', (_, nodes) => { nodes[NORM].body[0].attrs.eps = 0; },
    'crafted: graph.nodes[1].body[0]: rms-norm C1: eps must be positive; got eps=0'],
  ['eps is finite', plan => { plan.graph = JSON.stringify(plan.graph).replace('1e-5', '1e999').replace('0.00001', '1e999'); },
    'crafted: graph.nodes[1].body[0].attrs.eps expected a finite number of f32; got Infinity'],
  ['eps is not lost in f32', (_, nodes) => { nodes[NORM].body[0].attrs.eps = 1e-60; },
    'crafted: graph.nodes[1].body[0].attrs.eps expected a finite number of f32; got 1e-60'],
  ['a word is known', (_, nodes) => { nodes[CONV].body[1].attrs = { activation: 'gelu' }; },
    "crafted: graph.nodes[4].body[1]: causal-conv1d C1: activation must be 'silu' or 'none'; got activation=gelu"],
  ['a Hadamard matrix has that size', (plan, nodes) => {
    nodes.splice(1, 0, { op: 'linear', in: { x: 'embedded', w: 'w' }, out: { y: 'w.y' } }, { op: 'fwht', in: { x: 'w.y' }, out: { y: 'w.z' } });
    plan.graph.weights.w = 'f32[6, 24]';
    plan.tensors.set('w', f32([6, 24], () => 1));
  }, 'crafted: graph.nodes[2]: fwht C1: n must be K·2^k where Paley gives a Hadamard matrix of order K ≤ 1024 by a prime or the square of one (1, 12, 20, 28, 36, 44, 52, 60, …); got n=6'],
  ['groups divide the columns', (plan, nodes) => {
    plan.graph.weights.g = 'f32[24, 5]';
    plan.tensors.set('g', f32([24, 5], () => 1));
    nodes[OUT].in.wscale = 'g';
  }, 'crafted: graph.nodes[10]: linear-i8 C3: the groups g must divide i; got g=5, i=48'],
  ['an int32 sum cannot overflow', (plan, nodes) => {
    const i = 131072;
    plan.graph.weights.a = `i8[${i}, 24]`;
    plan.graph.weights.b = `i8[24, ${i}]`;
    for (const [name, shape] of [['a', [i, 24]], ['b', [24, i]]] as const)
      plan.tensors.set(name, { dtype: 'I8', shape: [...shape], bytes: new Uint8Array(24 * i) });
    const scales = { xscale: 'layers.0.blockIn.scale', wscale: 'backbone.layers.0.mixer.in_proj.weight.i8.wscale' };
    nodes.splice(3, 0,
      { op: 'linear-i8', in: { x: 'layers.0.blockIn', w: 'a', ...scales }, out: { y: 'a.y' } },
      { op: 'quantize', in: { x: 'a.y', scale: scales.xscale }, out: { q: 'a.q' } },
      { op: 'linear-i8', in: { x: 'a.q', w: 'b', ...scales }, out: { y: 'b.y' } });
  }, 'crafted: graph.nodes[5]: linear-i8 C5: i must be at most 131071, so that the int32 sum cannot overflow; got i=131072'],
  ['a scale is one, or one for each token: of no number of tokens', (_, nodes) => { nodes[OUT].in.xscale = 'backbone.layers.0.mixer.D'; },
    'crafted: graph.nodes[10]: linear-i8 C1: xscale must have one value or one for each token; got s=48, l=l'],
  ['a weight has no extent 0', (plan, nodes) => {
    nodes[NEG_EXP].in.x = 'none';
    plan.graph.weights.none = 'f32[48, 0]';
    plan.tensors.set('none', f32([48, 0], () => 0));
  }, 'crafted: graph.weights["none"] expected positive extents; got f32[48, 0]'],
  ['the file has the tensors of the graph', plan => { plan.tensors.delete('layers.0.blockIn.scale'); },
    'crafted: tensor "layers.0.blockIn.scale" of the plan is missing'],
  ['a tensor has the shape that the graph says', plan => { plan.tensors.get('backbone.layers.0.mixer.D')!.shape = [6, 8]; },
    'crafted: tensor "backbone.layers.0.mixer.D" of the plan expected f32[48]; got f32[6, 8]'],
  ['a tensor has the dtype that the graph says', plan => { plan.tensors.set('layers.0.blockIn.scale', { dtype: 'I32', shape: [1], bytes: new Uint8Array(4) }); },
    'crafted: tensor "layers.0.blockIn.scale" of the plan expected f32[1]; got i32[1]'],
];

/* biome-ignore format: a table */
const tokens: Row[] = [
  ['only the input holds tokens', (plan, nodes) => {
    plan.graph.weights.ids = 'i32[1]';
    plan.tensors.set('ids', { dtype: 'I32', shape: [1], bytes: new Uint8Array(4) });
    nodes[EMBEDDING].in.tokens = 'ids';
  }, 'crafted: graph.nodes[0].in.tokens expected the input "tokens"; got "ids"'],
  ['a table has a row for each token', (plan, nodes) => {
    plan.graph.weights.table = 'f32[31, 24]';
    plan.tensors.set('table', f32([31, 24], () => 1));
    nodes[EMBEDDING].in.w = 'table';
  }, 'crafted: graph.nodes[0].in.w expected a row for each of 32 tokens; got 31'],
  ['the vocabulary is that of the config', plan => { plan.config = { ...plan.config, vocabSize: 33 }; },
    'crafted: graph.nodes[0].in.w expected a row for each of 33 tokens; got 32'],
  ['the result has a column for each token', plan => { plan.config = { ...plan.config, vocabSize: 31 }; },
    'crafted: graph.result expected f32[l, 31]; got f32[l, 32]'],
  ['the result is f32', ({ graph }) => { graph.result = 'tokens'; },
    'crafted: graph.result expected f32[l, 32]; got i32[l]'],
  ['the result is of each token', ({ graph }) => { graph.result = 'backbone.embeddings.weight'; },
    'crafted: graph.result expected f32[l, 32]; got f32[32, 24]'],
  ['a config has a vocabulary', plan => { plan.config = { ...plan.config, vocabSize: '32' }; },
    'crafted: config.vocabSize expected a whole number >= 1; got "32"'],
];

/* biome-ignore format: a table */
const states: Row[] = [
  ['a state belongs to one node', (_, nodes) => { nodes[CONV + 10].body[1].states.past = 'layers.0.convState'; },
    'crafted: graph.nodes[14].body[1].states.past expected a state of its own; got "layers.0.convState" of crafted: graph.nodes[4].body[1]'],
  ['a state belongs to a node', ({ graph }) => { graph.states.more = { type: 'f32[48, 3]' }; },
    'crafted: graph.states["more"]: no node carries it'],
  ['a state is declared', (_, nodes) => { nodes[CONV].body[1].states.past = 'nowhere'; },
    'crafted: graph.nodes[4].body[1].states.past expected the name of a state; got "nowhere"'],
  ['no weight is a state', (_, nodes) => { nodes[CONV].body[1].states.past = 'backbone.layers.0.mixer.A_log'; },
    'crafted: graph.nodes[4].body[1].states.past expected the name of a state; got "backbone.layers.0.mixer.A_log"'],
  ['a state has the shape of its signature', ({ graph }) => { graph.states['layers.0.convState'].type = 'f32[48, 4]'; },
    'crafted: graph.nodes[4].body[1].states.past expected f32[d, k-1] with d=48, k=4; got f32[48, 4]'],
  ['a state of fixed size does not grow', ({ graph }) => { graph.states['layers.0.convState'].type = 'f32[t, 3]'; },
    'crafted: graph.nodes[4].body[1].states.past expected f32[d, k-1] with d=48, k=4; got f32[t, 3]'],
  ['only int8 has steps', ({ graph }) => { graph.states['layers.0.ssmState'].type = 'f16[48, 4]'; },
    'crafted: graph.states["layers.0.ssmState"].scale expected nothing beside f16; got "layers.0.ssmState.scale"'],
  ['int8 has steps', ({ graph }) => { graph.states['layers.0.convState'].type = 'i8[48, 3]'; },
    'crafted: graph.states["layers.0.convState"].scale expected a weight f32[48]; got nothing'],
  ['there is a step for each row', ({ graph }) => { graph.states['layers.0.ssmState'].scale = 'layers.0.dt.scale'; },
    'crafted: graph.states["layers.0.ssmState"].scale expected a weight f32[48]; got f32[1]'],
  ['steps are a weight', ({ graph }) => { graph.states['layers.0.ssmState'].scale = 'layers.0.conv'; },
    'crafted: graph.states["layers.0.ssmState"].scale expected a weight f32[48]; got "layers.0.conv"'],
  ['steps are positive', plan => { plan.tensors.set('layers.0.ssmState.scale', f32([48], i => i - 7)); },
    'crafted: graph.weights["layers.0.ssmState.scale"] expected positive steps; got -7 at index 0'],
  ['no step is 0', plan => { plan.tensors.set('layers.0.ssmState.scale', f32([48], i => 3 - i)); },
    'crafted: graph.weights["layers.0.ssmState.scale"] expected positive steps; got 0 at index 3'],
  ['steps are finite', plan => { plan.tensors.set('layers.0.ssmState.scale', f32([48], i => 1 / i)); },
    'crafted: tensor "layers.0.ssmState.scale": expected finite values; got Infinity at index 0'],
  ['what carries a state is of each token', (plan, nodes) => {
    plan.graph.states.more = { type: 'f32[24, 3]' };
    plan.graph.weights.w = 'f32[24, 4]';
    plan.tensors.set('w', f32([24, 4], () => 1));
    nodes.push({ op: 'causal-conv1d', in: { x: 'backbone.embeddings.weight', w: 'w' }, states: { past: 'more' }, out: { y: 'c' } });
  }, 'crafted: graph.nodes[24].in expected a value of each token; got constants only'],
];

/* biome-ignore format: a table */
const fused: Row[] = [
  ['a fused node has a known name', (_, nodes) => { nodes[NORM].fused = 'constructor'; },
    'crafted: graph.nodes[1]: "constructor" does not fuse these nodes; fuse the plan anew'],
  ['it has the name of its nodes', (_, nodes) => { nodes[NORM].fused = 'gemm-i8-quantize'; },
    'crafted: graph.nodes[1]: "gemm-i8-quantize" does not fuse these nodes; fuse the plan anew'],
  ['it has all nodes of its group', (_, nodes) => { nodes.splice(NORM + 1, 0, nodes[NORM].body.pop()); },
    'crafted: graph.nodes[1]: "add-norm-quantize" does not fuse these nodes; fuse the plan anew'],
  ['it has no other', (_, nodes) => { nodes[NORM].body.unshift(...nodes.splice(EMBEDDING, 1)); },
    'crafted: graph.nodes[0]: "add-norm-quantize" does not fuse these nodes; fuse the plan anew'],
  ['it has no constants', (_, nodes) => { nodes[CONV].body.unshift(...nodes.splice(DEQUANTIZE, 1)); },
    'crafted: graph.nodes[3].body[0].in expected a value of each token; got constants only'],
  ['it has not too many', (_, nodes) => {
    nodes[SCAN].body = Array.from({ length: 65 }, (_, i) => ({ op: 'silu', in: { x: 'embedded' }, out: { y: `s${i}` } }));
  }, 'crafted: graph.nodes[8].body expected at most 64 nodes; got 65'],
];

const embedded = { op: 'silu', in: { x: 'embedded' } };
/* biome-ignore format: a table */
const sizes: Row[] = [
  ['nodes are counted', (_, nodes) => { for (let i = 0; i < 8216; i++) nodes.push({ ...embedded, out: { y: `s${i}` } }); },
    'crafted: graph.nodes expected at most 8192 nodes; got 8283'],
  ['names are counted', ({ graph }) => { for (let i = 0; i < 65536; i++) graph.states[`s${i}`] = { type: 'f32[1]' }; },
    /^crafted: graph expected at most 65536 names; got \d+$/.source],
  ['states are counted in bytes', (plan, nodes) => {
    plan.graph.weights.w = 'f32[24, 1000]';
    plan.tensors.set('w', f32([24, 1000], () => 1));
    for (let i = 0; i < 6000; i++) {
      plan.graph.states[`s${i}`] = { type: 'f32[24, 999]' };
      nodes.push({ op: 'causal-conv1d', in: { x: 'embedded', w: 'w' }, states: { past: `s${i}` }, out: { y: `c${i}` } });
    }
  }, 'crafted: graph.states expected at most 536870912 bytes; got 575426688'],
  ['values are counted in bytes', (plan, nodes) => {
    plan.graph.weights.w = 'f32[100000, 24]';
    plan.tensors.set('w', f32([100000, 24], () => 1));
    for (let i = 0; i < 12; i++) nodes.push({ op: 'linear', in: { x: 'embedded', w: 'w' }, out: { y: `y${i}` } });
    for (let i = 1; i < 12; i++) nodes.push({ op: 'add', in: { x: 'y0', y: `y${i}` }, out: { sum: `s${i}` } });
  }, /^crafted: graph.nodes expected at most 536870912 bytes of values; got \d+$/.source],
  ['no product is made of constants, which takes longer than its bytes say', (_, nodes) => {
    const w = 'backbone.embeddings.weight';
    nodes.push({ op: 'linear', in: { x: w, w }, out: { y: 'product' } });
  }, 'crafted: graph.nodes[24].in expected a value of each token; got constants only'],
  ['what is made of constants is counted in bytes', (_, nodes) => {
    const x = 'backbone.embeddings.weight';
    for (let i = 0; i < 500; i++) nodes.push({ op: 'neg-exp', in: { x }, out: { y: `m${i}` } });
  }, /^crafted: graph.nodes expected at most \d+ bytes of constants; got \d+$/.source],
  ['and with it the work, which doubles from node to node', (_, nodes) => {
    let x = 'backbone.embeddings.weight';
    for (let i = 0; i < 30; i++) nodes.push({ op: 'add', in: { x, y: x }, out: { sum: (x = `m${i}`) } });
  }, /^crafted: graph.nodes expected at most \d+ bytes of constants; got \d+$/.source],
  ['so is what a token reads and writes', (plan, nodes) => {
    plan.graph.weights.w = 'f32[100000, 24]';
    plan.tensors.set('w', f32([100000, 24], () => 1));
    for (let i = 0; i < 200; i++) nodes.push({ op: 'linear', in: { x: 'embedded', w: 'w' }, out: { y: `y${i}` } });
  }, /^crafted: graph.nodes expected at most \d+ bytes to read and write for a token; got \d+$/.source],
  ['the text of a graph is not deep', plan => { plan.graph = `${'['.repeat(101)}${']'.repeat(101)}`; },
    'crafted: metadata graph: expected JSON of at most 100 levels; got more at character 100'],
  ['no key of it stands twice', plan => { plan.graph = JSON.stringify(plan.graph).replace('{', '{"input":"x",'); },
    'crafted: metadata graph: key "input" stands twice in one object'],
];

describe.each(Object.entries({ names, types, tokens, states, fused, sizes }))('%s', (_, rows) => {
  it.each(rows)('%s', (_rule, spoil, expected) => {
    if (expected.startsWith('^')) expect(sentence(spoil)).toMatch(new RegExp(expected));
    else expect(sentence(spoil)).toBe(expected);
  });
});

describe('names that every object of JavaScript has', () => {
  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty', '0', 'undefined'])('%s', name => {
    for (const from of [
      'backbone.layers.0.mixer.D',
      'layers.0.convState',
      'layers.0.out',
      'layers.0.ssmState.scale',
    ]) {
      const plan = copyOf(good);
      renamed(plan, from, name);
      const { data } = prepare(reference, loadCrafted(plan).plan).open().feed(text);
      expect(sameBits(data, prepare(reference, loadCrafted(good).plan).open().feed(text).data), from).toBe(
        true,
      );
    }
  });
});

describe('a program that was made by hand', () => {
  const { graph, weights } = planOfToy(toy, recipes.fp32);
  const changed = (change: object) => {
    const nodes = graph.nodes.map((node, i) =>
      i === 0 ? { ...node, ...change } : node,
    ) as typeof graph.nodes;
    const program = { graph: { ...graph, nodes }, weights };
    const [prepared, ran] = [() => prepare(reference, program), () => run(program, text)].map(thrown);
    expect(ran.message).toBe(prepared.message);
    return prepared.message;
  };
  it.each([
    [
      { in: { tokens: 'tokens' } },
      'program: embedding embedded.in.w expected the name of a value or weight that comes before; got nothing',
    ],
    [
      { in: { tokens: 'tokens', table: 'x' } },
      'program: embedding embedded.in expected tokens, w; got "table"',
    ],
    [{ out: {} }, 'program: embedding without a value.out.y expected a name; got nothing'],
    [{ states: { h: 'h' } }, 'program: embedding embedded.states expected nothing; got "h"'],
    [{ attrs: { start: 1 } }, 'program: embedding embedded.attrs expected nothing; got "start"'],
  ])('%j', (change, expected) => {
    expect(changed(change)).toBe(expected);
  });
  it('has weights of the types that it says', () => {
    const [ref] = graph.weights.keys();
    const wrong = {
      ...weights,
      read: (name: string) => weights.read(name === ref ? 'backbone.norm_f.weight' : name),
    };
    expect(thrown(() => prepare(reference, { graph, weights: wrong })).message).toBe(
      `program.weights["${ref}"] expected f32[32, 24]; got f32[24]`,
    );
  });
});
