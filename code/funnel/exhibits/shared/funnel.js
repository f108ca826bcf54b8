// The shape of a funnel: how an effect is distributed given the scale, and where its mass is.

import { normalAbove } from "./normal.js";

/**
 * Counts and means of homes by county and floor: [basement, first floor].
 *
 * @param {object} homes `county`, `floor` and `logRadon` of each home, and the number of counties
 */
export function tabulate({ county, floor, logRadon, counties }) {
  const empty = () => [new Float64Array(counties), new Float64Array(counties)];
  const [n, m] = [empty(), empty()];
  logRadon.forEach((y, i) => {
    n[floor[i]][county[i]] += 1;
    m[floor[i]][county[i]] += y;
  });
  m.forEach((means, k) => means.forEach((sum, j) => { means[j] = sum / (n[k][j] || 1); }));
  return { n, m };
}

/**
 * Mean and standard deviation of the slope of a county given the three scales, with all else
 * integrated out: `_weights`, `_integrate_gaussians` and `_effect_moments` of `funnel.exact`,
 * where they are derived.
 *
 * @returns {{mean: number, sd: number}} in log pCi/L
 */
export function slopeGiven({ n, m }, priors, index, { sigmaA, sigmaB, sigmaY }) {
  const [va, vb, vy] = [sigmaA ** 2, sigmaB ** 2, sigmaY ** 2];
  const weigh = (j) => {
    const [n0, n1] = [n[0][j], n[1][j]];
    const det = vy * (vy + n0 * va + n1 * (va + vb)) + n0 * n1 * va * vb;
    return { p: (n1 * vy) / det, g: (n0 * (vy + n1 * vb)) / det, h: (n0 * n1 * va) / det, det };
  };
  const [ka, kb] = [priors.mu_a.sd ** -2, priors.mu_b.sd ** -2];
  let [P, G, H] = [0, ka, kb];
  let [rightA, rightB] = [ka * priors.mu_a.mean, kb * priors.mu_b.mean];
  for (let j = 0; j < n[0].length; j++) {
    const { p, g, h } = weigh(j);
    P += p;
    G += g;
    H += h;
    rightA += g * m[0][j] + p * m[1][j];
    rightB += h * (m[1][j] - m[0][j]) + p * m[1][j];
  }
  const total = P * G + P * H + G * H;
  const [aa, ab, bb] = [(P + H) / total, -P / total, (P + G) / total];
  const [muA, muB] = [aa * rightA + ab * rightB, ab * rightA + bb * rightB];
  const { p, h, det } = weigh(index);
  const [m0, m1] = [m[0][index], m[1][index]];
  const byA = -vb * p; // d b / d mu_a
  const byB = (vy * (vy + (n[0][index] + n[1][index]) * va)) / det; // d b / d mu_b
  const variance = vb * byB + byA ** 2 * aa + 2 * byA * byB * ab + byB ** 2 * bb;
  return { mean: muB + vb * (h * (m1 - m0 - muB) + p * (m1 - muA - muB)), sd: Math.sqrt(variance) };
}

/**
 * Contour of the density of (effect, log scale) that holds a share of the mass.
 *
 * @param {{density: number, mean: number, sd: number}[]} places equal steps of the log scale: its
 *   density there, and the normal distribution of the effect
 * @param {number} inside the share
 * @returns {number[]} the distance of the contour from the mean, in standard deviations; 0 where
 *   the density is lower than on it
 */
export function contour(places, inside) {
  const ridge = places.map(({ density, sd }) => Math.log(density) - Math.log(sd));
  const total = places.reduce((sum, { density }) => sum + density, 0);
  const reach = (level) => ridge.map((top) => Math.sqrt(2 * Math.max(top - level, 0)));
  let [high, low] = [Math.max(...ridge), Math.max(...ridge) - 60];
  for (let halving = 0; halving < 40; halving++) {
    const level = (low + high) / 2;
    const mass = reach(level).reduce((sum, k, i) => sum + places[i].density * (1 - 2 * normalAbove(k)), 0);
    if (mass > inside * total) low = level;
    else high = level;
  }
  return reach(low);
}
