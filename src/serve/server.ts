/**
 * The server: OpenAI's protocol over models that each have a process.
 *
 * Fastify, since it checks bodies by schema before a handler sees them, ends and drains connections, and is what people run in
 * production. It knows nothing of models; what is written comes from process.ts.
 */
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import { TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import Fastify, { type FastifyError, type FastifyReply, type FastifyRequest } from 'fastify';
import { decodeUtf8 } from '../formats/bytes.ts';
import { parseJsonText } from '../formats/json.ts';
import { EngineLost, RequestError } from './client.ts';
import { metrics } from './metrics.ts';
import { chatForm, errorBody, type Form, type Head, textForm } from './openai/answers.ts';
import { ChatBody, TextBody, TokenizeBody } from './openai/bodies.ts';
import { type Asked, chatAsked, textAsked } from './openai/requests.ts';
import { Full, type Places, places } from './places.ts';
import type { Engine } from './process.ts';
import { events } from './stream.ts';
import { type Choice, writeAll } from './writing.ts';

export interface ServerOptions {
  /** By the name that requests give. A request that gives none gets the first. */
  readonly engines: ReadonlyMap<string, Engine>;
  /** How many texts a model writes at once. */
  readonly parallel: number;
  /** How many more wait. */
  readonly queue: number;
  /** The most tokens of an answer. */
  readonly mostTokens: number;
  /** The most bytes of a request. */
  readonly mostBytes: number;
  /** Seconds until an answer must be whole, waiting included. */
  readonly timeout: number;
  /** What a request must bring as its bearer token, where one is set. */
  readonly apiKey?: string;
}

/** Seconds in which a request must have come as a whole. */
const RECEIVE = 30;

/** An error that is answered with this status. */
class Refused extends Error {
  readonly status: number;
  readonly body: object;
  constructor(status: number, ...[message, type, code, param]: Parameters<typeof errorBody>) {
    super(message);
    this.status = status;
    this.body = errorBody(message, type, code, param);
  }
}

interface Served {
  readonly name: string;
  readonly engine: Engine;
  readonly places: Places;
}

export function server(options: ServerOptions) {
  const { engines, parallel, queue, mostTokens, mostBytes, timeout, apiKey } = options;
  const models = new Map(
    [...engines].map(([name, engine]): [string, Served] => [
      name,
      { name, engine, places: places(parallel, queue) },
    ]),
  );
  const measured = metrics(models);
  const created = Math.floor(Date.now() / 1000);
  const app = Fastify({
    bodyLimit: mostBytes,
    requestTimeout: RECEIVE * 1000,
    return503OnClosing: true,
    genReqId: () => randomUUID(),
    frameworkErrors: (error: unknown, _request: unknown, reply: FastifyReply) =>
      void answerError(error, reply),
  })
    .setValidatorCompiler(TypeBoxValidatorCompiler)
    .withTypeProvider<TypeBoxTypeProvider>();

  /** Answers that are not whole yet. When a server that takes no more has none, nobody is kept waiting for who stays connected. */
  const open = new Set<object>();
  let onEmpty = () => {};
  app.server.on('request', (_, response) => {
    open.add(response);
    response.once('close', () => {
      open.delete(response);
      if (open.size === 0) onEmpty();
    });
  });
  app.addHook('preClose', async () => {
    if (open.size > 0)
      await new Promise<void>(resolve => {
        onEmpty = resolve;
      });
    app.server.closeAllConnections();
  });

  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    async (_: FastifyRequest, body: Buffer) => {
      const text = decodeUtf8(body);
      if (text === undefined) throw invalid('the body expected UTF-8 text; got bytes that are not');
      try {
        return parseJsonText(text, 'the body');
      } catch (error) {
        throw invalid((error as Error).message);
      }
    },
  );
  app.setErrorHandler((error: FastifyError, _, reply) => answerError(error, reply));
  app.setNotFoundHandler(({ method, url }, reply) =>
    answerError(
      new Refused(404, `there is no ${method} ${url.split('?')[0]}`, 'invalid_request_error'),
      reply,
    ),
  );
  app.addHook('onRequest', async ({ headers, routeOptions }) => {
    if (apiKey === undefined || OPEN.includes(routeOptions.url ?? '')) return;
    if (!isSame(headers.authorization ?? '', `Bearer ${apiKey}`))
      throw new Refused(
        401,
        'expected the API key of this server as a bearer token',
        'authentication_error',
        'invalid_api_key',
      );
  });
  app.addHook('onResponse', async ({ routeOptions }, reply) =>
    measured.answered(routeOptions.url ?? 'unknown', reply.statusCode, reply.elapsedTime / 1000),
  );

  const modelOf = (name: string | undefined): Served => {
    const found = name === undefined ? [...models.values()][0] : models.get(name);
    if (found) return found;
    throw new Refused(
      404,
      `there is no model '${name}'; this server has ${[...models.keys()].map(each => `'${each}'`).join(', ')}`,
      'invalid_request_error',
      'model_not_found',
      'model',
    );
  };

  const write = async (
    request: FastifyRequest,
    reply: FastifyReply,
    model: Served,
    form: Form,
    { requests, seed, isStream, includeUsage }: Asked,
  ) => {
    const { name, engine } = model;
    const head: Head = {
      id: `${form.idPrefix}${request.id}`,
      created: Math.floor(Date.now() / 1000),
      ...{ model: name, identity: engine.about.identity, seed },
    };
    reply.header('x-quamba-model-sha256', head.identity);
    const abort = new AbortController();
    reply.raw.once('close', () => abort.abort(new Error('the client went away')));
    const late = setTimeout(
      () => abort.abort(new Refused(504, `the answer took longer than ${timeout} s`, 'timeout_error')),
      timeout * 1000,
    );
    const stream = isStream ? events(reply.raw) : undefined;
    try {
      const choices = await writeAll(model, requests, abort.signal, {
        /** No error in words can be sent any more after this. */
        begun() {
          if (!stream) return;
          reply.hijack();
          stream.open(reply.getHeaders());
          for (const index of requests.keys()) stream.send(form.first(head, index));
        },
        first: () => measured.begun(name, reply.elapsedTime / 1000),
        piece: (index, piece, offset) => stream?.send(form.part(head, index, piece, offset)),
        done: (index, done) => {
          measured.wrote(name, done);
          stream?.send(form.last(head, index, done));
        },
      });
      const hash = answersHash(choices);
      if (!stream) return reply.header('x-quamba-answer-sha256', hash).send(form.whole(head, choices));
      if (includeUsage) stream.send(form.usage(head, choices));
      stream.end({ 'x-quamba-answer-sha256': hash });
    } catch (error) {
      if (!reply.sent) throw error;
      if (!reply.raw.destroyed) stream?.fail(refusalOf(error).body);
    } finally {
      clearTimeout(late);
    }
  };

  app.post('/v1/chat/completions', { schema: { body: ChatBody } }, async (request, reply) => {
    const model = modelOf(request.body.model);
    const { noChat } = model.engine.about;
    if (noChat !== undefined)
      throw invalid(
        'this model has no chat template that works, so it may be no chat model; the log of the server says more',
        'messages',
      );
    return write(request, reply, model, chatForm, chatAsked(request.body, mostTokens));
  });
  app.post('/v1/completions', { schema: { body: TextBody } }, async (request, reply) =>
    write(request, reply, modelOf(request.body.model), textForm, textAsked(request.body, mostTokens)),
  );
  app.post('/tokenize', { schema: { body: TokenizeBody } }, async ({ body }) => ({
    tokens: await modelOf(body.model).engine.tokenize(body.text),
  }));
  const listed = ({ name, engine: { about } }: Served) => ({
    ...{ id: name, object: 'model', created, owned_by: 'local' },
    ...{ context_length: about.context ?? null, recipe: about.recipe, sha256: about.identity },
  });
  app.get('/v1/models', async () => ({ object: 'list', data: [...models.values()].map(listed) }));
  app.get<{ Params: { '*': string } }>('/v1/models/*', async ({ params }) => listed(modelOf(params['*'])));
  app.get('/health', async (_, reply) => {
    const isWell = [...models.values()].every(({ engine }) => engine.isReady);
    return reply.code(isWell ? 200 : 503).send({ status: isWell ? 'ok' : 'a model is being loaded again' });
  });
  app.get('/metrics', async (_, reply) => reply.type(measured.contentType).send(await measured.text()));
  return app;
}

