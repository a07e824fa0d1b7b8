import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ByteSource, folderOf, fromBytes } from '../../src/formats/bytes.ts';
import {
  checkWritable,
  checkWritableFolder,
  openFile,
  openFolder,
  readFile,
  writeFileAtomic,
  writeFiles,
} from '../../src/formats/disk.ts';
import { parseJsonText, readJson } from '../../src/formats/json.ts';
import { orUndo } from '../../src/formats/undo.ts';
import { textFile } from '../../src/open/node.ts';
import { thrown, utf8 } from './file.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'quamba-test-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) & 255);
const sources: [string, (data: Uint8Array) => ByteSource][] = [
  [
    'file',
    data => {
      writeFileSync(join(dir, 'x.bin'), data);
      return openFile(join(dir, 'x.bin'));
    },
  ],
  ['memory', data => fromBytes('x.bin', data)],
];

describe.each(sources)('bytes from %s', (_, open) => {
  it('gives any range, and refuses what is outside', () => {
    const source = open(bytes);
    expect(source.size).toBe(1000);
    fc.assert(
      fc.property(fc.integer({ min: -5, max: 1005 }), fc.integer({ min: -5, max: 1005 }), (begin, end) => {
        const inside = 0 <= begin && begin <= end && end <= 1000;
        if (inside) {
          expect(Buffer.compare(source.read(begin, end), bytes.subarray(begin, end))).toBe(0);
          const target = new Uint8Array(end - begin + 2);
          source.readInto(target.subarray(1, -1), begin);
          expect(Buffer.compare(target.subarray(1, -1), bytes.subarray(begin, end))).toBe(0);
          expect([target[0], target.at(-1)]).toEqual([0, 0]);
        } else
          expect(thrown(() => source.read(begin, end)).message).toMatch(/x\.bin: bytes .* are not inside/);
      }),
    );
    for (const begin of [0.5, Number.NaN, -1, 1000, 2 ** 53])
      expect(() => source.readInto(new Uint8Array(1), begin)).toThrow('are not inside its 1000 bytes');
    source.close();
  });
});

describe('openFile', () => {
  it('says what is wrong with a path', () => {
    const path = join(dir, 'none.bin');
    expect(() => openFile(path)).toThrow(new Error(`${path}: no such file or folder`));
    expect(() => openFile(dir)).toThrow(new Error(`${dir}: expected a file; got a folder`));
    expect(() => openFolder(path)).toThrow(new Error(`${path}: no such file or folder`));
    writeFileSync(path, 'x');
    expect(() => openFolder(path)).toThrow(new Error(`${path}: expected a folder; got a file`));
    expect(() => openFile(join(path, 'y'))).toThrow(`${join(path, 'y')}: `);
  });

  // In a pipe nobody writes here: to wait for one would be for ever.
  it.skipIf(process.platform === 'win32')('refuses a pipe, a device and a socket at once', async () => {
    const [pipe, socket] = [join(dir, 'pipe'), join(dir, 'socket')];
    execFileSync('mkfifo', [pipe]);
    expect(() => openFile(pipe)).toThrow(new Error(`${pipe}: expected a file; got a pipe`));
    expect(() => readFile(pipe, { name: '--text', pipes: false })).toThrow(
      new Error('--text: expected a file; got a pipe'),
    );
    expect(() => readJson(openFolder(dir), 'pipe')).toThrow(`${pipe}: expected a file; got a pipe`);
    expect(() => openFile('/dev/zero')).toThrow(new Error('/dev/zero: expected a file; got a device'));
    const server = createServer().listen(socket);
    await once(server, 'listening');
    expect(() => openFile(socket)).toThrow(new Error(`${socket}: expected a file; got a socket`));
    server.close();
  });

  it.skipIf(process.platform === 'win32')(
    'a pipe that somebody names is read to its end, up to a limit',
    async () => {
      const pipe = join(dir, 'named');
      execFileSync('mkfifo', [pipe]);
      const write = () => execFile('sh', ['-c', `(printf a; sleep 0.1; head -c 200000 /dev/zero) > ${pipe}`]);
      write();
      const read = readFile(pipe);
      expect([read.length, read[0], read[200_000]]).toEqual([200_001, 97, 0]);
      write();
      expect(() => readFile(pipe, { name: '--recipe', most: 1000 })).toThrow(
        new Error('--recipe: expected a file of at most 1000 bytes; got more'),
      );
      write();
      const text = textFile(pipe);
      expect(await text.read()).toBe(await text.read());
    },
  );

  it('says so when the file is closed, or was cut while it was open', () => {
    const path = join(dir, 'x.bin');
    writeFileSync(path, bytes);
    const source = openFile(path);
    truncateSync(path, 10);
    expect(() => source.read(0, 20)).toThrow(`${path}: ends at byte 10; it was cut while being read`);
    source.close();
    source.close();
    expect(() => source.read(0, 5)).toThrow(`${path}: read after it was closed`);
  });
});

