/**
 * Has it converged, and how much is it worth? Rank-normalized split R-hat, effective sample
 * sizes and the Monte Carlo error of a mean: Vehtari, Gelman, Simpson, Carpenter and Bürkner
 * (2021), "Rank-normalization, folding, and localization: an improved R-hat for assessing
 * convergence of MCMC", Bayesian Analysis 16(2). The numbers are ArviZ's.
 *
 * What cannot be said is NaN: with fewer than four draws a chain, with a draw that is not
 * finite, or, for R-hat, with a single chain.
 */

const MIN_DRAWS = 4;
const TAIL = 0.05; // the tail is below the 5% quantile, or above the 95% quantile

/**
 * @typedef {object} Diagnostics
 * @property {number} rhat - Rank-normalized split R-hat: the larger of that of the draws and that
 *   of their distances from the median (section 4 of the paper). About 1 if the chains agree.
 * @property {number} essBulk - How many independent draws would know the middle of the
 *   distribution as well.
 * @property {number} essTail - How many would know its tails as well: the smaller of two, for the
 *   5% and for the 95% quantile.
 * @property {number} mcseMean - Standard error of the mean, in the unit of the draws.
 */

/**
 * Diagnose the chains of one quantity.
 *
 * @param {ArrayLike<number>[]} chains - The draws of each.
 * @returns {Diagnostics}
 */
export function diagnose(chains) {
  if (!isValid(chains)) return { rhat: NaN, essBulk: NaN, essTail: NaN, mcseMean: NaN };
  const pooled = split(chains);
  const scores = normalScores(pooled);
  return {
    rhat: chains.length < 2 ? NaN : Math.max(plainRhat(scores), foldedRhat(pooled)),
    essBulk: ess(scores),
    essTail: Math.min(quantileEss(pooled, TAIL), quantileEss(pooled, 1 - TAIL)),
    mcseMean: Math.sqrt(variance(pooled.all) / ess(pooled)),
  };
}

/**
 * Chains cut in halves.
 *
 * @typedef {object} Pooled
 * @property {Float64Array} values - The halves, one after the other.
 * @property {Float64Array} sorted - The same draws, sorted.
 * @property {Float64Array} all - Sorted, with the middle draws that an odd number leaves over.
 * @property {number} chains - How many halves there are.
 * @property {number} draws - In each.
 */

/** Cut each chain in two halves. */
function split(chains) {
  const draws = Math.floor(chains[0].length / 2);
  const halves = chains.flatMap((chain) => [chain.slice(0, draws), chain.slice(-draws)]);
  const values = flat(halves);
  const sorted = values.slice().sort();
  const all = chains[0].length % 2 ? flat(chains).sort() : sorted;
  return { values, sorted, all, chains: halves.length, draws };
}

/** All draws in one array, chain by chain. */
function flat(chains) {
  const draws = chains[0].length;
  const values = new Float64Array(chains.length * draws);
  chains.forEach((chain, c) => values.set(chain, c * draws));
  return values;
}

/**
 * Replace draws by the normal quantiles of their ranks, (r - 3/8) / (S + 1/4) (equation 14);
 * equal draws share the mean of their ranks.
 */
function normalScores(pooled) {
  const { values, sorted } = pooled;
  const scores = values.map((value) => {
    const below = bound(sorted, value, false);
    const isAlone = sorted[below + 1] !== value;
    const rank = isAlone ? below + 1 : (below + bound(sorted, value, true) + 1) / 2;
    return normalQuantile((rank - 3 / 8) / (values.length + 1 / 4));
  });
  return { ...pooled, values: scores };
}

/** R-hat of the distances from the median, by their ranks. */
function foldedRhat(pooled) {
  const { sorted: draws } = pooled; // an even number of them
  const median = (draws[draws.length / 2 - 1] + draws[draws.length / 2]) / 2;
  const distances = pooled.values.map((value) => Math.abs(value - median));
  const sorted = distances.slice().sort();
  return plainRhat(normalScores({ ...pooled, values: distances, sorted }));
}

/** R-hat of split chains (equations 1 to 4). */
function plainRhat({ values, chains, draws }) {
  let within = 0;
  const means = [];
  for (let c = 0; c < chains; c++) {
    const chain = values.subarray(c * draws, (c + 1) * draws);
    means.push(mean(chain));
    within += variance(chain) / chains;
  }
  const between = draws * variance(means);
  return Math.sqrt((between / within + draws - 1) / draws);
}

/** Effective sample size of a quantile: of whether a draw is at most as large. */
function quantileEss(pooled, p) {
  const limit = quantile(pooled.all, p);
  return ess({ ...pooled, values: pooled.values.map((value) => (value <= limit ? 1 : 0)) });
}

/**
 * Effective sample size of split chains (equations 10 to 13).
 *
 * Autocorrelations rho_t of neighboring lags are added in pairs, P_k = rho_2k + rho_(2k+1),
 * until a pair is negative, and no pair may exceed the one before (Geyer 1992, "Practical
 * Markov chain Monte Carlo", Statistical Science 7(4)).
 */