/** What a load balancer asks, without a key. */
const OPEN = ['/health'];

const invalid = (message: string, param: string | null = null) =>
  new Refused(400, message, 'invalid_request_error', null, param);

const isSame = (given: string, expected: string): boolean => {
  const [a, b] = [given, expected].map(text => createHash('sha256').update(text).digest());
  return timingSafeEqual(a, b);
};

/** Of one choice its own; of several that of their hashes, in order. */
const answersHash = (choices: readonly Choice[]): string => {
  const hashes = choices.map(({ done }) => done.answerHash);
  return hashes.length === 1 ? hashes[0] : createHash('sha256').update(hashes.join('')).digest('hex');
};

function refusalOf(error: unknown): Refused {
  if (error instanceof Refused) return error;
  if (error instanceof RequestError)
    return new Refused(400, error.message, 'invalid_request_error', error.code ?? null);
  if (error instanceof Full) return new Refused(429, error.message, 'rate_limit_error', 'server_busy');
  if (error instanceof EngineLost) return new Refused(503, error.message, 'server_error', 'model_lost');
  const { statusCode = 500, message, validation } = error as FastifyError;
  if (validation) return invalidBody(validation[0]);
  if (statusCode < 500) return new Refused(statusCode, message, 'invalid_request_error');
  return new Refused(500, message, 'server_error');
}

/** The first thing that is wrong with a body, in words. */
function invalidBody({ instancePath, message, schemaPath }: NonNullable<FastifyError['validation']>[number]) {
  const path = instancePath.slice(1).replaceAll('/', '.');
  if (schemaPath.endsWith('/additionalProperties')) return invalid(`${path}: there is no such field`, path);
  return invalid(`${path || 'the body'}: ${message}`, path || null);
}

function answerError(error: unknown, reply: FastifyReply): FastifyReply {
  const { status, body } = refusalOf(error);
  if (error instanceof Full) reply.header('retry-after', error.retryAfter);
  if (status === 413 || status === 408) reply.header('connection', 'close');
  return reply.code(status).send(body);
}
