/** `quamba pull` against a server of this machine: what is fetched, from where, how it goes on after a break, and every refusal. */
import { execFile, spawnSync } from 'node:child_process';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hubSettings, isRepoName, MODELS, modelFolder, modelName, snapshotOf } from '../../src/hub/cache.ts';
import { pull } from '../../src/hub/pull.ts';
import { hubRequest, LIMITS } from '../../src/hub/request.ts';
import { load } from '../../src/open/node.ts';
import { bin, workFolder } from '../cli/run.ts';
import { type Files, json, sharded, toyFiles, toyTensors } from '../cli/toy.ts';
import { gitSha1, type Hub, type Repo, sha256, startHub } from './server.ts';

const work = workFolder();
const files = toyFiles({ text: true });
const weights = files['model.safetensors'];
const { 'model.safetensors': _, ...noWeights } = files;
const bin2 = new Uint8Array(readFileSync(new URL('../formats/pytorch/valid/linear.bin', import.meta.url)));
const ends = json({ eos_token_id: [0, 1] });
const other = { 'README.md': json('x'), 'flax_model.msgpack': weights, 'pytorch_model.bin': bin2 };

const repos: Readonly<Record<string, Repo>> = {
  'state-spaces/toy-hf': { ...other, ...files, 'generation_config.json': ends },
  'state-spaces/toy': { 'config.json': noWeights['config.json'], 'pytorch_model.bin': bin2 },
  'some/shards': { ...noWeights, ...sharded(toyTensors({ text: true })) },
  'some/llama': {
    'config.json': json({ model_type: 'llama', hidden_size: 8 }),
    'model.safetensors': weights,
  },
  'some/no-config': { 'model.safetensors': weights },
  'some/no-weights': noWeights,
  'some/bad-index': {
    ...noWeights,
    'model.safetensors.index.json': json({ weight_map: { a: '../../x', b: 'y' } }),
  },
};

let hub: Hub;
let cache: string;
let run = 0;
beforeEach(async () => {
  hub = await startHub(repos);
  cache = join(work, `hub-${run++}`);
});
afterEach(() => hub.close());

const settings = (more = {}) => ({ endpoint: hub.endpoint, cache, offline: false, ...more });
const fetchModel = (model: string, options: Parameters<typeof pull>[1] = {}) =>
  pull(model, { settings: settings(), pause: 1, ...options });
async function refusal(model: string, options: Parameters<typeof pull>[1] = {}): Promise<string> {
  const error = await fetchModel(model, options).then(
    () => new Error('it was pulled'),
    (failure: Error) => failure,
  );
  expect(error.message).not.toMatch(/\n/);
  return error.message.replaceAll(hub.endpoint, 'HUB');
}
const TOY = 'state-spaces/toy-hf';
const blob = (bytes: Uint8Array, large = true) =>
  join(cache, 'models--state-spaces--toy-hf/blobs', large ? sha256(bytes) : gitSha1(bytes));

