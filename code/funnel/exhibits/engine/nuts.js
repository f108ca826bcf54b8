/**
 * The No-U-Turn Sampler, with multinomial weights.
 *
 * Hoffman and Gelman (2014), "The No-U-Turn Sampler", JMLR 15, double a trajectory forward or
 * backward in time until it turns back. Betancourt (2017), "A conceptual introduction to
 * Hamiltonian Monte Carlo", arXiv:1701.02434, appendix A, draws the next point from the
 * trajectory with weights exp(-energy), and says when a trajectory of any geometry has turned:
 * when the sum of its momenta no longer points the way that either end moves.
 */

import { DIVERGENCE_THRESHOLD, Particle, acceptance } from "./dynamics.js";

/** A piece of a trajectory, in the order in which it was built. */
class Subtree {
  constructor(dimension) {
    this.first = new Float64Array(dimension); // momentum at its first point
    this.last = new Float64Array(dimension); // and at its last
    this.sum = new Float64Array(dimension); // of all its momenta
    this.sample = new Float64Array(dimension); // a position, drawn by weight
    this.sampleError = 0; // the energy error there
    this.logWeight = 0; // log of the sum of exp(-energy error)
  }

  /** Make it one point. */
  plant(particle, error) {
    this.first.set(particle.p);
    this.last.set(particle.p);
    this.sum.set(particle.p);
    this.sample.set(particle.q);
    this.sampleError = error;
    this.logWeight = -error;
  }

  /** See it in the other direction of time. */
  reverse() {
    [this.first, this.last] = [this.last, this.first];
  }
}

/** The sampler; it keeps its memory from one transition to the next. */
export class Nuts {
  /**
   * @param {import("./densities.js").Density} density
   * @param {{maxDepth?: number}} settings - Doublings at most; 2^10 - 1 leapfrog steps.
   */
  constructor(density, { maxDepth = 10 } = {}) {
    const { dimension } = density;
    this.maxDepth = maxDepth;
    this.backward = new Particle(density); // the two ends of the trajectory
    this.forward = new Particle(density);
    this.tree = new Subtree(dimension);
    this.next = new Subtree(dimension);
    this.halves = Array.from({ length: maxDepth }, () => new Subtree(dimension));
    this.before = new Float64Array(dimension);
  }

  /**
   * Move `position`, in place, to where the chain goes next.
   *
   * @param {Float64Array} position
   * @param {{stepSize: number, inverseMass: Float64Array}} metric
   * @param {import("./random.js").Random} random
   * @param {(particle: Particle, energyError: number, direction: number) => void} [visit] -
   *   Called at each point, in the order in which they are visited, with the particle itself.
   * @returns {import("./dynamics.js").Transition}
   */
  transition(position, metric, random, visit) {
    const { forward, backward, tree, next } = this;
    forward.place(position);
    forward.kick(metric.inverseMass, random);
    backward.copy(forward);
    this.metric = metric;
    this.random = random;
    this.visit = visit;
    this.energy = forward.energy(metric.inverseMass);
    this.steps = 0;
    this.sumOfAcceptance = 0;
    this.divergence = null;

    tree.plant(forward, 0);
    let depth = 0;
    let straight = true;
    while (straight && depth < this.maxDepth) {
      const direction = random.uniform() < 0.5 ? -1 : 1;
      straight = this.build(depth, direction, next);
      depth += 1;
      if (!straight) break;
      // The tree's last point must be the one that the new half sets out from.
      if (direction < 0) tree.reverse();
      // Prefer the new half: it is further away (Betancourt 2017, appendix A.3.2).
      straight = this.join(tree, next, next.logWeight - tree.logWeight);
      if (direction < 0) tree.reverse();
    }
    position.set(tree.sample);
    return {
      acceptance: this.sumOfAcceptance / this.steps,
      energy: this.energy + tree.sampleError,
      divergent: this.divergence !== null,
      divergence: this.divergence,
      gradients: this.steps + 1,
      depth,
    };
  }

  /**
   * Go 2^depth steps on from one end, and gather them in `out`.
   *
   * @returns {boolean} Whether it neither diverged nor turned in any of its halves.
   */
  build(depth, direction, out) {
    if (depth === 0) return this.step(direction, out);
    const second = this.halves[depth];
    if (!this.build(depth - 1, direction, out)) return false;
    if (!this.build(depth - 1, direction, second)) return false;
    return this.join(out, second, second.logWeight - addLogs(out.logWeight, second.logWeight));
  }

  /** Go one step on from one end; false if it diverged. */
  step(direction, out) {
    const { stepSize, inverseMass } = this.metric;
    const particle = direction < 0 ? this.backward : this.forward;
    this.before.set(particle.q);
    particle.leapfrog(direction * stepSize, inverseMass);
    const error = particle.energy(inverseMass) - this.energy;
    this.steps += 1;
    this.sumOfAcceptance += acceptance(error);
    this.visit?.(particle, error, direction);
    if (!(error <= DIVERGENCE_THRESHOLD)) {
      this.divergence = this.before.slice();
      return false;
    }
    out.plant(particle, error);
    return true;
  }

  /**
   * Join `next` to the last point of `tree`, and draw from the two: `next` with the probability
   * whose logarithm is given (1 if that is above 0).
   *
   * @returns {boolean} Whether the whole has not turned; nor has either half with the point of
   *   the other that is next to it. That last check is Stan's: two halves that each just miss a
   *   turn can make a full circle.
   */
  join(tree, next, logProbability) {
    const { inverseMass } = this.metric;
    const straight =
      !turned(tree.sum, next.sum, tree.first, next.last, inverseMass) &&
      !turned(tree.sum, next.first, tree.first, next.first, inverseMass) &&
      !turned(tree.last, next.sum, tree.last, next.last, inverseMass);
    if (Math.log(this.random.uniform()) < logProbability) {
      [tree.sample, next.sample] = [next.sample, tree.sample];
      tree.sampleError = next.sampleError;
    }
    [tree.last, next.last] = [next.last, tree.last];
    for (let i = 0; i < tree.sum.length; i++) tree.sum[i] += next.sum[i];
    tree.logWeight = addLogs(tree.logWeight, next.logWeight);
    return straight;
  }
}

/**
 * Whether a trajectory has turned: the sum of its momenta, given in two parts, is at more than
 * a right angle to the velocity at one of its ends (Betancourt 2017, appendix A.4.2).
 */
function turned(sum, more, first, last, inverseMass) {
  let atFirst = 0;
  let atLast = 0;
  for (let i = 0; i < sum.length; i++) {
    const displacement = inverseMass[i] * (sum[i] + more[i]);
    atFirst += displacement * first[i];
    atLast += displacement * last[i];
  }
  return !(atFirst > 0 && atLast > 0);
}

/** log(exp(a) + exp(b)). */
function addLogs(a, b) {
  return Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
}
