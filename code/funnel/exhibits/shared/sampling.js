// What the exhibit `sampler` asks of the engine, and what it makes of the draws.

import { diagnose } from "../engine/diagnostics.js";

/** Limits of the diagnostics: Vehtari et al. (2021), and ArviZ's rule of thumb for E-BFMI. */
export const LIMITS = { rhat: 1.01, ess: 400, bfmi: 0.3 };
/**
 * An answer further off than this many of its own standard errors is wrong. Three are not enough:
 * the error of a small probability is itself uncertain in a run as short as this, and of 24 seeds
 * of the noncentered model three are off by more than three, and none by more than four.
 */
export const WRONG = 4;

const REGRESSION = ["mu_a", "sigma_a", "mu_b", "sigma_b", "sigma_y"];
const TOP = { radon: REGRESSION, many: REGRESSION, neal: ["v"] };

/** Those of the controls that decide on the draws, as text: two states with one text are one run. */
export function question(state) {
  const geometry = state.model === "neal" ? ["slopes", "dimensions"] : ["slopes", "intercepts"];
  const moves = { nuts: ["target_accept"], hmc: ["step_size", "path_length"] }[state.method];
  const names = ["model", ...geometry, "method", ...moves, "seed"];
  return JSON.stringify(names.map((name) => state[name]));
}

/** The homes of a model: the survey, or each of its homes many times. */
export function homesOf({ homes, copies }, model) {
  if (model !== "many") return homes;
  const repeat = (column) => Array.from({ length: copies }, () => column).flat();
  const { county, floor, logRadon, counties } = homes;
  return { county: repeat(county), floor: repeat(floor), logRadon: repeat(logRadon), counties };
}

/** The model at the centeredness that the controls say, for `makeDensity`. */
export function densityOf(data, state) {
  if (state.model === "neal") {
    return { kind: "neal", dimensions: Number(state.dimensions), centeredness: state.slopes };
  }
  const { slopes, intercepts } = state;
  return { kind: "radon", data: homesOf(data, state.model), priors: data.priors, slopes, intercepts };
}

/** The request of `run` for a state of the controls. */
export function request(data, state) {
  const { tune, draws } = data;
  const settings = { sampler: state.method, tune, draws, chains: 4, seed: state.seed };
  // HMC gets its step from the reader: nothing is left to adapt.
  const moves = state.method === "nuts"
    ? { adapt: true, targetAccept: state.target_accept }
    : { adapt: false, stepSize: state.step_size, pathLength: state.path_length };
  const effects = state.model === "neal" ? ["x[0]"] : data.counties.map((_, j) => `b[${j}]`);
  const keep = [...TOP[state.model], ...effects];
  return { density: densityOf(data, state), settings: { ...settings, ...moves }, keep };
}

/** The scale that makes the funnel: sigma_b itself, or exp(v / 2). */
export function scaleOf(model, values) {
  return model === "neal" ? values.v.map((chain) => chain.map((v) => Math.exp(v / 2))) : values.sigma_b;
}

/**
 * Energy Bayesian fraction of missing information of a chain (Betancourt 2016,
 * arXiv:1604.00695, section 3): the squares of its steps in energy over those of the range.
 */
export function bfmi(energy) {
  const mean = energy.reduce((sum, e) => sum + e, 0) / energy.length;
  let [steps, range] = [0, 0];
  energy.forEach((e, n) => {
    range += (e - mean) ** 2;
    if (n > 0) steps += (e - energy[n - 1]) ** 2;
  });
  return steps / range;
}

/** An expectation as the draws tell it, with its Monte Carlo standard error, beside the exact one. */
function expectation(name, chains, exact) {
  const total = chains.reduce((sum, chain) => sum + chain.reduce((part, x) => part + x, 0), 0);
  const found = total / (chains.length * chains[0].length);
  const constant = chains.every((chain) => chain.every((x) => x === chains[0][0]));
  const error = constant ? 0 : diagnose(chains).mcseMean;
  return { name, exact, found, error };
}

