/**
 * Hamiltonian dynamics: the leapfrog step, the energy, and HMC with a path of fixed length.
 *
 * A particle has a position q, a momentum p and masses; the samplers hold the inverses of the
 * masses, w, one for each coordinate. Its energy is potential, -log density(q), plus kinetic,
 * sum w p^2 / 2. The names are those of Neal (2011), "MCMC using Hamiltonian dynamics",
 * Handbook of Markov Chain Monte Carlo, chapter 5; `funnel.hmc` is the same in Python.
 */

/** Energy error beyond which a trajectory counts as divergent; Stan's and PyMC's threshold. */
export const DIVERGENCE_THRESHOLD = 1000;

/** Most steps of an HMC trajectory: what a tree of depth 10 has. */
export const MAX_STEPS = 1023;

/**
 * A particle: position, momentum, and the log density and its gradient at the position.
 */
export class Particle {
  /** @param {import("./densities.js").Density} density - What it moves over. */
  constructor(density) {
    this.density = density;
    this.q = new Float64Array(density.dimension);
    this.p = new Float64Array(density.dimension);
    this.gradient = new Float64Array(density.dimension);
    this.logDensity = NaN;
  }

  /** Put the particle at a position. */
  place(q) {
    this.q.set(q);
    this.logDensity = this.density.logDensity(this.q, this.gradient);
  }

  /** Give it a momentum: normal, with the masses as variances. */
  kick(inverseMass, random) {
    for (let i = 0; i < this.p.length; i++) this.p[i] = random.normal() / Math.sqrt(inverseMass[i]);
  }

  /** Make it the same as another one. */
  copy(other) {
    this.q.set(other.q);
    this.p.set(other.p);
    this.gradient.set(other.gradient);
    this.logDensity = other.logDensity;
  }

  /**
   * Go one leapfrog step: half a step of the momentum, a step of the position, half a step of
   * the momentum (Neal 2011, section 2.3 of arXiv:1206.1901). One gradient.
   *
   * @param {number} stepSize - In time; negative to go back.
   * @param {Float64Array} inverseMass
   */
  leapfrog(stepSize, inverseMass) {
    const { q, p, gradient } = this;
    const half = stepSize / 2;
    for (let i = 0; i < q.length; i++) {
      p[i] += half * gradient[i];
      q[i] += stepSize * inverseMass[i] * p[i];
    }
    this.logDensity = this.density.logDensity(q, gradient);
    for (let i = 0; i < q.length; i++) p[i] += half * gradient[i];
  }

  /** @returns {number} The energy; not finite where numbers have run out. */
  energy(inverseMass) {
    let kinetic = 0;
    for (let i = 0; i < this.p.length; i++) kinetic += inverseMass[i] * this.p[i] * this.p[i];
    return kinetic / 2 - this.logDensity;
  }
}

/**
 * Metropolis probability of an energy error: 1 if energy fell, 0 if it is not a number.
 *
 * @param {number} error
 * @returns {number}
 */
export function acceptance(error) {
  if (Number.isNaN(error)) return 0;
  return error > 0 ? Math.exp(-error) : 1;
}

/**
 * Follow one trajectory and keep all of it, for a picture.
 *
 * @param {import("./densities.js").Density} density
 * @param {Float64Array} q - Where it starts.
 * @param {Float64Array} p - Its momentum there.
 * @param {number} stepSize
 * @param {number} steps
 * @param {Float64Array} [inverseMass] - All 1 unless given.
 * @returns {{q: Float64Array, p: Float64Array, energyError: number}[]} Each point, from the
 *   start to the end, with its energy less that of the start.
 */
export function trajectory(density, q, p, stepSize, steps, inverseMass) {
  const w = inverseMass ?? new Float64Array(density.dimension).fill(1);
  for (const [name, vector] of Object.entries({ q, p, inverseMass: w })) {
    if (vector.length !== density.dimension) {
      throw new RangeError(`${name} must have ${density.dimension} numbers, got ${vector.length}`);
    }
  }
  if (!(Number.isFinite(stepSize) && stepSize > 0)) {
    throw new RangeError(`stepSize must be a positive finite number, got ${stepSize}`);
  }
  if (!Number.isInteger(steps) || steps < 1) {
    throw new RangeError(`steps must be a positive whole number, got ${steps}`);
  }
  const particle = new Particle(density);
  particle.place(q);
  particle.p.set(p);
  const energy = particle.energy(w);
  const points = [{ q: particle.q.slice(), p: particle.p.slice(), energyError: 0 }];
  for (let i = 0; i < steps; i++) {
    particle.leapfrog(stepSize, w);
    const energyError = particle.energy(w) - energy;
    points.push({ q: particle.q.slice(), p: particle.p.slice(), energyError });
  }
  return points;
}

/**
 * What a transition of a sampler reports.
 *
 * @typedef {object} Transition
 * @property {number} acceptance - Mean Metropolis probability along the trajectory for NUTS, of
 *   its end for HMC; between 0 and 1.
 * @property {number} energy - Of the point that the chain went to.
 * @property {boolean} divergent - Whether the energy error passed the threshold anywhere.
 * @property {Float64Array|null} divergence - Where the first step that did so set out from.
 * @property {number} gradients - How many were computed.
 * @property {number} depth - Of the tree; 0 for HMC.
 */

/** Hamiltonian Monte Carlo with a path of fixed length (Neal 2011, section 3.2). */
export class Hmc {
  /**
   * @param {import("./densities.js").Density} density
   * @param {{pathLength: number}} settings - `pathLength` in time: step size times steps.
   */
  constructor(density, { pathLength }) {
    this.pathLength = pathLength;
    this.particle = new Particle(density);
    this.before = new Float64Array(density.dimension);
  }

  /**
   * Move `position`, in place, to where the chain goes next.
   *
   * The end of the trajectory is accepted or not, whether or not it diverged on the way: to
   * stop on the way would not be reversible.
   *
   * @param {Float64Array} position
   * @param {{stepSize: number, inverseMass: Float64Array}} metric
   * @param {import("./random.js").Random} random
   * @param {(particle: Particle, energyError: number, direction: number) => void} [visit] -
   *   Called at each point, in order, with the particle itself.
   * @returns {Transition}
   */
  transition(position, { stepSize, inverseMass }, random, visit) {
    const { particle, before } = this;
    particle.place(position);
    particle.kick(inverseMass, random);
    const energy = particle.energy(inverseMass);
    const steps = Math.min(Math.max(Math.round(this.pathLength / stepSize), 1), MAX_STEPS);
    let error = 0;
    let divergence = null;
    for (let i = 0; i < steps; i++) {
      before.set(particle.q);
      particle.leapfrog(stepSize, inverseMass);
      error = particle.energy(inverseMass) - energy;
      visit?.(particle, error, 1);
      if (!(error <= DIVERGENCE_THRESHOLD)) divergence ??= before.slice();
    }
    const probability = acceptance(error);
    const accepted = random.uniform() < probability;
    if (accepted) position.set(particle.q);
    return {
      acceptance: probability,
      energy: energy + (accepted ? error : 0),
      divergent: divergence !== null,
      divergence,
      gradients: steps + 1,
      depth: 0,
    };
  }
}
