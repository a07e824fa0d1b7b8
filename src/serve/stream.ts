/** Server-sent events, as the WHATWG's HTML standard has them, on an answer. */
import type { ServerResponse } from 'node:http';

type Headers = Readonly<Record<string, string | number | string[] | undefined>>;

export interface Events {
  open(headers: Headers): void;
  /** Nothing where there is nothing to send. Who reads slowly has it in this process's memory: an answer is small. */
  send(data: object | undefined): void;
  end(trailers: Readonly<Record<string, string>>): void;
  fail(error: object): void;
}

/** Seconds that a reader may take for what is still to be sent when the answer is whole. */
const LAST_WORDS = 60;

export function events(response: ServerResponse): Events {
  const { useChunkedEncodingByDefault: hasTrailers } = response; // not in HTTP/1.0, by which nginx asks unless it is told otherwise
  const write = (data: string) => {
    if (!response.destroyed) response.write(`data: ${data}\n\n`);
  };
  return {
    open(headers) {
      response.writeHead(200, {
        ...headers,
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache',
        'x-accel-buffering': 'no', // nginx would hold the events back
        ...(hasTrailers && { trailer: 'x-quamba-answer-sha256' }),
      });
    },
    send(data) {
      if (data) write(JSON.stringify(data));
    },
    end(trailers) {
      write('[DONE]');
      if (hasTrailers) response.addTrailers(trailers);
      response.end();
      const socket = response.socket;
      const timer = setTimeout(() => socket?.destroy(), LAST_WORDS * 1000).unref();
      response.once('close', () => clearTimeout(timer));
    },
    fail(error) {
      write(JSON.stringify(error));
      response.end();
    },
  };
}
