/** The process of a model of `quamba serve`: no command, but what serve/process.ts starts. */
import { runEngine } from '../serve/engine.ts';
import { calibrating } from './calibrating.ts';
import { outliveStreams } from './terminal.ts';

outliveStreams();
await runEngine(JSON.parse(process.argv[2]), calibrating());
