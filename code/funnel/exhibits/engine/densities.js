/**
 * What the samplers sample: log densities and their gradients, derived by hand.
 *
 * The models are those of `funnel.models`, in the coordinates that a sampler moves in: scales
 * by their logarithm, and effects in any centeredness. Every constant is kept, so that the
 * values equal PyMC's.
 *
 * @typedef {object} Density
 * @property {number} dimension - Number of coordinates.
 * @property {string[]} names - Of the coordinates.
 * @property {(q: Float64Array, gradient: Float64Array) => number} logDensity - The log density
 *   at q; writes its gradient into the second argument.
 * @property {(q: Float64Array) => Object<string, number|Float64Array>} constrain - The model's
 *   parameters at q, by name: what a reader asks for, whatever the coordinates.
 */

import { normalPrior, scalePrior } from "./priors.js";

const LOG_TWO_PI = Math.log(2 * Math.PI);
const KINDS = {
  normal: ({ sd }) => normal(sd),
  correlated_normal: ({ rho }) => correlatedNormal(rho),
  neal: ({ dimensions, centeredness }) => neal(dimensions, centeredness),
  eight_schools: ({ data, priors, centeredness }) => eightSchools(data, priors, centeredness),
  radon: ({ data, priors, intercepts, slopes }) => radon(data, priors, { intercepts, slopes }),
};

/**
 * Make a density from JSON.
 *
 * @param {object} spec - `kind`, and the arguments of the function of that kind, by name.
 * @returns {Density}
 */
export function makeDensity(spec) {
  if (!Object.hasOwn(KINDS, spec?.kind)) {
    const known = Object.keys(KINDS).join(", ");
    throw new RangeError(`a density is one of ${known}, got ${spec?.kind}`);
  }
  return KINDS[spec.kind](spec);
}

/**
 * Effects a_j ~ Normal(mu, sigma), one for each group, in any centeredness.
 *
 * With centeredness c and s = log sigma the sampler moves
 *
 *     z ~ Normal(c mu, sigma^c),    a = mu + sigma^(1-c) u,    u = z - c mu,
 *
 * the family of Gorinova, Moore and Hoffman (2020), "Automatic reparameterisation of
 * probabilistic programs", ICML: centered at c = 1, noncentered at 0. The log density is the
 * prior of z plus a log likelihood L that knows only a. Write g = dL/da, summed over groups
 * where z is not indexed:
 *
 *     d/dz_j  = -sigma^(-2c) u_j + sigma^(1-c) g_j,
 *     d/dmu   = c sigma^(-2c) sum u + (1 - c sigma^(1-c)) sum g,
 *     d/ds    = c (sigma^(-2c) sum u^2 - J) + (1 - c) sigma^(1-c) sum g u.
 */
class Effects {
  /**
   * @param {number} size - Number of groups, J.
   * @param {number} centeredness - From 0, noncentered, to 1, centered.
   * @param {number} offset - Index of z_1 among the coordinates.
   */
  constructor(size, centeredness, offset) {
    this.size = size;
    this.centeredness = centeredness;
    this.offset = offset;
    /** The effects, after `unfold`. */
    this.values = new Float64Array(size);
    /** The derivatives of the log likelihood by the effects, g: to be set before `fold`. */
    this.slopes = new Float64Array(size);
    /** The derivatives of the log density by mu and by s, after `fold`. */
    this.byMean = 0;
    this.byLogScale = 0;
  }

  /** Compute the effects from the coordinates, their mean and the logarithm of their scale. */
  unfold(q, mean, logScale) {
    const { size, centeredness: c, offset, values } = this;
    const stretch = Math.exp((1 - c) * logScale);
    for (let j = 0; j < size; j++) values[j] = mean + stretch * (q[offset + j] - c * mean);
  }

  /** Write the derivatives by z into `gradient`, and return the log prior of z. */
  fold(q, mean, logScale, gradient) {
    const { size, centeredness: c, offset, slopes } = this;
    const stretch = Math.exp((1 - c) * logScale);
    const precision = Math.exp(-2 * c * logScale);
    let sumU = 0;
    let sumUU = 0;
    let sumG = 0;
    let sumGU = 0;
    for (let j = 0; j < size; j++) {
      const u = q[offset + j] - c * mean;
      const g = slopes[j];
      gradient[offset + j] = stretch * g - precision * u;
      sumU += u;
      sumUU += u * u;
      sumG += g;
      sumGU += g * u;
    }
    this.byMean = c * precision * sumU + (1 - c * stretch) * sumG;
    this.byLogScale = c * (precision * sumUU - size) + (1 - c) * stretch * sumGU;
    return -0.5 * precision * sumUU - size * (c * logScale + LOG_TWO_PI / 2);
  }

