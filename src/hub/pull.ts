/**
 * A model of the Hugging Face hub into the cache: config, tokenizer and weights, nothing else. The configuration comes first,
 * so that a model that cannot run is known before its gigabytes are here; a revision gets its name when it is whole.
 */
import { randomUUID } from 'node:crypto';
import { copyFileSync, existsSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { makeFolder, openFolder, writeFileAtomic } from '../formats/disk.ts';
import { isObject, isSize, mostBytes, plain, readJson } from '../formats/json.ts';
import { TOKENIZER_FILES } from '../formats/tokenizer.ts';
import { orUndo } from '../formats/undo.ts';
import { indexOf, WEIGHT_FILES } from '../formats/weights.ts';
import { parseConfig } from '../model/index.ts';
import { type HubSettings, hubSettings, isCommit, isRepoName, repoFolder } from './cache.ts';
import { type DownloadOptions, download, type RemoteFile } from './download.ts';
import { type Attempts, HubFailure, hubApi, hubRequest } from './request.ts';

export interface PullOptions extends Omit<DownloadOptions, 'onProgress'> {
  /** A branch, a tag or a commit; `main` by default. */
  readonly revision?: string;
  /** Default: what the environment says. */
  readonly settings?: HubSettings;
  readonly onProgress?: (file: string, done: number, total: number) => void;
}

export interface Pulled {
  readonly model: string;
  /** The commit. */
  readonly revision: string;
  readonly folder: string;
  readonly files: readonly { readonly name: string; readonly bytes: number; readonly fetched: boolean }[];
}

const COMPANIONS = [...TOKENIZER_FILES, 'generation_config.json'];

/**
 * Fetches what is not in the cache yet.
 *
 * @throws Error in one sentence: no network, no such model, not allowed, not a model that can run, wrong bytes.
 */
export async function pull(model: string, options: PullOptions = {}): Promise<Pulled> {
  const { revision = 'main', settings = hubSettings(), onProgress } = options;
  if (!isRepoName(model)) throw new RangeError(`pull: model expected owner/name; got '${model}'`);
  if (!/^[\w.-]+(?:\/[\w.-]+)*$/.test(revision) || revision.split('/').includes('..'))
    throw new RangeError(`pull: revision expected a branch, a tag or a commit; got '${revision}'`);
  if (settings.offline)
    throw new Error(`${model}: cannot be fetched, HF_HUB_OFFLINE says that there is no network`);

  checkSettings(settings);

  const { commit, files } = await listing(model, revision, settings, options);
  const folder = repoFolder(settings.cache, model);
  const snapshot = join(folder, 'snapshots', commit);
  const pulled: Pulled['files'][number][] = [];

  const fetchFile = async (name: string): Promise<void> => {
    const file = files.get(name);
    if (!file) throw new Error(`${model}: has no ${plain(name)}`);
    if (name.endsWith('.json') && file.size > mostBytes(name))
      throw new Error(`${model}/${name}: expected at most ${mostBytes(name)} bytes; got ${file.size}`);
    const blob = join(folder, 'blobs', file.sum.hex);
    const fetched = await download(`${model}/${name}`, file, blob, {
      ...options,
      onProgress: (done, total) => onProgress?.(name, done, total),
    });
    await link(blob, join(snapshot, name));
    pulled.push({ name, bytes: file.size, fetched });
  };

  await fetchFile('config.json');
  const here = openFolder(snapshot);
  parseConfig(readJson(here, 'config.json'), `${model}/config.json`);
  for (const name of COMPANIONS.filter(companion => files.has(companion))) await fetchFile(name);

  const single = WEIGHT_FILES.find(name => files.has(name) || files.has(indexOf(name)));
  if (!single)
    throw new Error(`${model}: has neither ${WEIGHT_FILES.join(' nor ')}, nor the index of its shards`);
  if (files.has(single)) await fetchFile(single);
  else {
    const index = indexOf(single);
    await fetchFile(index);
    for (const shard of shardsOf(readJson(openFolder(snapshot), index), `${model}/${index}`))
      await fetchFile(shard);
  }
  if (!isCommit(revision)) {
    const ref = join(folder, 'refs', revision);
    makeFolder(dirname(ref));
    await writeFileAtomic(ref, [new TextEncoder().encode(commit)]);
  }
  return { model, revision: commit, folder: snapshot, files: pulled };
}

/** What stands in them may be a secret, so it is not shown. */
function checkSettings({ endpoint, token, tokenFrom = 'token' }: HubSettings): void {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password)
    throw new Error(
      'HF_ENDPOINT: expected the address of a hub, such as https://huggingface.co, without a password',
    );
  if (token && !/^[\x21-\x7e]+$/.test(token))
    throw new Error(
      `${tokenFrom}: is no token; a line break or another character is in it that no token has`,
    );
}

/** No step of a path, and nothing hidden. */
const PLAIN = /^\w[\w.-]*$/;
const SUMS = { sha256: /^[0-9a-f]{64}$/, 'git-sha1': /^[0-9a-f]{40}$/ } as const;

/** The commit of a revision, and the files of its top folder by name. */
async function listing(
  model: string,
  revision: string,
  settings: HubSettings,
  options: Attempts,
): Promise<{ readonly commit: string; readonly files: ReadonlyMap<string, RemoteFile> }> {
  // the client of the hub is half a megabyte: only who pulls waits for it
  const hub = await import('@huggingface/hub');
  const at = { hubUrl: settings.endpoint, fetch: hubApi(model, settings, options) };
  const files = new Map<string, RemoteFile>();
  try {
    const { sha: commit } = await hub.modelInfo({ name: model, revision, additionalFields: ['sha'], ...at });
    if (!isCommit(commit)) throw new Error('no commit');
    const listed = hub.listFiles({ repo: model, revision: commit, ...at });
    for await (const { type, path, size, oid, lfs } of listed) {
      if (type !== 'file' || !PLAIN.test(path)) continue;
      const kind = lfs ? 'sha256' : 'git-sha1';
      const hex = lfs ? lfs.oid : oid;
      if (!hex || !SUMS[kind].test(hex)) throw new Error(`no ${kind} of ${path}`);
      if (!isSize(size)) throw new Error(`no size of ${path}`);
      const url = `${at.hubUrl}/${model}/resolve/${commit}/${encodeURIComponent(path)}`;
      const request = (begin: number) =>
        hubRequest(
          `${model}/${path}`,
          settings,
          url,
          begin > 0 ? { range: `bytes=${begin}-` } : {},
          options.limits,
        );
      files.set(path, { name: path, size, sum: { kind, hex }, request });
    }
    return { commit, files };
  } catch (error) {
    if (error instanceof HubFailure) throw error;
    const { message } = error as Error;
    throw new Error(`${model}: ${at.hubUrl} does not answer as the hub does (${plain(message)})`, {
      cause: error,
    });
  }
}

function shardsOf(index: unknown, where: string): readonly string[] {
  const map = isObject(index) ? index.weight_map : undefined;
  if (!isObject(map)) throw new Error(`${where}: weight_map expected an object`);
  return [...new Set(Object.values(map).map(String))].sort();
}

/** A link as the Python library makes it, so that a moved cache stays whole; a copy where the system has no links. */
async function link(blob: string, path: string): Promise<void> {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  const made = `${path}.${randomUUID()}.tmp`;
  await orUndo(
    () => rmSync(made, { force: true }),
    async () => {
      try {
        symlinkSync(relative(dirname(path), blob), made);
      } catch {
        copyFileSync(blob, made);
      }
      renameSync(made, path); // over a link to nothing, and over one that another process made meanwhile
    },
  );
}
