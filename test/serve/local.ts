/** A server whose model is in this process: what serve/process.ts starts, without a process. */
import { folderOf } from '../../src/formats/bytes.ts';
import { type Model, openModel } from '../../src/open/model.ts';
import { client } from '../../src/serve/client.ts';
import { aboutOf, engine } from '../../src/serve/engine.ts';
import type { Engine } from '../../src/serve/process.ts';
import type { Order, Report } from '../../src/serve/protocol.ts';
import { type ServerOptions, server } from '../../src/serve/server.ts';
import { json, toyFiles } from '../cli/toy.ts';

const TEMPLATE = `{% for m in messages %}
{{- m.role + ':' + m.content + '<|endoftext|>' -}}
{% endfor %}
{{- 'assistant:' }}`;

export async function localServer(options: Partial<ServerOptions> = {}) {
  const files = {
    ...toyFiles({ text: true }),
    'tokenizer_config.json': json({ eos_token: '<|endoftext|>', chat_template: TEMPLATE }),
  };
  const model: Model = await openModel(folderOf('/secret/toy', files), { recipe: 'dynamic' });
  let running: ReturnType<typeof engine> | undefined;
  const later = (work: () => void) => void setImmediate(work);
  const asked = client((order: Order) => later(() => running!.do(order)));
  running = engine(model, (report: Report) => later(() => asked.take(report)));
  const local: Engine = {
    ...{ write: asked.write, tokenize: asked.tokenize, about: aboutOf(model), isReady: true, restarts: 0 },
    stats: running.stats(),
    close() {},
  };
  const app = server({
    engines: new Map([['toy', local]]),
    ...{ parallel: 4, queue: 100, mostTokens: 64, mostBytes: 1e5, timeout: 600 },
    ...options,
  });
  const address = await app.listen({ port: 0, host: '127.0.0.1' });
  return {
    ...{ model, address, running, lose: asked.lose },
    async close() {
      await app.close();
      model.dispose();
    },
  };
}
