/**
 * A model's folder over HTTP: its files are fetched whole, with progress, and kept by the page's Cache API, so that the next
 * visit asks the server only whether they are still the same.
 */
import { mostBytes } from '../formats/json.ts';

export interface FetchProgress {
  readonly file: string;
  /** Bytes so far. */
  readonly loaded: number;
  /** Bytes in all; undefined where the server does not say, or more have come than it said. */
  readonly total: number | undefined;
  readonly fromCache: boolean;
}

export interface FetchOptions {
  /**
   * Keep files with the Cache API, where the page has one (it takes https or localhost). 'reload' fetches them anew all the same.
   * Default: true.
   */
  readonly cache?: boolean | 'reload';
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: FetchProgress) => void;
}

/** What `caches` calls our files. `caches.delete(MODEL_CACHE)` frees them. */
export const MODEL_CACHE = 'quamba-models';

/** Files of a model's folder, by name. */
export type Files = Readonly<Record<string, Uint8Array>>;

/**
 * Files of the folder at `url`. A name that ends in `?` may be missing; of names that stand in a list, the first that is there
 * counts.
 *
 *   const files = await fetchFiles('/models/books', ['config.json', ['plan.quamba.safetensors?', 'model.safetensors']]);
 *   const model = await openModel(folderOf('books', files));
 *
 * @throws Error naming the file and the server's answer, or the most bytes that it may have; the signal's reason where it was
 * aborted.
 */
export async function fetchFiles(
  url: string | URL,
  names: readonly (string | readonly string[])[],
  options: FetchOptions = {},
): Promise<Files> {
  const base = new URL(`${url}`.replace(/\/*$/, '/'), globalThis.location?.href);
  const found = names.map(async alternatives => {
    for (const name of [alternatives].flat()) {
      const file = name.replace(/\?$/, '');
      const bytes = await fetchFile(new URL(file, base), file, name !== file, options);
      if (bytes) return [[file, bytes] as const];
    }
    return [];
  });
  return Promise.all(found).then(
    files => Object.fromEntries(files.flat()),
    error => {
      options.signal?.throwIfAborted(); // whatever it then failed with
      throw error;
    },
  );
}

async function fetchFile(
  url: URL,
  file: string,
  optional: boolean,
  { cache = true, signal, onProgress }: FetchOptions,
): Promise<Uint8Array | undefined> {
  const store = cache ? await globalThis.caches?.open(MODEL_CACHE).catch(() => undefined) : undefined;
  const progress = (fromCache: boolean) => (loaded: number, total?: number) => {
    signal?.throwIfAborted();
    onProgress?.({ file, loaded, total, fromCache });
  };
  const kept = cache === 'reload' ? undefined : await store?.match(url).catch(() => undefined);
  if (kept && (await isStillThere(url, kept, signal))) {
    const bytes = await readBody(kept, url, progress(true)).catch(() => undefined);
    if (bytes && (await sumOf(bytes)) === kept.headers.get(SUM)) return bytes;
  }
  const request = { signal, cache: cache === 'reload' ? cache : 'default' } as const;
  const response = await fetch(url, request).catch(unfetched(url));
  // A host that answers every address with a page has no such file either.
  const isPage = /^text\/html\b/.test(response.headers.get('content-type') ?? '');
  if (optional && (response.status === 404 || isPage)) return undefined;
  if (!response.ok || isPage)
    throw new Error(
      `${url}: expected a file; the server answered ${isPage ? 'with a page' : response.status}`,
    );
  const bytes = await readBody(response, url, progress(false));
  if (!store) return bytes;
  const headers = new Headers({ 'content-length': `${bytes.length}`, [SUM]: await sumOf(bytes) });
  for (const name of KEPT_HEADERS)
    if (response.headers.has(name)) headers.set(name, response.headers.get(name)!);
  // A full disk is no reason to fail: the next visit fetches again.
  await store.put(url, new Response(bytes as BodyInit, { headers })).catch(() => {});
  return bytes;
}

/** What tells one version of a file from another. */
const KEPT_HEADERS = ['etag', 'last-modified'] as const;

/** The header under which the sum of a file is kept: a damaged entry is fetched again. */
const SUM = 'quamba-sha256';
/** A page that has the Cache API has this too. */
const sumOf = async (bytes: Uint8Array): Promise<string> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as BufferSource)).toString();

/** Whether the server still has what was kept. Without a network, what was kept is what there is. */
async function isStillThere(url: URL, kept: Response, signal?: AbortSignal): Promise<boolean> {
  const now = await fetch(url, { method: 'HEAD', cache: 'no-cache', signal }).catch(() => undefined);
  if (!now?.ok) return now === undefined;
  const known = KEPT_HEADERS.filter(name => kept.headers.has(name));
  return known.length > 0 && known.every(name => now.headers.get(name) === kept.headers.get(name));
}

const unfetched = (url: URL) => (cause: Error) => {
  throw new Error(`${url}: could not be fetched (${cause.message})`, { cause });
};

/** Of a file that is no JSON: as much as an array of bytes can have in the engines of today. */
const MOST_BYTES = 2 ** 33;
/** What is taken before the first byte has come, whatever the server says. */
const FIRST = 1 << 20;

/** @param tell of bytes so far and in all; it may throw, which ends the reading */
async function readBody(
  response: Response,
  url: URL,
  tell: (loaded: number, total?: number) => void,
): Promise<Uint8Array> {
  const { headers, type, body } = response;
  const file = url.pathname.split('/').at(-1)!;
  const most = file.endsWith('.json') ? mostBytes(file) : MOST_BYTES;
  // A compressed body is longer than its content-length says, and another origin does not tell whether it is compressed.
  const said = headers.has('content-encoding') ? '' : (headers.get('content-length') ?? '');
  const total = /^\d+$/.test(said) ? Number(said) : Number.POSITIVE_INFINITY;
  const reader = body?.getReader(); // an empty body may be none
  let bytes = new Uint8Array(Math.min(total, FIRST));
  let loaded = 0;
  try {
    for (;;) {
      tell(loaded, loaded <= total && total < Number.POSITIVE_INFINITY ? total : undefined);
      const { done, value } = (await reader?.read().catch(unfetched(url))) ?? { done: true };
      if (done) break;
      const size = loaded + value.length;
      if (size > most) throw new Error(`${url}: expected at most ${most} bytes; got more`);
      if (size > bytes.length) {
        const twice = 2 * bytes.length;
        const larger = new Uint8Array(Math.max(size, size <= total ? Math.min(twice, total) : twice));
        larger.set(bytes.subarray(0, loaded));
        bytes = larger;
      }
      bytes.set(value, loaded);
      loaded = size;
    }
    if (type !== 'cors' && total < Number.POSITIVE_INFINITY && loaded !== total)
      throw new Error(`${url}: expected ${total} bytes; got ${loaded}`);
  } finally {
    await reader?.cancel().catch(() => {});
  }
  return bytes.subarray(0, loaded);
}
