/** An element with properties and children; attributes that are no properties go by `attributes`. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<Omit<HTMLElementTagNameMap[K], 'children' | 'attributes'>> & {
    attributes?: Record<string, string>;
  } = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const { attributes = {}, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export const byId = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;

/** Work for the next frame: asked for many times, done once. */
export function onceAFrame(work: () => void): () => void {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      work();
    });
  };
}

export const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
/** A token's text in a sentence. */
export const quoted = (text: string): string =>
  text.trim()
    ? `“${text.trim()}”`
    : text.includes('\n')
      ? 'a new line'
      : text
        ? 'a space'
        : 'a part of a character';
export const sentenceOf = (error: unknown): string => (error instanceof Error ? error.message : `${error}`);