/**
 * What a run has to say for itself, and what it is worth. Chains that are not equally far are
 * compared as far as the slowest is.
 *
 * @param {object} exact - Of the model: `mean` and `below`, the exact expectations.
 * @param {string} model - "radon" or "neal".
 * @param {object} result - As `sample` returns, or gives on the way.
 * @returns {object|null} Null before there are draws to speak of.
 */
export function report(exact, model, result) {
  const length = Math.min(...result.energy.map((energy) => energy.length));
  if (length < 20) return null;
  const cut = (chains) => chains.map((chain) => chain.subarray(0, length));
  const of = TOP[model].map((name) => ({ name, ...diagnose(cut(result.values[name])) }));
  const worst = (key, sign) =>
    of.reduce((first, next) => (sign * next[key] > sign * first[key] ? next : first));
  const scale = cut(scaleOf(model, result.values));
  const first = model === "neal" ? cut(result.values.v) : scale;
  const below = scale.map((chain) => chain.map((x) => (x < exact.limit ? 1 : 0)));
  const sum = (chains) => chains.reduce((total, n) => total + n, 0);
  return {
    draws: 4 * length,
    rhat: worst("rhat", 1).rhat,
    rhatOf: worst("rhat", 1).name,
    bulk: worst("essBulk", -1).essBulk,
    bulkOf: worst("essBulk", -1).name,
    tail: worst("essTail", -1).essTail,
    tailOf: worst("essTail", -1).name,
    bfmi: Math.min(...cut(result.energy).map(bfmi)),
    divergences: sum(result.divergent.map((chain) => sum([...chain]))),
    gradients: sum(result.gradients),
    seconds: result.seconds,
    lowest: Math.min(...scale.map((chain) => Math.min(...chain))),
    expectations: [
      expectation("mean", first, exact.mean),
      expectation("below", below, exact.below),
    ],
  };
}

/** The diagnostics that warn, by name. */
export function warnings({ rhat, bulk, tail, bfmi: fraction, divergences }) {
  const rules = [
    ["divergences", divergences === 0],
    ["rhat", rhat < LIMITS.rhat],
    ["bulk", bulk > LIMITS.ess],
    ["tail", tail > LIMITS.ess],
    ["bfmi", fraction > LIMITS.bfmi],
  ];
  return rules.filter(([, fine]) => !fine).map(([name]) => name);
}

/** How far an answer is off, in its own standard errors; infinite if it claims to have none. */
export function offBy({ found, exact, error }) {
  return (found - exact) / error;
}

/** Whether one of the answers is further off than its own standard error can explain. */
export function isWrong({ expectations }) {
  // Without an exact value there is nothing to be wrong about.
  return expectations.some((each) => each.exact !== null && !(Math.abs(offBy(each)) <= WRONG));
}

/** What a run looks like, in few numbers: what the book keeps of a run that was made before. */
export function digest(data, state, result, county) {
  const model = state.model;
  const scale = scaleOf(model, result.values);
  const every = Math.ceil(scale[0].length / 150);
  const thin = (chains) => chains.map((chain) => Array.from(chain).filter((_, i) => i % every === 0));
  const name = model === "neal" ? "x[0]" : `b[${data.counties.indexOf(county)}]`;
  return {
    scale: thin(scale),
    effects: { [name]: thin(result.values[name]) },
    where: {
      scale: scaleOf(model, result.divergences).map((chain) => Array.from(chain)),
      effects: { [name]: result.divergences[name].map((chain) => Array.from(chain)) },
    },
    counts: histogram(data.exact[model].scale, scale),
  };
}

/** Counts of all draws between equal steps of the logarithm, 50 over the range of a lattice. */
export function histogram(lattice, chains) {
  const counts = new Array(BINS).fill(0);
  const [low, high] = [Math.log(lattice[0]), Math.log(lattice.at(-1))];
  for (const chain of chains) {
    for (const x of chain) {
      const bin = Math.floor((BINS * (Math.log(x) - low)) / (high - low));
      if (bin >= 0 && bin < BINS) counts[bin] += 1;
    }
  }
  return counts;
}

/** Of the histogram. */
export const BINS = 50;