describe('folders', () => {
  it('lists files and links, not folders; opens by name', () => {
    mkdirSync(join(dir, 'model'));
    mkdirSync(join(dir, 'model', 'sub'));
    writeFileSync(join(dir, 'blob'), '{"a": 1}');
    symlinkSync(join('..', 'blob'), join(dir, 'model', 'config.json'));
    const folder = openFolder(join(dir, 'model'));
    expect(folder.list()).toEqual(['config.json']);
    expect(readJson(folder, 'config.json')).toEqual({ a: 1 });
    expect(() => readJson(folder, 'none.json')).toThrow('none.json: no such file or folder');
  });

  it('readJson names the file and the fault', () => {
    const read = (text: string | Uint8Array) =>
      readJson(folderOf('m', { 'a.json': typeof text === 'string' ? utf8(text) : text }), 'a.json');
    expect(read('\ufeff[1]')).toEqual([1]);
    expect(() => read('{"a": 1,}')).toThrow(/^m\/a\.json: expected JSON; /);
    expect(() => read(Uint8Array.of(0x22, 0xff, 0x22))).toThrow(
      'm/a.json: expected UTF-8 text; got bytes that are not',
    );
    expect(() => read('{"a": {"b": 1, "b": 1}}')).toThrow('m/a.json: key "b" stands twice in one object');
    expect(read('{"a": {"b": "a"}, "b": ["a", "a", {"a": 1}, {"a": "\\\\"}]}')).toBeTypeOf('object');
    expect(() => readJson(folderOf('m', {}), 'a.json')).toThrow('m/a.json: no such file');
    expect(() => readJson(folderOf('m', {}), 'toString')).toThrow('m/toString: no such file');
  });

  it('readJson limits the size by the kind of the file, before it is read', () => {
    const limits = {
      'config.json': 1e6,
      'tokenizer_config.json': 1e7,
      'a.index.json': 1e7,
      'tokenizer.json': 1e8,
    };
    for (const [file, most] of Object.entries(limits)) {
      const of = (size: number) => {
        const source = { ...fromBytes(`m/${file}`, utf8('{}')), size };
        return { ...folderOf('m', {}), open: () => ({ ...source, read: () => utf8('{}') }) };
      };
      expect(readJson(of(most), file)).toEqual({});
      expect(() => readJson(of(most + 1), file)).toThrow(
        new Error(`m/${file}: expected JSON of at most ${most} bytes; got ${most + 1}`),
      );
    }
  });

  it.each(['[],', '{},', '0,', '"",', '[[0],{"a":[0]}],', '0,"\\",[],{}",'])(
    'refuses more values than fit in memory before it parses: %s',
    what => {
      const text = `[${what.repeat(5e6)}0]`;
      expect(() => parseJsonText(text, 'm/tokenizer.json')).toThrow(
        /^m\/tokenizer\.json: expected JSON of at most 4194304 values; got more at character \d+$/,
      );
      expect(() => parseJsonText(`[${what.repeat(500)}0]`, 'm')).not.toThrow();
    },
  );

  it('refuses more levels than any file has, valid or not', () => {
    for (const text of ['['.repeat(101), `${'{"a":'.repeat(101)}0${'}'.repeat(101)}`, '[{"a":'.repeat(5e6)])
      expect(() => parseJsonText(text, 'm/config.json')).toThrow(
        /^m\/config\.json: expected JSON of at most 100 levels; got more at character \d+$/,
      );
    expect(parseJsonText(`${'['.repeat(100)}${']'.repeat(100)}`, 'm')).toBeTypeOf('object');
  });

  it('accepts any JSON that has no key twice', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(4), (value, indent) => {
        const text = JSON.stringify(value, undefined, indent);
        expect(readJson(folderOf('m', { a: utf8(text) }), 'a')).toEqual(JSON.parse(text));
      }),
    );
  });
});

