/**
 * Where pulled models lie: the cache of Hugging Face's own Python library, in its layout, so that both share one copy.
 *
 *   <cache>/models--state-spaces--mamba-130m-hf/
 *     blobs/<sha256, or git's sha1>            the bytes; `….incomplete` while they come
 *     snapshots/<commit>/config.json           a link to the blob
 *     refs/main                                the commit that `main` was when it was pulled
 *
 * Source  https://huggingface.co/docs/huggingface_hub/guides/manage-cache and …/package_reference/environment_variables
 */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { decodeUtf8 } from '../formats/bytes.ts';
import { readFile } from '../formats/disk.ts';

export interface HubSettings {
  /** The hub, or a mirror of it. */
  readonly endpoint: string;
  readonly cache: string;
  readonly token?: string;
  /** Where the token was found, for errors. */
  readonly tokenFrom?: string;
  /** The variable that names a proxy which Node does not follow. */
  readonly proxy?: string;
  /** The user said that there is no network. */
  readonly offline: boolean;
}

/** What the environment says, by the names that the Python library reads. An empty variable is none. */
export function hubSettings(env: NodeJS.ProcessEnv = process.env): HubSettings {
  const said = (...names: readonly string[]): string | undefined =>
    names.map(name => env[name]?.trim()).find(value => value);
  const path = (value: string): string => resolve(value.replace(/^~(?=$|\/|\\)/, homedir()));
  const home = path(
    said('HF_HOME') ?? join(said('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface'),
  );
  const tokenFile = path(said('HF_TOKEN_PATH') ?? join(home, 'token'));
  const named = ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN'].find(name => said(name));
  const token = named ? said(named) : fileText(tokenFile);
  // the flag is as old as the variable, and a Node that has neither goes past the proxy in silence
  const follows =
    env.NODE_USE_ENV_PROXY === '1' && process.allowedNodeEnvironmentFlags.has('--use-env-proxy');
  const proxy = ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy'].find(name => said(name));
  return {
    endpoint: (said('HF_ENDPOINT') ?? 'https://huggingface.co').replace(/\/+$/, ''),
    cache: path(said('HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub')),
    ...(token && { token, tokenFrom: named ?? tokenFile }),
    ...(proxy && !follows && { proxy }),
    offline: /^(?:1|on|yes|true)$/i.test(said('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE') ?? ''),
  };
}

function fileText(path: string): string | undefined {
  try {
    return decodeUtf8(readFile(path, { pipes: false }))?.trim() || undefined;
  } catch {
    return undefined;
  }
}

/** `owner/name`, as the hub allows it. */
export const isRepoName = (text: string): boolean =>
  /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(text) && !/\.\.|--|[.-](?:\/|$)/.test(text);

export const repoFolder = (cache: string, repo: string): string =>
  join(cache, `models--${repo.replace('/', '--')}`);

export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

/** The folder of a pulled revision, if it is there. */
export function snapshotOf(cache: string, repo: string, revision = 'main'): string | undefined {
  const folder = repoFolder(cache, repo);
  const commit = isCommit(revision) ? revision : fileText(join(folder, 'refs', revision));
  if (!commit || !isCommit(commit)) return undefined;
  const snapshot = join(folder, 'snapshots', commit);
  return existsSync(join(snapshot, 'config.json')) ? snapshot : undefined;
}

/** The models that come with the project. The package has only the one that runs by default. */
export const MODELS = join(fileURLToPath(import.meta.url), '../../../models');

/**
 * The folder that a user means: the path itself, or, where no such path is, for `name` the model that comes with the project, and
 * for `owner/name` what was pulled under it.
 *
 * @throws Error when neither is there, or where an address is given.
 */
export function modelFolder(path: string, settings: HubSettings = hubSettings()): string {
  if (path === '')
    throw new Error('the model: expected a folder, or the name of a pulled one; got an empty text');
  if (/^https?:/i.test(path) && URL.canParse(path))
    throw new Error(`${withoutSecrets(path)}: expected a folder, or owner/name, which quamba pull fetches`);
  if (existsSync(path)) return path;
  const own = join(MODELS, path);
  if (/^[\w-]+$/.test(path) && existsSync(join(own, 'config.json'))) return own;
  if (!isRepoName(path)) return path;
  const found = snapshotOf(settings.cache, path);
  if (found) return found;
  throw new Error(
    `${path}: no such folder, and no model of this name was pulled; quamba pull ${path} fetches it`,
  );
}

/** An address as it may be shown: without the name, the password and the query, which may be a token. */
export function withoutSecrets(address: string | URL): string {
  const { protocol, host, pathname } = new URL(address);
  return `${protocol}//${host}${pathname}`;
}

/** What a model's folder is called: its last step, or in the cache the name under which it was pulled. */
export function modelName(folder: string): string {
  const steps = resolve(folder).split(/[/\\]/);
  const [repo, snapshots] = steps.slice(-3);
  const pulled = snapshots === 'snapshots' ? /^models--.+?--(.+)$/.exec(repo) : null;
  return pulled?.[1] ?? steps.at(-1)!;
}
