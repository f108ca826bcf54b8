// The normal distribution.

/** 1 - Phi(z) within 1.5e-7 (Abramowitz and Stegun 1964, equation 7.1.26, for erf). */
export function normalAbove(z) {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const series = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
  const tail = 0.5 * series.reduce((sum, a) => (sum + a) * t, 0) * Math.exp(-x * x);
  return z >= 0 ? tail : 1 - tail;
}
