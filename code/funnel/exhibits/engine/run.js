/**
 * Run chains and say on the way how far they are.
 */

import { Chain, checkSettings } from "./chain.js";
import { makeDensity } from "./densities.js";

const MILLISECONDS_BETWEEN_BATCHES = 50;

/**
 * What a chain has done since its last batch.
 *
 * @typedef {object} Batch
 * @property {"batch"} type
 * @property {number} chain
 * @property {boolean} tuning - Whether the chain is still tuned; until then there are no draws.
 * @property {number} transitions - All so far, tuning included.
 * @property {Object<string, Float64Array>} values - The draws of each parameter that is kept.
 * @property {Float64Array} energy - Of each draw.
 * @property {Float64Array} acceptance - Of each draw.
 * @property {Uint8Array} depth - Of the tree of each draw.
 * @property {Uint8Array} divergent - 1 where the draw diverged.
 * @property {Object<string, Float64Array>} divergences - Where each of those diverged.
 * @property {number} gradients - All so far, tuning included.
 * @property {number} stepSize - At present.
 *
 * When a chain is through, a message of type "end" has its `chain`, `inverseMass` and the
 * `position` that it ended at, in the coordinates of the sampler.
 */

/**
 * Run chains in turns.
 *
 * @param {object} request
 * @param {object} request.density - As JSON; see `makeDensity`.
 * @param {import("./chain.js").Settings} request.settings
 * @param {number[]} request.indices - Which of the chains, from 0.
 * @param {string[]} [request.keep] - Which parameters, such as "sigma_b" or "b[12]"; all unless
 *   given.
 * @param {(message: object, transfer: ArrayBuffer[]) => void} post - Takes batches and ends.
 */
export function run({ density: spec, settings, indices, keep }, post) {
  checkSettings(settings);
  const density = makeDensity(spec);
  const readers = makeReaders(density, keep);
  const runs = indices.map((index) => ({
    index,
    chain: new Chain(density, settings, index),
    gradients: 0,
    batch: emptyBatch(readers),
  }));

  function flush({ index, chain, gradients, batch }) {
    const message = {
      type: "batch",
      chain: index,
      tuning: chain.tuning,
      transitions: chain.count,
      values: typed(batch.values),
      energy: Float64Array.from(batch.energy),
      acceptance: Float64Array.from(batch.acceptance),
      depth: Uint8Array.from(batch.depth),
      divergent: Uint8Array.from(batch.divergent),
      divergences: typed(batch.divergences),
      gradients,
      stepSize: chain.metric.stepSize,
    };
    const arrays = [message.energy, message.acceptance, message.depth, message.divergent];
    arrays.push(...Object.values(message.values), ...Object.values(message.divergences));
    post(message, arrays.map((array) => array.buffer));
  }

  let flushed = performance.now();
  for (let i = 0; i < settings.tune + settings.draws; i++) {
    for (const each of runs) {
      const { chain, batch } = each;
      const isDraw = !chain.tuning;
      const transition = chain.step();
      each.gradients += transition.gradients;
      if (isDraw) record(batch, readers, density, chain.position, transition);
    }
    if (performance.now() - flushed > MILLISECONDS_BETWEEN_BATCHES) {
      for (const each of runs) {
        flush(each);
        each.batch = emptyBatch(readers);
      }
      flushed = performance.now();
    }
  }
  for (const each of runs) {
    flush(each);
    const { metric, position } = each.chain;
    post({ type: "end", chain: each.index, inverseMass: metric.inverseMass, position }, []);
  }
}

/** Functions that read the parameters to keep from what `constrain` returns, by name. */
function makeReaders(density, keep) {
  const readers = new Map();
  const example = density.constrain(new Float64Array(density.dimension));
  for (const [name, value] of Object.entries(example)) {
    if (typeof value === "number") readers.set(name, (values) => values[name]);
    else value.forEach((_, j) => readers.set(`${name}[${j}]`, (values) => values[name][j]));
  }
  if (keep === undefined) return readers;
  for (const name of keep) {
    if (!readers.has(name)) throw new RangeError(`there is no parameter ${name} to keep`);
  }
  return new Map(keep.map((name) => [name, readers.get(name)]));
}

function emptyBatch(readers) {
  const columns = () => Object.fromEntries([...readers.keys()].map((name) => [name, []]));
  return {
    values: columns(),
    energy: [],
    acceptance: [],
    depth: [],
    divergent: [],
    divergences: columns(),
  };
}

function record(batch, readers, density, position, transition) {
  const values = density.constrain(position);
  for (const [name, read] of readers) batch.values[name].push(read(values));
  batch.energy.push(transition.energy);
  batch.acceptance.push(transition.acceptance);
  batch.depth.push(transition.depth);
  batch.divergent.push(transition.divergent ? 1 : 0);
  if (transition.divergent) {
    const where = density.constrain(transition.divergence);
    for (const [name, read] of readers) batch.divergences[name].push(read(where));
  }
}

function typed(columns) {
  return Object.fromEntries(
    Object.entries(columns).map(([name, numbers]) => [name, Float64Array.from(numbers)]),
  );
}