describe('writeFileAtomic', () => {
  it('writes all chunks under the name, over what was there, and leaves nothing else', async () => {
    const path = join(dir, 'x.bin');
    await writeFileAtomic(path, [bytes]);
    await writeFileAtomic(path, [bytes.subarray(0, 3), new Uint8Array(0), bytes.subarray(990)]);
    expect([...readFileSync(path)]).toEqual([...bytes.subarray(0, 3), ...bytes.subarray(990)]);
    expect(readdirSync(dir)).toEqual(['x.bin']);
    await writeFileAtomic(path, []);
    expect(readFileSync(path).length).toBe(0);
  });

  it('keeps the old file, and nothing beside it, when the chunks throw half-way', async () => {
    const path = join(dir, 'x.bin');
    writeFileSync(path, 'old');
    function* failing() {
      yield bytes;
      expect(readdirSync(dir)).toHaveLength(2); // the new bytes are in a file of their own
      expect(readFileSync(path, 'utf8')).toBe('old');
      throw new RangeError('half-way');
    }
    await expect(writeFileAtomic(path, failing())).rejects.toThrow(new RangeError('half-way'));
    expect(readFileSync(path, 'utf8')).toBe('old');
    expect(readdirSync(dir)).toEqual(['x.bin']);
  });

  it('leaves nothing when a chunk is no bytes, when the name is a folder, or when there is no folder', async () => {
    const path = join(dir, 'x.bin');
    await expect(writeFileAtomic(path, [null as unknown as Uint8Array])).rejects.toThrow();
    mkdirSync(path);
    await expect(writeFileAtomic(path, [bytes])).rejects.toThrow(`${path}: `);
    expect(readdirSync(dir)).toEqual(['x.bin']);
    expect(readdirSync(path)).toEqual([]);
    const nowhere = join(dir, 'none', 'x.bin');
    await expect(writeFileAtomic(nowhere, [bytes])).rejects.toThrow(
      new Error(`${nowhere}: no such file or folder`),
    );
    expect(existsSync(join(dir, 'none'))).toBe(false);
  });

  it('closes the generator that feeds it when the write fails', async () => {
    let closed = false;
    function* endless() {
      try {
        for (;;) yield null as unknown as Uint8Array;
      } finally {
        closed = true;
      }
    }
    await expect(writeFileAtomic(join(dir, 'x.bin'), endless())).rejects.toThrow();
    expect(closed).toBe(true);
  });

  it('follows links, also to what is not there yet, and keeps the mode of a file', async () => {
    writeFileSync(join(dir, 'secret'), 'old', { mode: 0o600 });
    symlinkSync('secret', join(dir, 'link'));
    symlinkSync('new', join(dir, 'dangling'));
    symlinkSync('dangling', join(dir, 'twice'));
    for (const name of ['link', 'twice']) await writeFileAtomic(join(dir, name), [bytes]);
    expect(readdirSync(dir).sort()).toEqual(['dangling', 'link', 'new', 'secret', 'twice']);
    for (const name of ['dangling', 'link', 'twice'])
      expect(lstatSync(join(dir, name)).isSymbolicLink()).toBe(true);
    for (const name of ['new', 'secret'])
      expect(Buffer.compare(readFileSync(join(dir, name)), bytes)).toBe(0);
    expect(statSync(join(dir, 'secret')).mode & 0o777).toBe(0o600);
  });

  it.skipIf(process.platform === 'win32')('keeps a mode that the umask would not give', async () => {
    const path = join(dir, 'shared');
    writeFileSync(path, 'old');
    for (const mode of [0o666, 0o640, 0o777]) {
      chmodSync(path, mode);
      await writeFileAtomic(path, [bytes]);
      expect(statSync(path).mode & 0o777).toBe(mode);
    }
  });

  // only root may make a device
  it.skipIf(process.getuid?.() !== 0)('writes into a device, which stays one', async () => {
    execFileSync('mknod', [join(dir, 'null'), 'c', '1', '3']);
    await writeFileAtomic(join(dir, 'null'), [bytes]);
    checkWritable(join(dir, 'null'));
    expect(statSync(join(dir, 'null')).isCharacterDevice()).toBe(true);
    expect(readdirSync(dir)).toEqual(['null']);
  });
});

