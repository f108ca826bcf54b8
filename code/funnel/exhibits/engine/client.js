/**
 * Sample in Web Workers, so that the page stays free for the reader.
 */

import { checkSettings } from "./chain.js";

/**
 * All that the chains have done so far.
 *
 * @typedef {object} Result
 * @property {number} chains
 * @property {number} draws - How many each chain is to make.
 * @property {Object<string, Float64Array[]>} values - Of each parameter, by chain: its draws so
 *   far.
 * @property {Float64Array[]} energy - By chain; and so are acceptance, depth and divergent.
 * @property {Float64Array[]} acceptance
 * @property {Uint8Array[]} depth - Of the trees.
 * @property {Uint8Array[]} divergent - 1 where a draw diverged.
 * @property {Object<string, Float64Array[]>} divergences - Of each parameter, by chain: where
 *   the draws diverged.
 * @property {boolean[]} tuning - By chain: whether it is still tuned.
 * @property {number[]} transitions - By chain, tuning included.
 * @property {number[]} gradients - By chain, tuning included.
 * @property {number[]} stepSize - By chain.
 * @property {Float64Array[]} inverseMass - By chain, at the end.
 * @property {Float64Array[]} position - By chain, at the end, in the sampler's coordinates.
 * @property {number} seconds - Since the start.
 */

/**
 * Run chains, as many at a time as there are cores.
 *
 * @param {string} workerSource - Source of worker.js, bundled into one module.
 * @param {object} request - `density`, `settings` and `keep`, as in `run`.
 * @param {object} [options]
 * @param {(result: Result) => void} [options.onProgress] - Called after each batch, with the
 *   same object each time.
 * @param {AbortSignal} [options.signal] - Cancels at once; the promise is then rejected with the
 *   signal's reason.
 * @returns {Promise<Result>} Rejected with a plain message if the request cannot be run.
 */
export async function sample(workerSource, request, { onProgress, signal } = {}) {
  const { settings } = request;
  checkSettings(settings);
  signal?.throwIfAborted();
  const result = emptyResult(settings);
  const url = URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" }));
  const workers = share(settings.chains).map((indices) => {
    const worker = new Worker(url, { type: "module" });
    worker.postMessage({ ...request, indices });
    return worker;
  });
  const start = performance.now();
  let cancel;
  try {
    await new Promise((resolve, reject) => {
      let running = settings.chains;
      cancel = () => reject(signal.reason);
      signal?.addEventListener("abort", cancel);
      for (const worker of workers) {
        worker.onerror = (event) => {
          reject(new Error(`the sampler did not start: ${event.message ?? "no reason given"}`));
        };
        worker.onmessage = ({ data }) => {
          result.seconds = (performance.now() - start) / 1000;
          if (data.type === "error") {
            reject(new Error(data.message));
          } else if (data.type === "end") {
            result.inverseMass[data.chain] = data.inverseMass;
            result.position[data.chain] = data.position;
            running -= 1;
            if (running === 0) resolve();
          } else {
            add(result, data);
            onProgress?.(result);
          }
        };
      }
    });
  } finally {
    for (const worker of workers) {
      worker.onmessage = null; // what it has said already is not heard any more
      worker.terminate();
    }
    signal?.removeEventListener("abort", cancel);
    URL.revokeObjectURL(url);
  }
  return result;
}

/** Share chains out to as many workers as there are cores. */
function share(chains) {
  const count = Math.min(chains, navigator.hardwareConcurrency || 1);
  const indices = Array.from({ length: chains }, (_, index) => index);
  return Array.from({ length: count }, (_, w) => indices.filter((index) => index % count === w));
}

/** The result of chains that have not begun. */
export function emptyResult({ chains, draws }) {
  const each = (make) => Array.from({ length: chains }, make);
  return {
    chains,
    draws,
    values: {},
    energy: each(() => new Float64Array()),
    acceptance: each(() => new Float64Array()),
    depth: each(() => new Uint8Array()),
    divergent: each(() => new Uint8Array()),
    divergences: {},
    tuning: each(() => true),
    transitions: each(() => 0),
    gradients: each(() => 0),
    stepSize: each(() => NaN),
    inverseMass: each(() => new Float64Array()),
    position: each(() => new Float64Array()),
    seconds: 0,
  };
}

/** Add a batch to what its chain has done so far. */
export function add(result, batch) {
  const { chain } = batch;
  for (const name of ["energy", "acceptance", "depth", "divergent"]) {
    result[name][chain] = concatenate(result[name][chain], batch[name]);
  }
  for (const group of ["values", "divergences"]) {
    for (const [name, numbers] of Object.entries(batch[group])) {
      const columns = (result[group][name] ??= Array.from(
        { length: result.chains },
        () => new Float64Array(),
      ));
      columns[chain] = concatenate(columns[chain], numbers);
    }
  }
  for (const name of ["tuning", "transitions", "gradients", "stepSize"]) {
    result[name][chain] = batch[name];
  }
}

function concatenate(first, second) {
  if (second.length === 0) return first;
  const both = new first.constructor(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
