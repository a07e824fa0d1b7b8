/** The formats of instructions, and the kernels that read them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import * as formats from '../../../src/backends/wasm/instruction-formats.ts';
import { namesOf, roomFor } from '../../../src/backends/wasm/operands.ts';

type Format = Parameters<typeof namesOf>[0];
const all = Object.entries(formats).filter((entry): entry is [string, Format] =>
  Object.hasOwn(entry[1] as object, 'code'),
);
const assembly = fileURLToPath(new URL('../../../assembly/', import.meta.url));
const sources = readdirSync(assembly).map(file => readFileSync(join(assembly, file), 'utf8'));
const source = sources.join('\n');
const execute = readFileSync(join(assembly, 'execute.ts'), 'utf8');

/** The functions whose first lines have some text, from there on. */
const bodiesOf = (text: string): readonly string[] =>
  source
    .split(text)
    .slice(1)
    .map(rest => text + rest.slice(0, rest.indexOf('\n}\n')));

it('have an opcode each', () => {
  expect(all.length).toBeGreaterThan(25);
  expect(new Set(all.map(([, { code }]) => code & ~formats.BY_ROWS)).size).toBe(all.length);
});

it.each(all)('%s fits into an instruction', (_, format) => {
  expect(4 * (1 + namesOf(format).length)).toBeLessThanOrEqual(formats.TAKEN);
});

it('have room for the segments of every fused product', () => {
  expect(roomFor(formats.LinearI8, 3)).toBeGreaterThanOrEqual(3);
  expect(roomFor(formats.QuantizeSegments, 4)).toBeGreaterThanOrEqual(3);
});

it.each(all)('%s: the kernel that execute.ts calls reads it by its name, every operand', (name, format) => {
  const kernel = execute.match(`case op\\.${name}\\.code: (\\w+)\\(at, rows\\); break;`)?.[1];
  expect(kernel).toBeDefined();
  const [body, ...parts] = [`export function ${kernel}(at: usize`, `(op: ${name},`].flatMap(bodiesOf);
  expect(body).toContain(`changetype<${name}>(at)`);
  const all = [body, ...parts].join('');
  const unread = namesOf(format).filter(operand => !new RegExp(`\\.${operand}\\b`).test(all));
  expect(unread).toEqual([]);
});
