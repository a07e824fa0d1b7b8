/** Elements of a page: found, made, and what they say when something goes wrong. */

/** @throws Error where the page has none of this name. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`This page has no element '${id}'.`);
  return found as T;
}

/** An element with properties and children; attributes that are no properties go by `attributes`. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<Omit<HTMLElementTagNameMap[K], 'children' | 'attributes'>> & {
    attributes?: Readonly<Record<string, string>>;
  } = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const { attributes = {}, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export const sentenceOf = (error: unknown): string => (error instanceof Error ? error.message : `${error}`);