function ess(pooled) {
  const { values, chains, draws } = pooled;
  const total = chains * draws;
  if (values.every((value) => value === values[0])) return total;
  const covariance = meanAutocovariance(pooled);
  const within = (covariance[0] * draws) / (draws - 1);
  const means = Array.from({ length: chains }, (_, c) =>
    mean(values.subarray(c * draws, (c + 1) * draws)),
  );
  const spread = covariance[0] + variance(means);
  const rho = (lag) => (lag === 0 ? 1 : 1 - (within - covariance[lag]) / spread);

  const pair = (k) => rho(2 * k) + rho(2 * k + 1);

  const last = Math.floor((draws - 3) / 2);
  let sum = 0;
  let limit = Infinity;
  let k = 0;
  for (; k < last && pair(k) >= 0; k++) {
    limit = Math.min(limit, pair(k));
    sum += limit;
  }
  // Of the pair that ends the sum the first lag counts, once.
  const rest = pair(k) < 0 ? Math.max(rho(2 * k), 0) : rho(2 * k);
  const time = -1 + 2 * sum + rest;
  return total / Math.max(time, 1 / Math.log10(total));
}

/**
 * Autocovariance at every lag, divided by the number of draws, averaged over chains. A sum of
 * lagged products is the Fourier transform of the squared spectrum (Wiener and Khinchin), and
 * spectra can be averaged before going back.
 */
function meanAutocovariance({ values, chains, draws }) {
  const size = 2 ** Math.ceil(Math.log2(2 * draws));
  const power = new Float64Array(size);
  const real = new Float64Array(size);
  const imaginary = new Float64Array(size);
  const angle = new Float64Array(size / 2).map((_, k) => (-2 * Math.PI * k) / size);
  const cosine = angle.map(Math.cos);
  const sine = angle.map(Math.sin);
  // Two chains at a time, one as the real and one as the imaginary part: their number is even.
  for (let c = 0; c < chains; c += 2) {
    [real, imaginary].forEach((part, i) => {
      const chain = values.subarray((c + i) * draws, (c + i + 1) * draws);
      const center = mean(chain);
      part.fill(0);
      for (let t = 0; t < draws; t++) part[t] = chain[t] - center;
    });
    fourier(real, imaginary, cosine, sine);
    for (let t = 0; t < size; t++) power[t] += real[t] ** 2 + imaginary[t] ** 2;
  }
  // The spectrum of a real series is symmetric, which sorts out the two parts.
  for (let t = 0; t < size; t++) real[t] = (power[t] + power[(size - t) % size]) / 2;
  imaginary.fill(0);
  fourier(real, imaginary, cosine, sine);
  return real.subarray(0, draws).map((sum) => sum / (size * draws * chains));
}

/**
 * Fourier transform in place, of a power of 2 of numbers (Cooley and Tukey 1965), given half a
 * turn of cosines and of sines.
 */
function fourier(real, imaginary, cosine, sine) {
  const size = real.length;
  for (let i = 0, j = 0; i < size; i++) {
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
  }
  for (let half = 1; half < size; half *= 2) {
    for (let k = 0; k < half; k++) {
      const c = cosine[(k * size) / (2 * half)];
      const s = sine[(k * size) / (2 * half)];
      for (let i = k; i < size; i += 2 * half) {
        const j = i + half;
        const x = real[j] * c - imaginary[j] * s;
        const y = real[j] * s + imaginary[j] * c;
        real[j] = real[i] - x;
        imaginary[j] = imaginary[i] - y;
        real[i] += x;
        imaginary[i] += y;
      }
    }
  }
}

function isValid(chains) {
  const draws = chains[0]?.length;
  if (chains.some((chain) => chain.length !== draws)) {
    throw new RangeError("chains must be of one length");
  }
  const isFinite = (chain) => chain.every((value) => value - value === 0);
  return draws >= MIN_DRAWS && chains.every(isFinite);
}

function mean(values) {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i];
  return sum / values.length;
}

/** Sum of squared deviations over one less than the number of values. */
function variance(values) {
  const center = mean(values);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] - center) ** 2;
  return sum / (values.length - 1);
}

/** Quantile of sorted values, linear between neighbors: NumPy's. */
function quantile(sorted, p) {
  const place = p * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

/** How many of the sorted values are below `value`, or at most it if `orEqual`. */
function bound(sorted, value, orEqual) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value || (orEqual && sorted[middle] === value)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Quantile of the standard normal: Wichura (1988), "Algorithm AS 241: the percentage points of
 * the normal distribution", Applied Statistics 37(3), to about 16 digits. Without the formula
 * for the far tail: p must be between 1e-10 and 1 - 1e-10, as ranks are.
 */
const CENTER_NUMERATOR = [
  2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
  13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608,
];
const CENTER_DENOMINATOR = [
  5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
  5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1,
];
const TAIL_NUMERATOR = [
  7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177,
  1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959,
  1.42343711074968357734,
];
const TAIL_DENOMINATOR = [
  1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
  0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1,
];

function normalQuantile(p) {
  const q = p - 0.5;
  if (Math.abs(q) <= 0.425) {
    const r = 0.425 ** 2 - q * q;
    return (q * polynomial(CENTER_NUMERATOR, r)) / polynomial(CENTER_DENOMINATOR, r);
  }
  const r = Math.sqrt(-Math.log(Math.min(p, 1 - p))) - 1.6;
  return (Math.sign(q) * polynomial(TAIL_NUMERATOR, r)) / polynomial(TAIL_DENOMINATOR, r);
}

/** Polynomial with the highest power first. */
function polynomial(coefficients, x) {
  let value = coefficients[0];
  for (let k = 1; k < coefficients.length; k++) value = value * x + coefficients[k];
  return value;
}
