// Bundles src/ into dist/: the page of chat, and in dist/console/ that of operators; each is an index.html and the files it names,
// each with a hash in its name.
import { build } from 'esbuild';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, relative, resolve } from 'node:path';

const folder = import.meta.dirname ?? new URL('.', import.meta.url).pathname;
const source = (name) => resolve(folder, 'src', name);
const dist = resolve(folder, 'dist');

await rm(dist, { recursive: true, force: true });
await page('.');
await page('console');

/** Builds `main.ts`, `style.css` and the icon of a page, and writes their names into its index.html. */
async function page(name) {
  const outdir = resolve(dist, name);
  await mkdir(outdir, { recursive: true });
  const { metafile } = await build({
    entryPoints: [source(`${name}/main.ts`), source(`${name}/style.css`), source('icon.svg')],
    outdir,
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
  let text = await readFile(source(`${name}/index.html`), 'utf8');
  for (const [path, output] of Object.entries(metafile.outputs)) {
    const entry = basename(output.entryPoint ?? Object.keys(output.inputs)[0]);
    if (!text.includes(`{{${entry}}}`)) throw new Error(`${name}/index.html does not name ${entry}`);
    const file = relative(dist, resolve(outdir, basename(path)));
    text = text.replaceAll(`{{${entry}}}`, `/${file}`);
    console.log(`${file} ${(output.bytes / 1024).toFixed(1)} KiB`);
  }
  if (text.includes('{{')) throw new Error(`${name}/index.html names a file that was not built`);
  await writeFile(resolve(outdir, 'index.html'), text);
}
