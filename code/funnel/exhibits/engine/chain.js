/**
 * One Markov chain: a start, a sampler, and adaptation while it is tuned.
 */

import { DualAveraging, Variances, reasonableStepSize, windows } from "./adaptation.js";
import { Hmc, MAX_STEPS } from "./dynamics.js";
import { Nuts } from "./nuts.js";
import { Random } from "./random.js";

const SAMPLERS = { nuts: Nuts, hmc: Hmc };
const MIN_TUNE = 20; // fewer transitions teach nothing
const MAX_CHAINS = 64;

/**
 * @typedef {object} Settings
 * @property {"nuts"|"hmc"} sampler
 * @property {number} tune - Transitions before the first draw.
 * @property {number} draws - Transitions that are kept, in each chain.
 * @property {number} chains
 * @property {number} seed - A whole number from 0 to 2^53 - 1.
 * @property {boolean} adapt - Whether tuning learns step size and masses; if not, the step size
 *   is `stepSize` and all masses are 1.
 * @property {number} [targetAccept] - With `adapt`: the acceptance to aim at.
 * @property {number} [stepSize] - Without `adapt`.
 * @property {number} [pathLength] - For HMC, in time.
 */

/**
 * Refuse settings that cannot be run.
 *
 * @param {Settings} settings
 * @returns {Settings} The same.
 */
export function checkSettings(settings) {
  const { sampler, tune, draws, chains, adapt } = settings;
  const { targetAccept, stepSize, pathLength } = settings;
  if (!Object.hasOwn(SAMPLERS, sampler)) {
    throw new RangeError(`sampler must be nuts or hmc, got ${sampler}`);
  }
  if (typeof adapt !== "boolean") throw new RangeError(`adapt must be true or false, got ${adapt}`);
  checkWhole("tune", tune, adapt ? MIN_TUNE : 0);
  checkWhole("draws", draws, 1);
  checkWhole("chains", chains, 1, MAX_CHAINS);
  if (adapt && !(targetAccept > 0 && targetAccept < 1)) {
    throw new RangeError(`targetAccept must be between 0 and 1, got ${targetAccept}`);
  }
  if (!adapt) checkPositive("stepSize", stepSize);
  if (sampler === "hmc") checkPositive("pathLength", pathLength);
  if (sampler === "hmc" && !adapt && pathLength / stepSize > MAX_STEPS) {
    throw new RangeError(
      `pathLength / stepSize must be at most ${MAX_STEPS} steps, got ${pathLength / stepSize}`,
    );
  }
  return settings;
}

export class Chain {
  /**
   * @param {import("./densities.js").Density} density
   * @param {Settings} settings
   * @param {number} index - Which chain, from 0: each has random numbers of its own.
   */
  constructor(density, settings, index) {
    const { sampler, adapt, stepSize, targetAccept, tune, seed } = checkSettings(settings);
    const { dimension } = density;
    this.density = density;
    this.tune = tune;
    this.adapt = adapt;
    this.targetAccept = targetAccept;
    this.random = new Random(seed, index);
    this.sampler = new SAMPLERS[sampler](density, settings);
    /** Where the chain is. It starts anywhere within 2 of 0, in each coordinate, as in Stan. */
    this.position = Float64Array.from({ length: dimension }, () => 4 * this.random.uniform() - 2);
    /** What the next transition moves with. */
    this.metric = {
      stepSize: adapt ? 1 : stepSize,
      inverseMass: new Float64Array(dimension).fill(1),
    };
    /** Transitions so far. */
    this.count = 0;
    if (adapt) {
      this.windows = windows(tune);
      this.variances = new Variances(dimension);
      this.searchStepSize();
    }
  }

  /** Whether the next transition belongs to tuning. */
  get tuning() {
    return this.count < this.tune;
  }

  /**
   * Make one transition, and learn from it while the chain is tuned.
   *
   * @param {(particle: import("./dynamics.js").Particle, energyError: number,
   *   direction: number) => void} [visit] - Called at each leapfrog point, in the order in which
   *   they are visited; the particle moves on, so copy what you keep of it.
   * @returns {import("./dynamics.js").Transition}
   */
  step(visit) {
    const learning = this.adapt && this.tuning;
    const transition = this.sampler.transition(this.position, this.metric, this.random, visit);
    this.count += 1;
    if (learning) this.learn(transition.acceptance);
    return transition;
  }

  learn(acceptance) {
    this.averaging.update(acceptance);
    this.metric.stepSize = this.averaging.stepSize;
    const { start, ends } = this.windows;
    if (this.count > start && this.count <= ends.at(-1)) this.variances.add(this.position);
    if (ends.includes(this.count)) {
      this.metric.inverseMass = this.variances.inverseMass();
      this.variances = new Variances(this.density.dimension);
      this.searchStepSize();
    }
    if (!this.tuning) this.metric.stepSize = this.averaging.averaged;
  }

  searchStepSize() {
    const { density, position, metric, random } = this;
    metric.stepSize = reasonableStepSize(density, position, metric, random);
    this.averaging = new DualAveraging(metric.stepSize, this.targetAccept);
  }
}

function checkWhole(name, value, least, most = Infinity) {
  if (!Number.isInteger(value) || value < least || value > most) {
    const range = most === Infinity ? `at least ${least}` : `from ${least} to ${most}`;
    throw new RangeError(`${name} must be a whole number, ${range}, got ${value}`);
  }
}

function checkPositive(name, value) {
  if (!(Number.isFinite(value) && value > 0)) {
    throw new RangeError(`${name} must be a positive finite number, got ${value}`);
  }
}