describe('pull', () => {
  it('fetches config, tokenizer and weights, and nothing else, into the layout of the Python library', async () => {
    const seen: string[] = [];
    const pulled = await fetchModel(TOY, {
      onProgress: (file, done, total) => seen.push(`${file} ${done}/${total}`),
    });
    const written: Files = { ...files, 'generation_config.json': ends };
    const names = Object.keys(written).sort();
    expect(pulled).toMatchObject({ model: TOY, revision: hub.commit });
    expect(pulled.folder).toBe(join(cache, 'models--state-spaces--toy-hf/snapshots', hub.commit));
    expect(readdirSync(pulled.folder).sort()).toEqual(names);
    for (const name of names) {
      const bytes = written[name];
      const path = join(pulled.folder, name);
      expect(lstatSync(path).isSymbolicLink()).toBe(true);
      const large = name === 'model.safetensors';
      expect(readlinkSync(path)).toBe(`../../blobs/${large ? sha256(bytes) : gitSha1(bytes)}`);
      expect(new Uint8Array(readFileSync(path))).toEqual(bytes);
      expect(seen).toContain(`${name} 0/${bytes.length}`);
      expect(seen).toContain(`${name} ${bytes.length}/${bytes.length}`);
      expect(pulled.files).toContainEqual({ name, bytes: bytes.length, fetched: true });
    }
    expect(readFileSync(join(cache, 'models--state-spaces--toy-hf/refs/main'), 'utf8')).toBe(hub.commit);
    expect(hub.requests.filter(({ cdn }) => cdn)).toHaveLength(1);
  });

  it('fetches nothing twice', async () => {
    await fetchModel(TOY);
    hub.requests.length = 0;
    const again = await fetchModel(TOY);
    expect(again.files.map(({ fetched }) => fetched)).toEqual([false, false, false, false, false]);
    expect(hub.requests.every(({ path }) => path.startsWith('/api/'))).toBe(true);
  });

  it('takes a tag and a commit; a name of its own is kept for the tag only', async () => {
    const { folder } = await fetchModel(TOY, { revision: 'v1' });
    expect((await fetchModel(TOY, { revision: hub.commit })).folder).toBe(folder);
    expect(readdirSync(join(cache, 'models--state-spaces--toy-hf/refs'))).toEqual(['v1']);
    expect(snapshotOf(cache, TOY)).toBeUndefined();
    expect([snapshotOf(cache, TOY, 'v1'), snapshotOf(cache, TOY, hub.commit)]).toEqual([folder, folder]);
  });

  it('takes shards by their index, and pytorch_model.bin where there is nothing else', async () => {
    const shards = await fetchModel('some/shards');
    expect(shards.files.map(({ name }) => name)).toEqual([
      'config.json',
      'tokenizer.json',
      'tokenizer_config.json',
      'model.safetensors.index.json',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
    ]);
    const { files: original } = await fetchModel('state-spaces/toy');
    expect(original.map(({ name }) => name)).toEqual(['config.json', 'pytorch_model.bin']);
  });

  it('gives the token to the hub, and to nobody else', async () => {
    hub.faults.token = 'hf_secret';
    await fetchModel(TOY, { settings: settings({ token: 'hf_secret' }) });
    for (const { cdn, token } of hub.requests) expect(token).toBe(cdn ? undefined : 'Bearer hf_secret');
    expect(hub.requests.some(({ cdn }) => cdn)).toBe(true);
    const other = await startHub(repos);
    const elsewhere = `${other.endpoint}/${TOY}/resolve/main/config.json`;
    for await (const _ of (await hubRequest(TOY, settings({ token: 'hf_secret' }), elsewhere)).body);
    await other.close();
    expect(other.requests.map(({ token }) => token)).toEqual([undefined]);
  });
});

const arrived = (bytes: number) =>
  (statSync(`${blob(weights)}.incomplete`, { throwIfNoEntry: false })?.size ?? 0) >= bytes;

