// Each configuration on the pages for those who come from elsewhere is one that the broker takes.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BINARY } from '../broker.mjs';
import { blocks } from './migration.mjs';

for (const page of ['from-spring.md', 'from-rabbitmq.md']) {
  test(`${page} shows configurations that hold`, async (t) => {
    const folder = await mkdtemp(join(tmpdir(), 'stompede-pages-'));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const shown = await blocks(page, 'toml');
    assert.ok(shown.length > 1);
    for (const block of shown) {
      const [first] = block.split('\n');
      assert.match(first, /^# ./, 'a block says first what it is for');
      const file = join(folder, 'stompede.toml');
      await writeFile(file, block);
      assert.match(execFileSync(BINARY, ['check', file], { encoding: 'utf8' }), /: ok/, first);
    }
  });
}
