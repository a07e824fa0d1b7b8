/**
 * Backends in other programs: the two examples are built and judged as their authors would do it, the protocol is what its
 * document says byte for byte, and a program that misbehaves is one sentence.
 */

import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { isUnsupported } from '../../src/backends/backend.ts';
import {
  callFrame,
  type ExecBackend,
  execBackend,
  layOut,
  splitCommand,
} from '../../src/backends/exec/index.ts';
import { formNamed, forms } from '../../src/conformance/forms.ts';
import { invoke } from '../../src/conformance/judge/judge.ts';
import { bind } from '../../src/op.ts';
import { ops } from '../../src/ops/index.ts';
import { tensor, zeros } from '../../src/tensor.ts';
import { quamba, workFolder } from '../cli/run.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const here = workFolder();

const runs = (command: string, ...args: string[]): boolean => spawnSync(command, args).status === 0;
/** A Python that has numpy. */
const python = [process.env.PYTHON ?? 'python3', '/usr/bin/python3'].find(path =>
  runs(path, '-c', 'import numpy'),
);

const cannot = {
  c: runs('cc', '--version') && runs('make', '--version') ? '' : ', skipped: there is no cc or no make',
  python: python
    ? ''
    : ', skipped: there is no python3 with numpy (the environment variable PYTHON names one)',
};

interface Report {
  readonly passed: number;
  readonly failed: number;
  readonly unsupported: number;
  readonly errors: number;
  readonly cases: readonly { readonly address: string; readonly outcome: string; readonly reason?: string }[];
}

async function judged(backend: string, ...args: string[]): Promise<Report> {
  const { stdout, stderr, code } = await quamba(here, 'conform', '--backend', backend, '--json', ...args);
  const report: Report = JSON.parse(stdout || `{"stderr": ${JSON.stringify(stderr)}}`);
  expect(report.cases?.filter(({ outcome }) => outcome === 'fail' || outcome === 'error') ?? stderr).toEqual(
    [],
  );
  expect(code).toBe(0);
  return report;
}

/** The ops, each in every form of its states, of which every case passed, and those of which every case is unsupported. There must be no third kind. */
function byOp({ cases }: Report) {
  const outcomes = new Map<string, Set<string>>();
  for (const { address, outcome } of cases) {
    const [kind, op, kept] = address.split('/');
    const form = formNamed(`${op}/${kept}`)?.name ?? op;
    if (kind === 'op') outcomes.set(form, (outcomes.get(form) ?? new Set()).add(outcome));
  }
  const having = (outcome: string) =>
    [...outcomes].flatMap(([form, found]) => (found.size === 1 && found.has(outcome) ? form : [])).sort();
  return { passed: having('pass'), unsupported: having('unsupported') };
}

const others = (has: readonly string[]) =>
  forms
    .map(({ name }) => name)
    .filter(name => !has.includes(name))
    .sort();

describe.skipIf(cannot.c)(`the example in C${cannot.c}`, () => {
  const OPS = ['causal-conv1d', 'dequantize', 'linear-i8', 'quantize', 'rms-norm'];
  beforeAll(() => {
    for (const file of ['backend.c', 'Makefile'])
      copyFileSync(join(root, 'examples/backend-c', file), join(here, file));
    execFileSync('make', ['CFLAGS=-O2 -Werror'], { cwd: here });
  });

  it('passes tolerant with what it has, and has no more', async () => {
    const report = await judged('exec:./backend', '--profile', 'tolerant');
    expect(byOp(report)).toEqual({ passed: OPS, unsupported: others(OPS) });
    expect(report.passed).toBeGreaterThan(300);
  });

  it.each(['quantize', 'dequantize', 'linear-i8', 'rms-norm'])('has the bits of %s', async op => {
    expect((await judged('exec:./backend', '--filter', `op/${op}/*`)).passed).toBeGreaterThan(10);
  });

  it('does what the document shows, byte for byte', () => {
    const text = readFileSync(join(root, 'docs/conformance-protocol.md'), 'utf8');
    const [request, answer] = [...text.matchAll(/```\n(0{8} [\s\S]*?)```/g)].map(([, dump]) =>
      Buffer.from(dump.replace(/^\w{8} {2}(.{47}).*$/gm, '$1').replace(/\s/g, ''), 'hex'),
    );
    const frame = callFrame(
      'dequantize',
      {},
      { q: tensor(Int8Array.of(-3, 0, 127), [1, 3]), scale: tensor(Float32Array.of(0.5)) },
      { x: zeros('f32', [1, 3]) },
    );
    expect(Buffer.from(frame).toString('hex')).toBe(request.toString('hex'));
    const got = execFileSync(join(here, 'backend'), { input: request });
    expect(got.toString('hex')).toBe(answer.toString('hex'));
  });
});

