/**
 * Priors of the top-level parameters: those of `funnel.priors`, with their derivatives.
 *
 * A prior arrives as JSON: its family, by the name of the Python class, and its numbers, such
 * as `{family: "HalfCauchy", beta: 5}`. A scale sigma is sampled on the log scale,
 * s = log sigma. Its density there is p(sigma) dsigma/ds = p(sigma) sigma: the log of the
 * Jacobian, s, is part of the value, and its derivative, 1, part of the slope.
 *
 * @typedef {object} Prior
 * @property {(x: number) => number} value - Log density, normalized; at s for a scale.
 * @property {(x: number) => number} slope - Its derivative.
 */

const LOG_TWO_PI = Math.log(2 * Math.PI);

/** The numbers of each family, all positive, and the prior that they make. */
const SCALE_FAMILIES = {
  HalfCauchy: [["beta"], halfCauchy],
  HalfNormal: [["sd"], halfNormal],
  Exponential: [["rate"], exponential],
  Gamma2: [["rate"], gamma2],
  LogNormal: [["median", "sd"], logNormal],
};

/**
 * @param {string} name - Of the parameter, for errors.
 * @param {{family: "Normal", mean: number, sd: number}} spec
 * @returns {Prior}
 */
export function normalPrior(name, spec) {
  if (spec?.family !== "Normal") {
    throw new RangeError(`the prior of ${name} must be of family Normal, got ${spec?.family}`);
  }
  const { mean } = spec;
  if (!Number.isFinite(mean)) {
    throw new RangeError(`the prior of ${name}: mean must be a finite number, got ${mean}`);
  }
  const sd = positive(name, "sd", spec);
  const constant = -Math.log(sd) - LOG_TWO_PI / 2;
  return {
    value: (x) => constant - 0.5 * ((x - mean) / sd) ** 2,
    slope: (x) => (mean - x) / sd ** 2,
  };
}

/**
 * @param {string} name - Of the scale, for errors.
 * @param {object} spec - `{family, ...}` with the numbers that the family needs.
 * @returns {Prior} Of the logarithm of the scale.
 */
export function scalePrior(name, spec) {
  if (!Object.hasOwn(SCALE_FAMILIES, spec?.family)) {
    const known = Object.keys(SCALE_FAMILIES).join(", ");
    throw new RangeError(`the prior of ${name} must be one of ${known}, got ${spec?.family}`);
  }
  const [parameters, make] = SCALE_FAMILIES[spec.family];
  const { value, slope } = make(...parameters.map((parameter) => positive(name, parameter, spec)));
  return { value: (s) => value(s) + s, slope: (s) => slope(s) + 1 };
}

// --- The families: log p(sigma) at sigma = exp(s), and its derivative by s -----------

/** p(sigma) = 2 / (pi beta (1 + r)) with r = (sigma / beta)^2; dr/ds = 2 r. */
function halfCauchy(beta) {
  const constant = Math.log(2 / (Math.PI * beta));
  const square = (s) => (Math.exp(s) / beta) ** 2;
  return {
    value: (s) => constant - Math.log1p(square(s)),
    slope: (s) => -2 / (1 + 1 / square(s)),
  };
}

/** p(sigma) = sqrt(2 / pi) / sd exp(-r / 2) with r = (sigma / sd)^2; dr/ds = 2 r. */
function halfNormal(sd) {
  const constant = 0.5 * Math.log(2 / Math.PI) - Math.log(sd);
  const square = (s) => (Math.exp(s) / sd) ** 2;
  return {
    value: (s) => constant - square(s) / 2,
    slope: (s) => -square(s),
  };
}

/** p(sigma) = rate exp(-rate sigma). */
function exponential(rate) {
  return {
    value: (s) => Math.log(rate) - rate * Math.exp(s),
    slope: (s) => -rate * Math.exp(s),
  };
}

/** p(sigma) = rate^2 sigma exp(-rate sigma). */
function gamma2(rate) {
  return {
    value: (s) => 2 * Math.log(rate) + s - rate * Math.exp(s),
    slope: (s) => 1 - rate * Math.exp(s),
  };
}

/** p(sigma) = Normal(s; log median, sd) / sigma. */
function logNormal(median, sd) {
  const z = (s) => (s - Math.log(median)) / sd;
  return {
    value: (s) => -0.5 * z(s) ** 2 - Math.log(sd) - LOG_TWO_PI / 2 - s,
    slope: (s) => -z(s) / sd - 1,
  };
}

function positive(name, parameter, spec) {
  const value = spec[parameter];
  if (!(Number.isFinite(value) && value > 0)) {
    throw new RangeError(
      `the prior of ${name}: ${parameter} must be a positive finite number, got ${value}`,
    );
  }
  return value;
}
