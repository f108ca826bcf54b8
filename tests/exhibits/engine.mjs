/**
 * Lets the tests call the engine: node engine.mjs FOLDER, where FOLDER holds the engine, with
 * `{task, ...arguments}` as JSON on standard input; the answer comes as JSON on standard output.
 */

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const folder = `${pathToFileURL(resolve(process.argv[2]))}/`;
const load = (name) => import(folder + name);
const { Random } = await load("random.js");
const { makeDensity } = await load("densities.js");
const { Hmc, trajectory } = await load("dynamics.js");
const { Nuts } = await load("nuts.js");
const { windows } = await load("adaptation.js");
const { run } = await load("run.js");
const { diagnose } = await load("diagnostics.js");

const tasks = {
  random({ seed, stream, count, kind }) {
    const random = new Random(seed, stream);
    return Array.from({ length: count }, () => random[kind]());
  },

  density({ density }) {
    const { dimension, names } = makeDensity(density);
    return { dimension, names };
  },

  evaluate({ density: spec, points }) {
    const density = makeDensity(spec);
    return points.map((point) => {
      const gradient = new Float64Array(density.dimension).fill(NaN);
      const value = density.logDensity(Float64Array.from(point), gradient);
      const parameters = Object.entries(density.constrain(Float64Array.from(point)));
      return {
        value,
        gradient: [...gradient],
        parameters: Object.fromEntries(parameters.map(([k, v]) => [k, v.map ? [...v] : v])),
      };
    });
  },

  trajectory({ density, starts, stepSize, steps, inverseMass }) {
    return starts.map(([q, p]) =>
      trajectory(makeDensity(density), q, p, stepSize, steps, inverseMass).map((point) => ({
        q: [...point.q],
        p: [...point.p],
        energyError: point.energyError,
      })),
    );
  },

  /** Move each start by a few transitions, without adaptation. */
  move({ density: spec, starts, transitions, seed, sampler, stepSize, pathLength, ...more }) {
    const density = makeDensity(spec);
    const random = new Random(seed);
    const step = sampler === "nuts" ? new Nuts(density) : new Hmc(density, { pathLength });
    const metric = { stepSize, inverseMass: Float64Array.from(more.inverseMass) };
    return starts.map((start) => {
      const position = Float64Array.from(start);
      for (let i = 0; i < transitions; i++) step.transition(position, metric, random);
      return [...position];
    });
  },

  /** Move each start by a few rounds of new data, given the parameters, and a transition. */
  moveWithData({ density: spec, starts, rounds, seed, stepSize, inverseMass }) {
    const random = new Random(seed);
    const metric = { stepSize, inverseMass: Float64Array.from(inverseMass) };
    return starts.map((start) => {
      const position = Float64Array.from(start);
      for (let i = 0; i < rounds; i++) {
        const { theta } = makeDensity(spec).constrain(position);
        const effect = spec.data.se.map((se, j) => theta[j] + se * random.normal());
        const density = makeDensity({ ...spec, data: { ...spec.data, effect } });
        new Nuts(density).transition(position, metric, random);
      }
      return [...position];
    });
  },

  /** The points of one tree in the order visited, and those of a trajectory each way. */
  tree({ density: spec, start, stepSize, seed }) {
    const density = makeDensity(spec);
    const metric = { stepSize, inverseMass: new Float64Array(density.dimension).fill(1) };
    const position = Float64Array.from(start);
    const visited = [];
    const sampler = new Nuts(density);
    const made = sampler.transition(position, metric, new Random(seed), (particle, error, way) => {
      visited.push({ q: [...particle.q], p: [...particle.p], error, way });
    });
    const random = new Random(seed);
    const p = Array.from(start, () => random.normal());
    return { visited, end: [...position], p, depth: made.depth, gradients: made.gradients };
  },

  windows: ({ tune }) => windows(tune),

  run({ request }) {
    const { chains } = request.settings;
    const indices = request.indices ?? Array.from({ length: chains }, (_, i) => i);
    const results = indices.map((chain) => ({ chain, values: {}, divergences: {}, batches: 0 }));
    run({ ...request, indices }, (message) => {
      const result = results[indices.indexOf(message.chain)];
      if (message.type === "end") {
        result.inverseMass = [...message.inverseMass];
        result.position = [...message.position];
        return;
      }
      result.batches += 1;
      for (const group of ["values", "divergences"]) {
        for (const [name, numbers] of Object.entries(message[group])) {
          (result[group][name] ??= []).push(...numbers);
        }
      }
      for (const name of ["energy", "acceptance", "depth", "divergent"]) {
        (result[name] ??= []).push(...message[name]);
      }
      for (const name of ["transitions", "gradients", "stepSize", "tuning"]) {
        result[name] = message[name];
      }
    });
    return results;
  },

  /** JSON has no NaN: it comes as null. */
  diagnose: ({ sets }) =>
    sets.map((set) => diagnose(set.map((chain) => Float64Array.from(chain, (x) => x ?? NaN)))),
};

const { task, ...given } = JSON.parse(readFileSync(0));
let answer;
try {
  answer = { answer: tasks[task](given) };
} catch (error) {
  answer = { error: `${error.name}: ${error.message}` };
}
process.stdout.write(JSON.stringify(answer));
