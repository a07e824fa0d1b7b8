/** What the files of the project import, read by a parser, and the circles in it. */
import { posix } from 'node:path';
import { parseSync } from 'rolldown/utils';

/** A file of the project: its path from the root, with forward slashes, and its text. */
export interface Source {
  readonly path: string;
  readonly text: string;
}

export interface Import {
  readonly from: string;
  readonly typeOnly: boolean;
}

/** A node of a syntax tree, of which only what imports have is typed. */
interface SyntaxNode {
  readonly type: string;
  readonly source?: { readonly value?: unknown } | null;
  readonly importKind?: string;
  readonly exportKind?: string;
  readonly specifiers?: readonly { readonly importKind?: string; readonly exportKind?: string }[];
}

type Parsed = ReturnType<typeof parseSync>;

/** A source as a syntax tree and its comments. AssemblyScript is TypeScript with decorators of functions. */
const parse = perSource(({ path, text }): Parsed => {
  const plain = path.startsWith('assembly/')
    ? text.replace(/^@\w+/gm, word => ' '.repeat(word.length))
    : text;
  const result = parseSync(path, plain, { lang: path.endsWith('.ts') ? 'ts' : 'js' });
  // what is only wrong where it stands, as a return outside of a function, does not keep a text from being parsed
  if (result.program.body.length === 0 && result.errors.length > 0)
    throw new Error(`${path}: cannot be parsed; ${result.errors[0].message}`);
  return result;
});

/** `make`, once for each source. */
function perSource<T>(make: (source: Source) => T): (source: Source) => T {
  const made = new Map<Source, T>();
  return source => {
    const known = made.get(source) ?? make(source);
    made.set(source, known);
    return known;
  };
}

/** The text without its comments; strings stay. */
export function codeOf(source: Source): string {
  let [code, at] = ['', 0];
  for (const { start, end } of parse(source).comments) {
    code += source.text.slice(at, start);
    at = end;
  }
  return code + source.text.slice(at);
}

/** Every import and re-export, static, dynamic and of types. */
export const importsOf = perSource((source): readonly Import[] => {
  const found: Import[] = [];
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) for (const one of value) visit(one);
    else if (typeof value === 'object' && value !== null) {
      if ('type' in value) see(value as SyntaxNode);
      for (const one of Object.values(value)) visit(one);
    }
  };
  const see = ({ type, source: from, importKind, exportKind, specifiers = [] }: SyntaxNode): void => {
    if (typeof from?.value !== 'string' || !/^(?:Import|Export|TSImportType)/.test(type)) return;
    const ofTypes = specifiers.map(one => one.importKind === 'type' || one.exportKind === 'type');
    const typeOnly =
      type === 'TSImportType' ||
      importKind === 'type' ||
      exportKind === 'type' ||
      (ofTypes.length > 0 && ofTypes.every(yes => yes));
    found.push({ from: from.value, typeOnly });
  };
  visit(parse(source).program);
  return found;
});

/** The file of the project that an import names; undefined for a package. AssemblyScript leaves the ending out. */
export function targetOf(path: string, from: string): string | undefined {
  // these two names are in web/vite.config.ts
  if (from === 'quamba') return 'src/web/index.ts';
  if (from.startsWith('lib/')) return posix.join('src', from.slice(4));
  if (!from.startsWith('.')) return undefined;
  const target = posix.join(posix.dirname(path), from);
  return posix.extname(target) === '' ? `${target}.ts` : target;
}

export type Arrows = ReadonlyMap<string, ReadonlySet<string>>;

/** Which file imports which; `nodeOf` joins files to folders. A file that is no node is left out. */
export function arrowsOf(
  sources: readonly Source[],
  nodeOf: (path: string) => string | undefined = path => path,
): Arrows {
  const arrows = new Map<string, Set<string>>();
  for (const source of sources)
    for (const { from } of importsOf(source)) {
      const target = targetOf(source.path, from);
      const [here, there] = [nodeOf(source.path), target && nodeOf(target)];
      if (!here || !there || (here === there && target !== source.path)) continue;
      arrows.set(here, (arrows.get(here) ?? new Set()).add(there));
    }
  return arrows;
}

/** A circle through each arrow that closes one, as `a → b → a`. */
export function circlesOf(arrows: Arrows): string[] {
  const circles: string[] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const walk = (node: string): void => {
    const at = trail.indexOf(node);
    if (at >= 0) circles.push([...trail.slice(at), node].join(' → '));
    if (at >= 0 || done.has(node)) return;
    trail.push(node);
    for (const next of arrows.get(node) ?? []) walk(next);
    trail.pop();
    done.add(node);
  };
  for (const node of arrows.keys()) walk(node);
  return circles;
}