  /** @returns {string[]} Names of the coordinates; `name_offset` unless centered, as in PyMC. */
  names(name) {
    const stem = this.centeredness === 1 ? name : `${name}_offset`;
    return Array.from(this.values, (_, j) => `${stem}[${j}]`);
  }
}

/**
 * Independent normals around 0.
 *
 * @param {number[]} sd - Their standard deviations.
 * @returns {Density}
 */
export function normal(sd) {
  if (!Array.isArray(sd) || sd.length === 0 || !sd.every((s) => Number.isFinite(s) && s > 0)) {
    throw new RangeError(`sd must be a list of positive finite numbers, got ${sd}`);
  }
  const constant = -sd.reduce((sum, s) => sum + Math.log(s) + LOG_TWO_PI / 2, 0);
  return {
    dimension: sd.length,
    names: sd.map((_, i) => `x[${i}]`),
    logDensity(q, gradient) {
      let squares = 0;
      for (let i = 0; i < sd.length; i++) {
        const z = q[i] / sd[i];
        squares += z * z;
        gradient[i] = -z / sd[i];
      }
      return constant - 0.5 * squares;
    },
    constrain: (q) => ({ x: q.slice() }),
  };
}

/**
 * Two standard normals with a correlation:
 * log p = -(x^2 - 2 rho x y + y^2) / (2 (1 - rho^2)) - log(2 pi) - log(1 - rho^2) / 2.
 *
 * @param {number} rho - Above -1 and below 1.
 * @returns {Density}
 */
export function correlatedNormal(rho) {
  if (!(Math.abs(rho) < 1)) throw new RangeError(`rho must be above -1 and below 1, got ${rho}`);
  const rest = 1 - rho ** 2;
  return {
    dimension: 2,
    names: ["x[0]", "x[1]"],
    logDensity(q, gradient) {
      const x = q[0];
      const y = q[1];
      gradient[0] = (rho * y - x) / rest;
      gradient[1] = (rho * x - y) / rest;
      return 0.5 * (x * gradient[0] + y * gradient[1] - Math.log(rest)) - LOG_TWO_PI;
    },
    constrain: (q) => ({ x: q.slice() }),
  };
}

/**
 * Neal's funnel: v ~ Normal(0, 3) and x_i ~ Normal(0, exp(v / 2)), both by their standard
 * deviation. From Neal (2003), "Slice sampling", Annals of Statistics 31(3), section 8.
 * The x are effects with mean 0 and log scale v / 2, so d/dv is half of their d/ds.
 *
 * @param {number} dimensions - Number of x; Neal has nine.
 * @param {number} centeredness - Of x, from 0 to 1; Neal's is 1.
 * @returns {Density}
 */
export function neal(dimensions, centeredness) {
  checkCount("dimensions", dimensions);
  const x = new Effects(dimensions, checkCenteredness("centeredness", centeredness), 1);
  const prior = normalPrior("v", { family: "Normal", mean: 0, sd: 3 });
  return {
    dimension: 1 + dimensions,
    names: ["v", ...x.names("x")],
    logDensity(q, gradient) {
      const v = q[0];
      const logPrior = x.fold(q, 0, v / 2, gradient); // no data: the slopes stay 0
      gradient[0] = prior.slope(v) + x.byLogScale / 2;
      return prior.value(v) + logPrior;
    },
    constrain(q) {
      x.unfold(q, 0, q[0] / 2);
      return { v: q[0], x: x.values.slice() };
    },
  };
}

/**
 * Eight schools (Rubin 1981): effect_j ~ Normal(theta_j, se_j), theta_j ~ Normal(mu, tau).
 * dL/dtheta_j = (effect_j - theta_j) / se_j^2.
 *
 * @param {{effect: number[], se: number[]}} data - In points of the test.
 * @param {{mu: object, tau: object}} priors - As JSON; see priors.js.
 * @param {number} centeredness - Of theta, from 0 to 1.
 * @returns {Density}
 */