describe('a download that breaks', () => {
  it('goes on where it broke, as often as something comes', async () => {
    Object.assign(hub.faults, { breakAfter: Math.ceil(weights.length / 9), breaks: 8, arrived });
    const pulled = await fetchModel(TOY, { attempts: 2, limits: { ...LIMITS, least: 1000 } });
    expect(new Uint8Array(readFileSync(join(pulled.folder, 'model.safetensors')))).toEqual(weights);
    const ranges = hub.requests.filter(({ cdn }) => cdn).map(({ range }) => range);
    expect(ranges.length).toBe(9);
    expect(new Set(ranges).size).toBe(9); // each from another byte on
    expect(ranges[0]).toBeUndefined();
  });

  it('stays half there, and the next run goes on', async () => {
    Object.assign(hub.faults, { breakAfter: 1000, breaks: 1, arrived });
    expect(await refusal(TOY, { attempts: 0 })).toMatch(
      /^state-spaces\/toy-hf\/model\.safetensors: the connection broke \(/,
    );
    expect(existsSync(blob(weights))).toBe(false);
    expect(readFileSync(`${blob(weights)}.incomplete`)).toHaveLength(1000);
    expect(snapshotOf(cache, TOY)).toBeUndefined();
    hub.requests.length = 0;
    await fetchModel(TOY);
    expect(hub.requests.filter(({ cdn }) => cdn).map(({ range }) => range)).toEqual(['bytes=1000-']);
    expect(new Uint8Array(readFileSync(blob(weights)))).toEqual(weights);
    expect(existsSync(`${blob(weights)}.incomplete`)).toBe(false);
  });

  it('gives up after attempts that bring nothing', async () => {
    Object.assign(hub.faults, { status: 503, statuses: 99 });
    const sentence = await refusal(TOY, { attempts: 3 });
    expect(sentence).toMatch(
      /^state-spaces\/toy-hf\/model\.safetensors: HUB answers 503: the answer is an error$/,
    );
    expect(hub.requests.filter(({ cdn }) => cdn)).toHaveLength(3);
    Object.assign(hub.faults, { statuses: 2 });
    expect((await fetchModel(TOY, { attempts: 3 })).files).toHaveLength(5);
  });

  it('begins anew where the server has no ranges', async () => {
    Object.assign(hub.faults, { breakAfter: 1000, breaks: 1, noRanges: true, arrived });
    await fetchModel(TOY);
    expect(new Uint8Array(readFileSync(blob(weights)))).toEqual(weights);
  });

  it('begins anew where the first part was of something else, or too long', async () => {
    for (const part of [
      new Uint8Array(1000),
      new Uint8Array(weights.length),
      new Uint8Array(weights.length + 1),
    ]) {
      rmSync(cache, { recursive: true, force: true });
      mkdirSync(join(blob(weights), '..'), { recursive: true });
      writeFileSync(`${blob(weights)}.incomplete`, part);
      await fetchModel(TOY);
      expect(new Uint8Array(readFileSync(blob(weights)))).toEqual(weights);
    }
  });
});

describe('wrong bytes', () => {
  const flipped = (bytes: Uint8Array) => bytes.map((byte, i) => (i === 5000 ? byte ^ 1 : byte));
  it('are refused by their sum, and removed', async () => {
    hub.faults.bytes = flipped;
    const sentence = await refusal(TOY);
    expect(sentence).toBe(
      `state-spaces/toy-hf/model.safetensors: expected sha256 ${sha256(weights)}; what came has ${sha256(flipped(weights))}, and was removed`,
    );
    expect(readdirSync(join(blob(weights), '..')).filter(name => /^.{64}/.test(name))).toEqual([]);
    expect(snapshotOf(cache, TOY)).toBeUndefined();
  });

  it('are refused when they are too many or too few', async () => {
    hub.faults.bytes = bytes => Buffer.concat([bytes, bytes]);
    expect(await refusal(TOY)).toBe(
      `state-spaces/toy-hf/model.safetensors: expected ${weights.length} bytes; more came`,
    );
    hub.faults.bytes = bytes => bytes.subarray(0, 100);
    rmSync(cache, { recursive: true });
    expect(await refusal(TOY, { attempts: 2 })).toBe(
      `state-spaces/toy-hf/model.safetensors: ends after 100 of ${weights.length} bytes`,
    );
  });
});

describe('refusals', () => {
  const outside = { type: 'file', path: '../../x', size: 1, oid: 'a'.repeat(40) };
  it.each<[string, string, Parameters<typeof pull>[1], object, string]>([
    [
      'no such model',
      'a/b',
      {},
      {},
      'a/b: HUB answers 401: there is no such model, or it is private; set HF_TOKEN to a token that may read it',
    ],
    ['no such revision', TOY, { revision: 'v2' }, {}, `${TOY}: HUB answers 404: there is no such revision`],
    [
      'terms',
      TOY,
      {},
      { gated: true },
      `${TOY}/config.json: HUB answers 403: its terms are to be accepted on its page first`,
    ],
    ['no config', 'some/no-config', {}, {}, 'some/no-config: has no config.json'],
    [
      'no weights',
      'some/no-weights',
      {},
      {},
      'some/no-weights: has neither model.safetensors nor pytorch_model.bin, nor the index of its shards',
    ],
    ['a shard outside', 'some/bad-index', {}, { entries: [outside] }, 'some/bad-index: has no ../../x'],
    [
      'another model',
      'some/llama',
      {},
      {},
      'some/llama/config.json: model_type expected "mamba" or "falcon_mamba" or "mamba2" or "granitemoehybrid" or "falcon_h1" or "jamba"; got "llama"',
    ],
    ['no hub', TOY, {}, { api: '<html>' }, `${TOY}: HUB does not answer as the hub does (`],
    [
      'a listing without sum',
      TOY,
      {},
      { entries: [{ type: 'file', path: 'config.json', size: 1 }] },
      `${TOY}: HUB does not answer as the hub does (no git-sha1 of config.json)`,
    ],
    [
      'a listing without size',
      TOY,
      {},
      { entries: [{ type: 'file', path: 'a', size: -1, oid: 'a'.repeat(40) }] },
      `${TOY}: HUB does not answer as the hub does (no size of a)`,
    ],
    ['a name', 'gpt2', {}, {}, "pull: model expected owner/name; got 'gpt2'"],
    ['a path', '../x', {}, {}, "pull: model expected owner/name; got '../x'"],
    [
      'a revision that leads out',
      TOY,
      { revision: '../x' },
      {},
      "pull: revision expected a branch, a tag or a commit; got '../x'",
    ],
  ])('%s', async (_name, model, options, faults, sentence) => {
    Object.assign(hub.faults, faults);
    expect(await refusal(model, options)).toContain(sentence);
    expect(hub.requests.filter(({ cdn }) => cdn)).toEqual([]); // before anything large was fetched
  });

  it('a wrong token', async () => {
    hub.faults.token = 'hf_a';
    const sentence = await refusal(TOY, { settings: settings({ token: 'hf_b' }) });
    expect(sentence).toBe(
      `${TOY}: HUB answers 401: there is no such model, or it is private; the token may not read it`,
    );
    expect(sentence).not.toContain('hf_b');
  });

  it('no network', async () => {
    const nobody = await startHub({});
    await nobody.close();
    const sentence = await refusal(TOY, { settings: settings({ endpoint: nobody.endpoint }) });
    expect(sentence).toBe(`${TOY}: ${nobody.endpoint} cannot be reached (ECONNREFUSED); is there a network?`);
    expect(await refusal(TOY, { settings: settings({ endpoint: 'http://nowhere.invalid' }) })).toMatch(
      /^state-spaces\/toy-hf: http:\/\/nowhere\.invalid cannot be reached \(E[A-Z_]+\); is there a network\?$/,
    );
    expect(await refusal(TOY, { settings: settings({ offline: true }) })).toBe(
      `${TOY}: cannot be fetched, HF_HUB_OFFLINE says that there is no network`,
    );
  });
});

describe('the settings', () => {
  const home = join(homedir(), '.cache/huggingface');
  it.each<[Record<string, string>, string]>([
    [{}, join(home, 'hub')],
    [{ XDG_CACHE_HOME: '/x' }, '/x/huggingface/hub'],
    [{ XDG_CACHE_HOME: '/x', HF_HOME: '/h' }, '/h/hub'],
    [{ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old' }, '/old'],
    [{ HF_HOME: '/h', HUGGINGFACE_HUB_CACHE: '/old', HF_HUB_CACHE: '/c' }, '/c'],
    [{ HF_HUB_CACHE: '' }, join(home, 'hub')],
    [{ HF_HOME: '~/h' }, join(homedir(), 'h/hub')],
  ])('cache by %j', (env, cache) => expect(hubSettings(env).cache).toBe(cache));

  it('token from the environment, or from the file that a login writes', () => {
    const HF_HOME = join(work, 'home');
    mkdirSync(HF_HOME);
    writeFileSync(join(HF_HOME, 'token'), 'hf_file\n');
    writeFileSync(join(work, 'token'), 'hf_other');
    expect(hubSettings({ HF_HOME }).token).toBe('hf_file');
    expect(hubSettings({ HF_HOME, HF_TOKEN: ' hf_env ' }).token).toBe('hf_env');
    expect(hubSettings({ HF_HOME, HF_TOKEN_PATH: join(work, 'token') }).token).toBe('hf_other');
    expect(hubSettings({ HF_HOME: join(work, 'none') }).token).toBeUndefined();
  });

  it('endpoint and offline', () => {
    expect(hubSettings({}).endpoint).toBe('https://huggingface.co');
    expect(hubSettings({ HF_ENDPOINT: 'https://mirror/' }).endpoint).toBe('https://mirror');
    for (const [word, offline] of Object.entries({ 1: true, ON: true, yes: true, 0: false, '': false }))
      expect(hubSettings({ HF_HUB_OFFLINE: word }).offline, word).toBe(offline);
  });
});

describe('names', () => {
  it.each(['a/b', 'state-spaces/mamba-2.8b', 'x_1/y.z-w'])('%s is one', name =>
    expect(isRepoName(name)).toBe(true),
  );
  it.each([
    'a',
    'a/b/c',
    '../b',
    './a',
    '/a',
    'a/',
    'a/..',
    'a/b--c',
    '.a/b',
    'a b/c',
    'a\\b',
    '~/a',
    'a/b.',
  ])('%s is none', name => expect(isRepoName(name)).toBe(false));

  it('lead to what was pulled; a folder of that name comes first', async () => {
    const { folder } = await fetchModel(TOY);
    expect(modelFolder(TOY, settings())).toBe(folder);
    expect(modelFolder('mamba2-books-15m', settings())).toBe(join(MODELS, 'mamba2-books-15m'));
    expect(modelFolder('mamba9', settings())).toBe('mamba9');
    expect(() => modelFolder('some/shards', settings())).toThrow(
      'some/shards: no such folder, and no model of this name was pulled; quamba pull some/shards fetches it',
    );
    expect(() => modelFolder('https://me:secret@example.org/a/b?token=secret', settings())).toThrow(
      /^https:\/\/example\.org\/a\/b: expected a folder, or owner\/name, which quamba pull fetches$/,
    );
    expect(() => modelFolder('', settings())).toThrow('the model: expected a folder');
    // what lies there and is no folder is for whoever opens it to say
    expect(modelFolder('package.json', settings())).toBe('package.json');
    expect(modelFolder('src/index.ts', settings())).toBe('src/index.ts');
    for (const path of ['../x/y', '/a/b', 'a/b/c', 'a']) expect(modelFolder(path, settings())).toBe(path);
    expect(modelFolder('src/hub', settings())).toBe('src/hub');
    expect([modelName(folder), modelName('a/b/'), modelName('models--a--b/x')]).toEqual(['toy-hf', 'b', 'x']);
  });

  it('are taken by load', async () => {
    const env = process.env.HF_HUB_CACHE;
    process.env.HF_HUB_CACHE = cache;
    try {
      await fetchModel(TOY);
      const model = await load(TOY, { backend: 'reference' });
      expect(model.session().feed([1, 2]).shape).toEqual([2, 257]);
      model.dispose();
      await expect(load('a/b')).rejects.toThrow('quamba pull a/b fetches it');
    } finally {
      if (env === undefined) delete process.env.HF_HUB_CACHE;
      else process.env.HF_HUB_CACHE = env;
    }
  });
});

describe('the command', () => {
  const quamba = (...args: string[]) =>
    new Promise<{ code: number; stdout: string; stderr: string }>(resolve => {
      const env = { PATH: process.env.PATH, HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cache };
      execFile(process.execPath, [bin, ...args], { cwd: work, env }, (error, stdout, stderr) =>
        resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
      );
    });

  it('prints the folder, and then the name is a model', async () => {
    const prompt = ['--tokens', '1,2', '--max-tokens', '2', '--json', '--model', TOY];
    expect(await quamba('generate', ...prompt)).toEqual({
      code: 1,
      stdout: '',
      stderr: `quamba: ${TOY}: no such folder, and no model of this name was pulled; quamba pull ${TOY} fetches it\n`,
    });
    const { code, stdout, stderr } = await quamba('pull', TOY);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${snapshotOf(cache, TOY)}\n` });
    expect(stderr).toMatch(/^config\.json, MB: 0\/0\.1, /m);
    expect(stderr).toMatch(/^model\.safetensors, MB: 0\.1\/0\.1, /m);
    const written = await quamba('generate', ...prompt);
    expect(written.stderr).toBe('');
    expect(JSON.parse(written.stdout).tokens).toHaveLength(2);
  });

  it('goes on where nobody reads its progress', async () => {
    const env = { PATH: process.env.PATH, HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cache };
    const ended = await new Promise<object>(resolve => {
      const child = execFile(process.execPath, [bin, 'pull', TOY], { cwd: work, env }, (error, stdout) =>
        resolve({ error, stdout }),
      );
      child.stderr!.destroy();
    });
    expect(ended).toEqual({ error: null, stdout: `${snapshotOf(cache, TOY)}\n` });
  });

  it('--json', async () => {
    const { stdout, stderr } = await quamba('pull', 'state-spaces/toy', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ model: 'state-spaces/toy', revision: hub.commit });
    expect(stderr).toMatch(/^config\.json, MB: /m);
    expect((await quamba('pull', 'state-spaces/toy')).stderr).toMatch(
      /has no tokenizer\.json, so it takes --tokens/,
    );
  });

  it('says what is wrong in one sentence', async () => {
    expect(await quamba('pull', 'gpt2')).toMatchObject({
      code: 2,
      stderr: "quamba: pull: model expected owner/name; got 'gpt2'\n",
    });
    const { code, stderr } = await quamba('pull', 'a/b', '--json');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^quamba: a\/b: .* answers 401: [^\n]*\n$/);
  });

  it('is the only one that loads the client of the hub', () => {
    for (const path of readdirSync(new URL('../../dist', import.meta.url), {
      recursive: true,
      encoding: 'utf8',
    }))
      if (path.endsWith('.js'))
        expect(readFileSync(new URL(`../../dist/${path}`, import.meta.url), 'utf8'), path).not.toMatch(
          /^import .*['"]@huggingface\/hub['"]/m,
        );
  });
});

afterAll(() => rmSync(work, { recursive: true, force: true }));

describe('two at once', () => {
  const isSound = () => {
    expect(new Uint8Array(readFileSync(blob(weights)))).toEqual(weights);
    expect(readdirSync(join(blob(weights), '..')).filter(name => /[.]/.test(name))).toEqual([]);
  };
  /** What a process of its own that pulls ends with. */
  const pulls = () =>
    new Promise<string>(resolve =>
      execFile(
        process.execPath,
        [bin, 'pull', TOY, '--json'],
        { env: { ...process.env, HF_ENDPOINT: hub.endpoint, HF_HUB_CACHE: cache } },
        (_, stdout, stderr) => resolve(stdout ? JSON.parse(stdout).folder : stderr),
      ),
    );

  it('in one process: one fetches, and the other waits for it', async () => {
    Object.assign(hub.faults, { breakAfter: 1000, breaks: 1, arrived });
    const both = await Promise.all([fetchModel(TOY), fetchModel(TOY)]);
    expect(both.flatMap(({ files }) => files.filter(({ fetched }) => fetched))).toHaveLength(5);
    expect(hub.requests.filter(({ cdn }) => cdn).map(({ range }) => range)).toEqual([
      undefined,
      'bytes=1000-',
    ]);
    isSound();
  });

  it('in two processes: both end well', async () => {
    const both = await Promise.all([pulls(), pulls()]);
    const folder = join(cache, 'models--state-spaces--toy-hf/snapshots', hub.commit);
    expect(both).toEqual([folder, folder]);
    isSound();
  });

  it('takes over the lock of a process that is no more', async () => {
    const gone = spawnSync(process.execPath, ['-e', '']).pid;
    const space = process.platform === 'linux' ? readlinkSync('/proc/self/ns/pid') : '';
    mkdirSync(join(blob(weights), '..'), { recursive: true });
    writeFileSync(`${blob(weights)}.lock`, `${gone} ${hostname()}/${space} 1 x`);
    await fetchModel(TOY);
    isSound();
  });

  it('makes a link over one to nothing', async () => {
    const { folder } = await fetchModel(TOY);
    rmSync(blob(weights));
    await fetchModel(TOY);
    isSound();
    expect(readdirSync(folder)).toHaveLength(5);
  });
});
