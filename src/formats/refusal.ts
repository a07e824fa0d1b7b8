/** Why a file is refused is found deep in its readers; whoever reads the file adds where. */
class Refusal extends Error {}

export function refuse(why: string): never {
  throw new Refusal(why);
}

/** What `read` makes. Where something in it refuses, an Error whose sentence begins with `where`. */
export function refusing<T>(where: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new Error(`${where}: ${error.message}`, { cause: error });
  }
}