describe('writeFiles', () => {
  it('removes what it wrote, and nothing that came into its folders meanwhile', async () => {
    function* failing(others: readonly string[]) {
      yield ['one', [bytes]] as const;
      yield ['deep/two', [bytes]] as const;
      for (const name of others) writeFileSync(join(dir, 'a', name), 'mine');
      throw new RangeError('half-way');
    }
    await expect(writeFiles(join(dir, 'a/b'), failing([]))).rejects.toThrow('half-way');
    expect(readdirSync(dir)).toEqual([]);
    await expect(writeFiles(join(dir, 'a/b'), failing(['b/mine', 'other']))).rejects.toThrow('half-way');
    expect(readdirSync(join(dir, 'a'), { recursive: true }).sort()).toEqual(['b', 'b/mine', 'other']);
  });
});

describe('orUndo', () => {
  it('at the end of the process one undo that throws hinders no other', async () => {
    const undone: string[] = [];
    let finish = () => {};
    const work = () => new Promise<void>(resolve => (finish = resolve));
    const first = orUndo(() => undone.push('first'), work);
    const [end] = [finish];
    const atExit = process.listeners('exit').at(-1) as () => void;
    const second = orUndo(() => {
      throw new Error('in use');
    }, work);
    atExit();
    expect(undone).toEqual(['first']);
    end();
    finish();
    await Promise.all([first, second]);
    const failing = orUndo(
      () => {
        throw new Error('in use');
      },
      () => Promise.reject(new Error('half-way')),
    );
    await expect(failing).rejects.toThrow('half-way');
  });
});

describe('checkWritable', () => {
  it('says what writing would, and leaves nothing', () => {
    const nowhere = join(dir, 'none', 'x');
    expect(() => checkWritable(nowhere)).toThrow(new Error(`${nowhere}: no such file or folder`));
    expect(() => checkWritable(dir)).toThrow(new Error(`${dir}: expected a file; got a folder`));
    checkWritable(join(dir, 'x'));
    checkWritableFolder(join(dir, 'a/b'));
    expect(readdirSync(dir)).toEqual([]);
    writeFileSync(join(dir, 'x'), 'old');
    checkWritable(join(dir, 'x'));
    expect(readFileSync(join(dir, 'x'), 'utf8')).toBe('old');
    expect(() => checkWritableFolder(join(dir, 'x/y'))).toThrow('expected a folder; got a file');
  });
});

it.skipIf(process.platform === 'win32')(
  'a link that leads to itself, and a name that is too long, are said in words',
  () => {
    const link = join(dir, 'round');
    symlinkSync(link, link);
    expect(() => openFile(link)).toThrow(new Error(`${link}: a link that leads to itself`));
    const long = join(dir, 'n'.repeat(300));
    expect(() => openFile(long)).toThrow(new Error(`${long}: the name is too long`));
  },
);
