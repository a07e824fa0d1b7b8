/** The site's folders, wherever it is served. */
export const SITE = new URL(document.documentElement.dataset.site ?? '.', document.baseURI);
/** The model that comes with the site. */
export const MODEL = new URL('model/', SITE);
/** What a block of it computes for a short text. */
export const SAMPLES = new URL('samples/', SITE);
