// Bundle each exhibit into one file that a page, or JupyterLab, can load: `make exhibits`.
//
//     node code/funnel/exhibits/build.mjs OUT [NAME ...]
//
// A bundle holds its exhibit, what it shares with others, the parts of d3 that it uses and,
// where it samples, the source of its worker as a string.

import { build } from "esbuild";
import { readdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [out, ...chosen] = process.argv.slice(2);
if (!out) throw new Error("name the folder to write to: node build.mjs OUT");

const common = { bundle: true, minify: true, target: "es2022", charset: "utf8", write: false };

/** `import source from "worker:./engine/worker.js"` gives the worker, bundled, as text. */
const workers = {
  name: "worker",
  setup(step) {
    step.onResolve({ filter: /^worker:/ }, ({ path, resolveDir }) => ({
      path: resolve(resolveDir, path.slice("worker:".length)),
      namespace: "worker",
    }));
    step.onLoad({ filter: /.*/, namespace: "worker" }, async ({ path }) => {
      const made = await build({ ...common, entryPoints: [path], format: "iife" });
      return { contents: made.outputFiles[0].text, loader: "text" };
    });
  },
};

const all = readdirSync(here).filter((file) => file.endsWith(".js"));
const names = chosen.length ? chosen.map((name) => `${name}.js`) : all;
await build({
  ...common,
  entryPoints: names.map((name) => join(here, name)),
  outdir: out,
  write: true,
  format: "esm",
  banner: { js: "/* Parts of d3: Copyright Mike Bostock, ISC licence; see LICENSE.txt. */" },
  plugins: [workers],
});
