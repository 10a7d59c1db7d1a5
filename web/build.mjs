// Bundles src/ into dist/: index.html and the files it names, each with a hash in its name.
import { build } from 'esbuild';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';

const folder = import.meta.dirname ?? new URL('.', import.meta.url).pathname;
const source = (name) => resolve(folder, 'src', name);
const dist = resolve(folder, 'dist');

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
const { metafile } = await build({
  entryPoints: [source('main.ts'), source('style.css'), source('icon.svg')],
  outdir: dist,
  entryNames: '[name]-[hash]',
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  loader: { '.svg': 'copy' },
  legalComments: 'none',
  metafile: true,
  logLevel: 'warning',
});

let page = await readFile(source('index.html'), 'utf8');
for (const [path, output] of Object.entries(metafile.outputs)) {
  const name = basename(output.entryPoint ?? Object.keys(output.inputs)[0]);
  if (!page.includes(`{{${name}}}`)) throw new Error(`index.html does not name ${name}`);
  page = page.replaceAll(`{{${name}}}`, `/${basename(path)}`);
  console.log(`${basename(path)} ${(output.bytes / 1024).toFixed(1)} KiB`);
}
if (page.includes('{{')) throw new Error('index.html names a file that was not built');
await writeFile(resolve(dist, 'index.html'), page);