export function eightSchools(data, priors, centeredness) {
  const { effect, se } = checkColumns(data, ["effect", "se"]);
  const size = effect.length;
  if (!se.every((s) => s > 0)) throw new RangeError("every se must be positive");
  const theta = new Effects(size, checkCenteredness("centeredness", centeredness), 2);
  const priorMu = normalPrior("mu", priors?.mu);
  const priorTau = scalePrior("tau", priors?.tau);
  const constant = -se.reduce((sum, s) => sum + Math.log(s) + LOG_TWO_PI / 2, 0);
  return {
    dimension: 2 + size,
    names: ["mu", "log_tau", ...theta.names("theta")],
    logDensity(q, gradient) {
      const mu = q[0];
      const logTau = q[1];
      theta.unfold(q, mu, logTau);
      let squares = 0;
      for (let j = 0; j < size; j++) {
        const residual = (effect[j] - theta.values[j]) / se[j];
        squares += residual * residual;
        theta.slopes[j] = residual / se[j];
      }
      const logPrior = theta.fold(q, mu, logTau, gradient);
      gradient[0] = priorMu.slope(mu) + theta.byMean;
      gradient[1] = priorTau.slope(logTau) + theta.byLogScale;
      return priorMu.value(mu) + priorTau.value(logTau) + logPrior + constant - 0.5 * squares;
    },
    constrain(q) {
      theta.unfold(q, q[0], q[1]);
      return { mu: q[0], tau: Math.exp(q[1]), theta: theta.values.slice() };
    },
  };
}

/**
 * The radon regression: log_radon ~ Normal(a[county] + b[county] floor, sigma_y) with
 * a ~ Normal(mu_a, sigma_a) and b ~ Normal(mu_b, sigma_b); `funnel.models.varying_slopes`.
 *
 * A floor is 0 or 1, so a county's homes enter through a count n and a mean m for each floor.
 * With r0 = m0 - a and r1 = m1 - a - b, and W the squared deviations of all N homes from the
 * mean of their county and floor, the squared residuals of all homes are
 *
 *     R = W + sum over counties of (n0 r0^2 + n1 r1^2),
 *
 * and with s = log sigma_y
 *
 *     L = -N (s + log(2 pi) / 2) - R exp(-2 s) / 2,    dL/ds = -N + R exp(-2 s),
 *     dL/da = (n0 r0 + n1 r1) exp(-2 s),               dL/db = n1 r1 exp(-2 s).
 *
 * @param {object} data - One entry per home, and the number of counties.
 * @param {number[]} data.county - Index of the county, from 0.
 * @param {number[]} data.floor - 0 for the basement, 1 for the first floor.
 * @param {number[]} data.logRadon - In log pCi/L.
 * @param {number} data.counties
 * @param {object} priors - Of mu_a, sigma_a, mu_b, sigma_b and sigma_y, as JSON; see priors.js.
 * @param {{intercepts: number, slopes: number}} centeredness - Of a and of b, from 0 to 1.
 * @returns {Density} With 5 + 2 counties coordinates.
 */
