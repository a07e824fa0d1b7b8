/** Whatever a file says, a terminal is shown nothing of it but text, on the line where it belongs. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { recipes } from '../../src/quant/recipes.ts';
import { createSession } from '../../src/session.ts';
import { COMMANDS, safetensors, thrown, utf8 } from '../formats/file.ts';
import { type Crafted, copyOf, craft, fileOf } from '../plan/crafted.ts';
import { runnableOf, toy } from '../toy.ts';
import { quamba, workFolder } from './run.ts';
import { type Files, json, toyFiles, writeFolder } from './toy.ts';

const here = workFolder();
const HARM = '\x1b]0;owned\x07\x1b[31m\x9b2J\x7f\u202e\u2066\nquamba: all is well';
const [WORD] = HARM.split('\n');

const good = craft(toy, recipes.quamba);
/** The plan with what a file may call as it likes called by HARM: recipe, text, fields of the config, values and constants. */
function renamed(): Crafted {
  const plan = copyOf(good);
  const [weight] = Object.keys(plan.graph.weights);
  const value = Object.values<string>(plan.graph.nodes[0].out ?? plan.graph.nodes[0].body[0].out)[0];
  let graph = JSON.stringify(plan.graph);
  for (const name of [weight, value])
    graph = graph.replaceAll(JSON.stringify(name), JSON.stringify(name + HARM));
  plan.graph = JSON.parse(graph);
  plan.tensors.set(weight + HARM, plan.tensors.get(weight)!);
  plan.tensors.delete(weight);
  plan.config = { ...plan.config, [HARM]: HARM };
  plan.recipe.name = HARM;
  plan.source = HARM;
  plan.calibration = { text: HARM, samples: 1, window: 1 };
  return plan;
}
/** The bytes of a safetensors file with other metadata. */
function withMetadata(bytes: Uint8Array, more: Readonly<Record<string, string>>): Uint8Array {
  const end = 8 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  const header = JSON.parse(Buffer.from(bytes.subarray(8, end)).toString());
  Object.assign(header.__metadata__, more);
  return safetensors(header, bytes.subarray(end));
}

beforeAll(() => {
  const files = toyFiles();
  const folders: Record<string, Files> = {
    plan: { 'model.safetensors': fileOf(renamed()) },
    beside: { ...files, 'model.safetensors': fileOf(renamed()) },
    version: { 'model.safetensors': withMetadata(fileOf(good), { version: HARM }) },
    json: { 'model.safetensors': withMetadata(fileOf(good), { recipe: HARM }) },
    stats: {
      ...files,
      'stats.quamba.safetensors': withMetadata(fileOf(good), { format: HARM, version: HARM }),
    },
    weights: {
      'config.json': files['config.json'],
      'model.safetensors.index.json': json({ weight_map: { [HARM]: `${HARM}${'x'.repeat(3e6)}` } }),
    },
    config: { ...files, 'config.json': utf8(`{"a": ${HARM}}`) },
    type: { ...files, 'config.json': json({ model_type: HARM }) },
  };
  for (const [name, content] of Object.entries(folders)) writeFolder(join(here, name), content);
  writeFileSync(join(here, 'recipe.json'), JSON.stringify({ [HARM]: 1 }));
  writeFileSync(join(here, 'broken.json'), `{"a": ${HARM}}`);
});

describe('a terminal is shown text only', () => {
  const tokens = ['--tokens', '1', '--max-tokens', '1'];
  it.each<[code: number, ...command: string[]]>([
    [0, 'inspect', '--model', 'plan'],
    [0, 'inspect', '--model', 'plan', '--plan'],
    [0, 'inspect', '--model', 'plan', '--tensors'],
    [0, 'inspect', '--model', 'plan', '--plan', '--tensors', '--json'],
    [0, 'inspect', '--model', 'plan', '--json'],
    [1, 'inspect', '--model', 'plan', '--verify'],
    [0, 'generate', '--model', 'plan', ...tokens, '--json'],
    [1, 'generate', '--model', 'plan', '--recipe', 'fp32', ...tokens],
    [0, 'quantize', '--model', 'plan', '--out', 'out'],
    [1, 'eval', '--model', 'plan', '--limit', '10', '--window', '10'],
    [1, 'export', '--model', 'plan', '--out', 'out.gguf'],
    ...['beside', 'version', 'json', 'weights', 'config', 'type'].map(
      folder => [1, 'generate', '--model', folder, ...tokens] as [number, ...string[]],
    ),
    [1, 'generate', '--model', 'stats', '--recipe', 'quamba', ...tokens],
    [2, 'generate', '--recipe', 'recipe.json', ...tokens],
    [2, 'generate', '--recipe', 'broken.json', ...tokens],
    [2, 'generate', `--${WORD}`],
    [2, 'generate', '--backend', WORD],
    [2, 'report', WORD],
  ])('%i quamba %s (%#)', async (code, ...command) => {
    const ended = await quamba(here, ...command);
    const said = ended.stdout + ended.stderr;
    expect(ended.code, said.slice(0, 1000)).toBe(code);
    expect(said.replaceAll('\n', '')).not.toMatch(COMMANDS);
    expect(said).not.toMatch(/^quamba: all is well/m);
    expect(said.length).toBeLessThan(100_000);
  });

  it('and what a model is asked to go on from stays as it is', async () => {
    const { stdout, stderr } = await quamba(here, 'generate', '--prompt', 'a\x1b[1mb', '--max-tokens', '0');
    expect(stdout).toBe('a\x1b[1mb\n');
    expect(stderr).toMatch(/^\nfp32 on |^\nquamba on /);
  });

  it('a restored state', () => {
    const { snapshot, restore } = createSession(runnableOf(toy, recipes.fp32, 'fp32'));
    const saved = snapshot();
    for (const key of ['version', 'identity', 'model', 'position'])
      expect(
        thrown(() => restore(withMetadata(saved, { ...(key === 'model' && { identity: '' }), [key]: HARM })))
          .message,
      ).not.toMatch(COMMANDS);
  });
});
