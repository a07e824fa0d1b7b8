/**
 * A model's folder over HTTP: its files are fetched whole, with progress, and kept by the page's Cache API, so that the next
 * visit asks the server only whether they are still the same.
 */
export interface FetchProgress {
  readonly file: string;
  /** Bytes so far. */
  readonly loaded: number;
  /** Bytes in all; undefined where the server does not say. */
  readonly total: number | undefined;
  readonly fromCache: boolean;
}

export interface FetchOptions {
  /** Keep files with the Cache API, where the page has one (it takes https or localhost). Default: true. */
  readonly cache?: boolean;
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
 * @throws Error naming the file and the server's answer; the signal's reason where it was aborted.
 */
export async function fetchFiles(
  url: string | URL,
  names: readonly (string | readonly string[])[],
  options: FetchOptions = {},
): Promise<Files> {
  const base = new URL(`${url}`.replace(/\/*$/, '/'), globalThis.location?.href);
  const found = await Promise.all(
    names.map(async alternatives => {
      for (const name of [alternatives].flat()) {
        const file = name.replace(/\?$/, '');
        const bytes = await fetchFile(new URL(file, base), file, name !== file, options);
        if (bytes) return [[file, bytes] as const];
      }
      return [];
    }),
  );
  return Object.fromEntries(found.flat());
}

async function fetchFile(
  url: URL,
  file: string,
  optional: boolean,
  { cache = true, signal, onProgress }: FetchOptions,
): Promise<Uint8Array | undefined> {
  const store = cache ? await globalThis.caches?.open(MODEL_CACHE).catch(() => undefined) : undefined;
  const kept = await store?.match(url);
  if (kept && (await isStillThere(url, kept, signal)))
    return readBody(kept, file, true, { signal, onProgress });
  const response = await fetch(url, { signal }).catch(cause => {
    signal?.throwIfAborted();
    throw new Error(`${url}: ${file} could not be fetched (${cause.message})`, { cause });
  });
  // A host that answers every address with a page has no such file either.
  const isPage = /^text\/html\b/.test(response.headers.get('content-type') ?? '');
  if (optional && (response.status === 404 || isPage)) return undefined;
  if (!response.ok || isPage)
    throw new Error(
      `${url}: expected a file; the server answered ${isPage ? 'with a page' : response.status}`,
    );
  const bytes = await readBody(response, file, false, { signal, onProgress });
  const headers = new Headers({ 'content-length': `${bytes.length}` });
  for (const name of KEPT_HEADERS)
    if (response.headers.has(name)) headers.set(name, response.headers.get(name)!);
  // A full disk is no reason to fail: the next visit fetches again.
  await store?.put(url, new Response(bytes as BodyInit, { headers })).catch(() => {});
  return bytes;
}

/** What tells one version of a file from another. */
const KEPT_HEADERS = ['etag', 'last-modified'] as const;

/** Whether the server still has what was kept. Without a network, what was kept is what there is. */
async function isStillThere(url: URL, kept: Response, signal?: AbortSignal): Promise<boolean> {
  const now = await fetch(url, { method: 'HEAD', cache: 'no-cache', signal }).catch(() => undefined);
  signal?.throwIfAborted();
  if (!now?.ok) return now === undefined;
  const known = KEPT_HEADERS.filter(name => kept.headers.has(name));
  return known.length > 0 && known.every(name => now.headers.get(name) === kept.headers.get(name));
}

async function readBody(
  response: Response,
  file: string,
  fromCache: boolean,
  { signal, onProgress }: Pick<FetchOptions, 'signal' | 'onProgress'>,
): Promise<Uint8Array> {
  // A compressed body is longer than its content-length says.
  const said = response.headers.has('content-encoding') ? null : response.headers.get('content-length');
  const total = said === null ? undefined : Number(said);
  const tell = (loaded: number) => onProgress?.({ file, loaded, total, fromCache });
  let bytes = new Uint8Array(total ?? 1 << 16);
  let loaded = 0;
  tell(0);
  const reader = response.body!.getReader();
  for (;;) {
    signal?.throwIfAborted();
    const { done, value } = await reader.read();
    if (done) break;
    if (loaded + value.length > bytes.length) {
      const larger = new Uint8Array(Math.max(2 * bytes.length, loaded + value.length));
      larger.set(bytes);
      bytes = larger;
    }
    bytes.set(value, loaded);
    loaded += value.length;
    tell(loaded);
  }
  if (total !== undefined && loaded !== total)
    throw new Error(`${response.url || file}: expected ${total} bytes; got ${loaded}`);
  return bytes.subarray(0, loaded);
}
