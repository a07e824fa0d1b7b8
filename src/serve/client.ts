/** Asks the process of a model for texts, many at once, and hands each what comes for it. */
import type { EngineStats, Order, Report, WriteRequest, Written, WrittenPiece } from './protocol.ts';

/** The request was wrong. `code` is what the protocol of the server says for it. */
export class RequestError extends Error {
  readonly code: string | undefined;
  constructor(message: string, code?: string) {
    super(message);
    this.code = code;
  }
}

/** The model ended while it had something to do. */
export class EngineLost extends Error {}

export interface Writer {
  /** It stands in the model: nothing was wrong with the request. */
  begun?(promptTokens: number): void;
  piece(piece: WrittenPiece): void;
}

export interface Client {
  /** @throws RequestError, EngineLost, or an Error of the model; the signal's reason. */
  write(request: WriteRequest, writer: Writer, signal: AbortSignal): Promise<Written>;
  /** @throws RequestError for a text that cannot be encoded. */
  tokenize(text: string): Promise<readonly number[]>;
  readonly stats: EngineStats;
  /** What has come from the model. */
  take(report: Report): void;
  /** The model ended: all who wait are told so. */
  lose(why: string): void;
}

const NOTHING: EngineStats = { keptTexts: 0, keptBytes: 0, memoryBytes: 0, writing: 0 };

interface Waiting {
  readonly writer?: Writer;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
}

export function client(send: (order: Order) => void): Client {
  const waiting = new Map<number, Waiting>();
  let count = 0;
  let stats = NOTHING;
  const ask = <T>(order: (id: number) => Order, writer?: Writer, signal?: AbortSignal): Promise<T> =>
    new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const id = ++count;
      send(order(id)); // where it throws, nobody waits
      const leave = () => {
        waiting.delete(id);
        send({ cancel: id });
        reject(signal!.reason);
      };
      const end =
        <V>(then: (value: V) => void) =>
        (value: V) => {
          signal?.removeEventListener('abort', leave);
          then(value);
        };
      signal?.addEventListener('abort', leave, { once: true });
      waiting.set(id, { writer, resolve: end(resolve), reject: end(reject) });
    });
  return {
    write: (request, writer, signal) => ask(id => ({ write: id, request }), writer, signal),
    tokenize: text => ask(id => ({ tokenize: id, text })),
    get stats() {
      return stats;
    },
    take(report) {
      if ('stats' in report) stats = report.stats;
      if (!('of' in report)) return;
      const who = waiting.get(report.of);
      if (!who) return; // it has left
      try {
        if ('begun' in report) return who.writer?.begun?.(report.begun.promptTokens);
        if ('piece' in report) return who.writer?.piece(report.piece);
      } catch (error) {
        // what cannot take its text ends alone
        waiting.delete(report.of);
        send({ cancel: report.of });
        return who.reject(error);
      }
      waiting.delete(report.of);
      if ('done' in report) who.resolve(report.done as never);
      else if ('tokens' in report) who.resolve(report.tokens as never);
      else
        who.reject(
          report.isRequest ? new RequestError(report.failed, report.code) : new Error(report.failed),
        );
    },
    lose(why) {
      stats = NOTHING;
      const all = [...waiting.values()];
      waiting.clear();
      for (const { reject } of all) reject(new EngineLost(why));
    },
  };
}
