/**
 * What a sampler learns while it is tuned: a step size, and a mass for each coordinate.
 */

import { Particle } from "./dynamics.js";

/**
 * A step size with roughly the right acceptance, found by doubling or halving: Hoffman and
 * Gelman (2014), algorithm 4.
 *
 * @param {import("./densities.js").Density} density
 * @param {Float64Array} position
 * @param {{stepSize: number, inverseMass: Float64Array}} metric - Where to begin.
 * @param {import("./random.js").Random} random
 * @returns {number} The first step size, by factors of 2, at which the acceptance of a single
 *   step passes one half.
 */
export function reasonableStepSize(density, position, { stepSize, inverseMass }, random) {
  const start = new Particle(density);
  start.place(position);
  start.kick(inverseMass, random);
  const particle = new Particle(density);
  const isSmall = (size) => {
    particle.copy(start);
    particle.leapfrog(size, inverseMass);
    return particle.energy(inverseMass) - start.energy(inverseMass) < Math.LN2;
  };
  const small = isSmall(stepSize);
  while (isSmall(stepSize) === small && stepSize > 1e-10 && stepSize < 1e10) {
    stepSize *= small ? 2 : 0.5;
  }
  return stepSize;
}

/**
 * Dual averaging of the step size: Hoffman and Gelman (2014), section 3.2, with their constants
 * (gamma 0.05, t0 10, kappa 0.75).
 */
export class DualAveraging {
  /**
   * @param {number} stepSize - Where to begin; the search is drawn towards ten times this.
   * @param {number} target - Acceptance that it aims at, between 0 and 1.
   */
  constructor(stepSize, target) {
    this.target = target;
    this.center = Math.log(10 * stepSize);
    this.count = 0;
    this.meanError = 0; // H-bar
    this.logStepSize = Math.log(stepSize);
    this.logAveraged = Math.log(stepSize);
  }

  /** Learn from the acceptance of a transition (their equation 6). */
  update(acceptance) {
    this.count += 1;
    const t = this.count;
    this.meanError += (this.target - acceptance - this.meanError) / (t + 10);
    this.logStepSize = this.center - (Math.sqrt(t) / 0.05) * this.meanError;
    this.logAveraged += t ** -0.75 * (this.logStepSize - this.logAveraged);
  }

  /** @returns {number} The step size to try next. */
  get stepSize() {
    return Math.exp(this.logStepSize);
  }

  /** @returns {number} The step size to keep when tuning is over. */
  get averaged() {
    return Math.exp(this.logAveraged);
  }
}

/** Running variances of positions (Welford 1962, Technometrics 4(3)). */
export class Variances {
  constructor(dimension) {
    this.count = 0;
    this.mean = new Float64Array(dimension);
    this.squares = new Float64Array(dimension);
  }

  add(q) {
    this.count += 1;
    for (let i = 0; i < q.length; i++) {
      const deviation = q[i] - this.mean[i];
      this.mean[i] += deviation / this.count;
      this.squares[i] += deviation * (q[i] - this.mean[i]);
    }
  }

  /**
   * The variances as inverse masses, drawn towards 0.001 as if by five more draws, which keeps
   * a short window from giving an extreme mass. As Stan does it.
   *
   * @returns {Float64Array}
   */
  inverseMass() {
    const n = this.count;
    return this.squares.map((sum) => (n / (n + 5)) * (sum / (n - 1)) + (5 / (n + 5)) * 1e-3);
  }
}

/**
 * When the masses are learned: Stan's scheme (Stan Reference Manual, "Automatic parameter
 * tuning"). A first stretch finds the bulk, with the step size alone; then come windows, each
 * twice as long as the one before, with masses at the end of each; a last stretch finds the
 * step size that fits the last masses.
 *
 * @param {number} tune - Number of transitions, at least 20.
 * @returns {{start: number, ends: number[]}} Where the first window starts, and after how many
 *   transitions each window ends.
 */
export function windows(tune) {
  let [first, size, last] = [75, 25, 50];
  if (tune < first + size + last) {
    first = Math.floor(0.15 * tune);
    last = Math.floor(0.1 * tune);
    size = tune - first - last;
  }
  const ends = [];
  let end = first;
  while (end < tune - last) {
    // A window after which the next does not fit takes all that is left.
    end = end + 3 * size > tune - last ? tune - last : end + size;
    ends.push(end);
    size *= 2;
  }
  return { start: first, ends };
}
