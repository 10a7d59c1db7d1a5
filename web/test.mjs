// Bundles test/*.test.ts into a temporary folder and runs node's test runner on it.
// `node test.mjs [REPORT]` also writes a JUnit file.
import { build } from 'esbuild';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const folder = import.meta.dirname ?? new URL('.', import.meta.url).pathname;
const report = process.argv[2];
const tests = readdirSync(join(folder, 'test')).filter((name) => name.endsWith('.test.ts'));
const outdir = mkdtempSync(join(tmpdir(), 'stompede-page-'));
let status = 1;
try {
  await build({
    entryPoints: tests.map((name) => join(folder, 'test', name)),
    outdir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    sourcemap: 'inline',
    loader: { '.css': 'text' },
    logLevel: 'warning',
  });
  const reporters = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
  if (report) reporters.push('--test-reporter=junit', `--test-reporter-destination=${resolve(report)}`);
  const files = readdirSync(outdir).map((name) => join(outdir, name));
  const run = spawnSync(process.execPath, ['--enable-source-maps', '--test', ...reporters, ...files], { stdio: 'inherit' });
  status = run.status ?? 1;
} finally {
  rmSync(outdir, { recursive: true, force: true });
}
process.exit(status);