describe.skipIf(cannot.python)(`the example in Python${cannot.python}`, () => {
  const OPS = ['causal-conv1d', 'dequantize', 'linear-i8', 'quantize', 'rms-norm', 'selective-scan', 'silu'];

  it('passes tolerant with what it has, and has no more', async () => {
    const program = join(root, 'examples/backend-python/backend.py');
    const report = await judged(`exec:${python} "${program}"`, '--profile', 'tolerant');
    expect(byOp(report)).toEqual({ passed: OPS, unsupported: others(OPS) });
    expect(report.passed).toBeGreaterThan(400);
  });
});

/** A program of the protocol in 20 lines, whose answers to a call are `body`, with `header`, `data`, `count` and `send` at hand. */
const PROGRAM = (body: string, has = `['silu']`) => `
let bytes = Buffer.alloc(0);
let count = 0;
const send = (header, data = Buffer.alloc(0)) => {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const sizes = Buffer.alloc(8);
  sizes.writeUInt32LE(json.length, 0);
  sizes.writeUInt32LE(data.length, 4);
  process.stdout.write(Buffer.concat([sizes, json, data]));
};
process.stdin.on('data', chunk => {
  bytes = Buffer.concat([bytes, chunk]);
  while (bytes.length >= 8) {
    const h = bytes.readUInt32LE(0), n = bytes.readUInt32LE(4);
    if (bytes.length < 8 + h + n) return;
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + h));
    const data = bytes.subarray(8 + h, 8 + h + n);
    bytes = bytes.subarray(8 + h + n);
    if (header.hello) { send({ name: 'odd', ops: ${has} }); continue; }
    count++;
    ${body}
  }
});`;
const WITH_PID = 'send({ ok: true }, Buffer.from(Float32Array.of(process.pid, 0, 0).buffer));';
const isRunning = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('a program that misbehaves', () => {
  let open: ExecBackend[] = [];
  afterEach(() => {
    for (const backend of open) backend.dispose();
    open = [];
  });
  let programs = 0;
  function start(source: string, timeout = 600_000): ExecBackend {
    const file = `odd-${programs++}.mjs`;
    writeFileSync(join(here, file), source);
    const backend = execBackend(`"${process.execPath}" "${join(here, file)}"`, { timeout });
    open.push(backend);
    return backend;
  }
  const call = (backend: ExecBackend) => {
    const silu = bind(ops.silu, { x: tensor(Float32Array.of(1, 2, 3), [1, 3]) });
    invoke(backend.kernelOf(ops.silu)!, silu);
    return silu.outputs.y.data;
  };

  it.each<readonly [what: string, body: string, says: string]>([
    [
      'dies',
      `console.error('a\\nno luck'); process.exit(3);`,
      'the program ended with exit code 3; the last line on its stderr: no luck',
    ],
    ['is killed', `process.kill(process.pid, 'SIGKILL');`, 'the program was ended by SIGKILL'],
    [
      'prints',
      `console.log('here I am, and more');`,
      'sent what is no frame, beginning with "here I am, and more\\n"',
    ],
    ['answers no JSON', `send('{ok');`, 'the header of its answer: expected JSON'],
    ['answers a text', `send('"ok"');`, 'answer expected an object; got "ok"'],
    ['answers something else', `send({ done: 1 });`, 'answer expected {"ok": true}'],
    [
      'answers with too little',
      `send({ ok: true }, Buffer.alloc(4));`,
      'answered with 4 bytes of outputs; expected 12',
    ],
    [
      'answers with too much',
      `send({ ok: true }, Buffer.alloc(16));`,
      'answered with 16 bytes of data where there can be at most 12',
    ],
    ['says why', `send({ error: 'out of paper' });`, 'backend odd: silu: out of paper'],
  ])('that %s', (_, body, says) => {
    const backend = start(PROGRAM(body));
    expect(() => call(backend)).toThrow(says);
    expect(() => call(backend), 'again, by a program that was started anew where need be').toThrow(says);
  });

  it('that cannot do a call says so, and that is no error', () => {
    const backend = start(PROGRAM(`send({ unsupported: 'rows of 3' });`));
    let thrown: unknown;
    try {
      call(backend);
    } catch (error) {
      thrown = error;
    }
    expect(isUnsupported(thrown) && thrown.message).toBe('rows of 3');
  });

  it('answers thousands of calls, each its own', () => {
    const backend = start(
      PROGRAM(
        `send({ ok: true }, Buffer.from(new Float32Array(header.outputs[0].bytes / 4).fill(count).buffer));`,
      ),
    );
    for (let i = 1; i <= 3000; i++) {
      const silu = bind(ops.silu, { x: new Float32Array(1 + (i % 5)) });
      invoke(backend.kernelOf(ops.silu)!, silu);
      expect(silu.outputs.y.data[0]).toBe(i);
    }
  });

  it('that hangs is killed', () => {
    const greetsOnly = PROGRAM('');
    expect(() => call(start(greetsOnly, 2000))).toThrow('the program did not answer within 2 s');
  });

  it('that dies between two calls is heard of, then started anew', () => {
    const backend = start(PROGRAM(`${WITH_PID} if (count === 1) setTimeout(() => process.exit(7), 20);`));
    const [pid] = call(backend);
    while (isRunning(pid)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    expect(() => call(backend)).toThrow('ended with exit code 7, after its last answer');
    expect(call(backend)[0]).not.toBe(pid);
  });

  it('has the ops that it says, and leaves no process when it is disposed of', () => {
    const backend = start(PROGRAM(WITH_PID));
    expect(backend.name).toBe('odd');
    expect(backend.kernelOf(ops.add)).toBe(undefined);
    const [pid] = call(backend);
    expect(isRunning(pid)).toBe(true);
    backend.dispose();
    open = [];
    expect(isRunning(pid)).toBe(false);
  });

  it.each([
    ['is not there', `${join(here, 'nobody')}`, 'cannot be started (ENOENT)'],
    ['ends at once', `"${process.execPath}" -e 0`, 'ended with exit code 0'],
    ['does not greet', `"${process.execPath}" -p 1+1`, ''],
  ])('that %s is no backend', (_, command, says) => {
    expect(() => execBackend(command)).toThrow(says || /exit code 0|no frame/);
  });
});

describe('the reference in another program', () => {
  it('passes all that is quick, whole plans too, bit for bit', async () => {
    const library = JSON.stringify(pathToFileURL(join(root, 'dist/index.js')).href);
    const body = `
    const arrays = { f32: Float32Array, i8: Int8Array, i32: Int32Array };
    const copy = new Uint8Array(data).buffer;
    const read = ({ name, dtype, shape, offset, bytes }) =>
      [name, { dtype, shape, data: new arrays[dtype](copy.slice(offset, offset + bytes)) }];
    const given = Object.fromEntries(header.inputs.map(read));
    const kept = {};
    for (const [key, dtype] of Object.entries(header.kept ?? {})) {
      kept[key] = { dtype, scale: given[key + '.scale']?.data };
      delete given[key + '.scale'];
    }
    const op = byName.get(header.op);
    for (const key of Object.keys(op.states)) {
      if (!op.states[key].startsWith('f32[t')) continue;
      const { shape: [rows, ...row], data } = given[key]; // with room for the tokens of the call
      const shape = [rows - header.outputs[0].shape[0], ...row];
      given[key] = { dtype: 'f32', shape, data: data.slice(0, shape.reduce((a, b) => a * b)) };
    }
    const results = op(given, header.attrs, kept);
    const last = header.outputs.at(-1);
    const answer = Buffer.alloc(last.offset + last.bytes);
    for (const { name, offset } of header.outputs) answer.set(new Uint8Array(results[name].data.buffer), offset);
    send({ ok: true }, answer);`;
    const imports = `import { ops } from ${library};\nconst byName = new Map(Object.values(ops).map(op => [op.name, op]));\n`;
    writeFileSync(
      join(here, 'reference.mjs'),
      imports + PROGRAM(body, JSON.stringify(forms.map(({ name }) => name))),
    );
    const report = await judged(`exec:"${process.execPath}" reference.mjs`, '--quick');
    expect(report.unsupported).toBe(0);
    expect(report.passed).toBeGreaterThan(500);
  });
});

describe('the layout', () => {
  it('aligns every tensor to 64 bytes, and ends with the last', () => {
    const { places, total } = layOut({
      a: zeros('i8', [3]),
      b: zeros('f32', [17, 0]),
      c: zeros('i32', [2, 5]),
    });
    expect(places.map(({ name, offset, bytes }) => [name, offset, bytes])).toEqual([
      ['a', 0, 3],
      ['b', 64, 0],
      ['c', 64, 40],
    ]);
    expect(total).toBe(104);
  });

  it('a command is words', () => {
    expect(splitCommand(`python3 "my backend.py" --x='a b' ""`)).toEqual([
      'python3',
      'my backend.py',
      '--x=a b',
      '',
    ]);
    expect(() => splitCommand('./a "b')).toThrow('exec:./a "b: a quote is not closed');
    expect(() => splitCommand('  ')).toThrow('exec: expected a command');
  });

  it('the examples hold nothing that was built', () => {
    expect(readdirSync(join(root, 'examples/backend-c')).sort()).toEqual([
      'Makefile',
      'README.md',
      'backend.c',
    ]);
  });
});
