/** The site's folders, wherever it is served. */
export const SITE = new URL(document.documentElement.dataset.site ?? '.', document.baseURI);
/** What blocks of the models compute for a short text. */
export const SAMPLES = new URL('samples/', SITE);