export function radon(data, priors, { intercepts, slopes }) {
  const { homes, counties, n0, n1, m0, m1, within } = sufficient(data);
  const a = new Effects(counties, checkCenteredness("intercepts", intercepts), 5);
  const b = new Effects(counties, checkCenteredness("slopes", slopes), 5 + counties);
  const priorMuA = normalPrior("mu_a", priors?.mu_a);
  const priorSigmaA = scalePrior("sigma_a", priors?.sigma_a);
  const priorMuB = normalPrior("mu_b", priors?.mu_b);
  const priorSigmaB = scalePrior("sigma_b", priors?.sigma_b);
  const priorSigmaY = scalePrior("sigma_y", priors?.sigma_y);

  function unfold(q) {
    a.unfold(q, q[0], q[1]);
    b.unfold(q, q[2], q[3]);
  }

  return {
    dimension: 5 + 2 * counties,
    names: [
      ...["mu_a", "log_sigma_a", "mu_b", "log_sigma_b", "log_sigma_y"],
      ...[...a.names("a"), ...b.names("b")],
    ],
    logDensity(q, gradient) {
      const muA = q[0];
      const logSigmaA = q[1];
      const muB = q[2];
      const logSigmaB = q[3];
      const logSigmaY = q[4];
      unfold(q);
      const precision = Math.exp(-2 * logSigmaY);
      let squares = within;
      for (let j = 0; j < counties; j++) {
        const r0 = m0[j] - a.values[j];
        const r1 = m1[j] - a.values[j] - b.values[j];
        squares += n0[j] * r0 * r0 + n1[j] * r1 * r1;
        b.slopes[j] = precision * n1[j] * r1;
        a.slopes[j] = precision * n0[j] * r0 + b.slopes[j];
      }
      const logPriorA = a.fold(q, muA, logSigmaA, gradient);
      const logPriorB = b.fold(q, muB, logSigmaB, gradient);
      gradient[0] = priorMuA.slope(muA) + a.byMean;
      gradient[1] = priorSigmaA.slope(logSigmaA) + a.byLogScale;
      gradient[2] = priorMuB.slope(muB) + b.byMean;
      gradient[3] = priorSigmaB.slope(logSigmaB) + b.byLogScale;
      gradient[4] = priorSigmaY.slope(logSigmaY) + precision * squares - homes;
      const top =
        priorMuA.value(muA) +
        priorSigmaA.value(logSigmaA) +
        priorMuB.value(muB) +
        priorSigmaB.value(logSigmaB) +
        priorSigmaY.value(logSigmaY);
      const logLikelihood = -homes * (logSigmaY + LOG_TWO_PI / 2) - 0.5 * precision * squares;
      return top + logPriorA + logPriorB + logLikelihood;
    },
    constrain(q) {
      unfold(q);
      return {
        mu_a: q[0],
        sigma_a: Math.exp(q[1]),
        mu_b: q[2],
        sigma_b: Math.exp(q[3]),
        sigma_y: Math.exp(q[4]),
        a: a.values.slice(),
        b: b.values.slice(),
      };
    },
  };
}

/** Reduce homes to a count and a mean for each county and floor, and what is left within. */
function sufficient(data) {
  const { county, floor, logRadon } = checkColumns(data, ["county", "floor", "logRadon"]);
  const { counties } = data;
  const homes = logRadon.length;
  checkCount("counties", counties);
  const counts = [new Float64Array(counties), new Float64Array(counties)];
  const means = [new Float64Array(counties), new Float64Array(counties)];
  for (let i = 0; i < homes; i++) {
    if (!Number.isInteger(county[i]) || county[i] < 0 || county[i] >= counties) {
      throw new RangeError(`county of home ${i} must be from 0 to ${counties - 1}: ${county[i]}`);
    }
    if (floor[i] !== 0 && floor[i] !== 1) {
      throw new RangeError(`floor of home ${i} must be 0 or 1, got ${floor[i]}`);
    }
    counts[floor[i]][county[i]] += 1;
    means[floor[i]][county[i]] += logRadon[i];
  }
  means.forEach((mean, k) => mean.forEach((sum, j) => (mean[j] = sum / (counts[k][j] || 1))));
  let within = 0;
  for (let i = 0; i < homes; i++) within += (logRadon[i] - means[floor[i]][county[i]]) ** 2;
  const [n0, n1] = counts;
  const [m0, m1] = means;
  return { homes, counties, n0, n1, m0, m1, within };
}

/** Refuse a table whose columns are not lists of finite numbers of one length. */
function checkColumns(data, names) {
  for (const name of names) {
    const column = data?.[name];
    if (!Array.isArray(column) || column.length === 0) {
      throw new RangeError(`data.${name} must be a list of numbers, got ${column}`);
    }
    const wrong = column.findIndex((value) => !Number.isFinite(value));
    if (wrong >= 0) {
      throw new RangeError(`data.${name}[${wrong}] must be a finite number, got ${column[wrong]}`);
    }
    if (column.length !== data[names[0]].length) {
      throw new RangeError(`data.${names[0]} and data.${name} must be of one length`);
    }
  }
  return data;
}

function checkCenteredness(name, value) {
  if (!(Number.isFinite(value) && value >= 0 && value <= 1)) {
    throw new RangeError(`${name} must be a centeredness between 0 and 1, got ${value}`);
  }
  return value;
}

function checkCount(name, value) {
  if (!Number.isInteger(value) || value < 1) {
    throw new RangeError(`${name} must be a positive whole number, got ${value}`);
  }
}
