// Choose a prior of the scale between slopes, and see its posterior, and the first floors that
// it imagines before any data, follow at once. Two families are compared at one median.

import { bisectRight } from "d3-array";
import { scaleLinear, scaleLog } from "d3-scale";

import { scalePrior } from "./engine/priors.js";
import { curve, drawX, drawY, group, handle, hill, panel, rule } from "./shared/chart.js";
import { exhibit, plain } from "./shared/frame.js";

/** The one number of a family that gives it a median. All four are families of sizes. */
export function parameterOf({ at_median_one: one, power }, median) {
  return one * median ** power;
}

/** The log prior density of s = log sigma_b, and its slope. */
function priorOf(data, family, median) {
  const { parameter } = data.families[family];
  const number = parameterOf(data.families[family], median);
  return scalePrior("sigma_b", { family, [parameter]: number });
}

/**
 * The posterior of sigma_b by Bayes' rule, prior times likelihood, on a lattice of log sigma_b.
 *
 * Integrals are trapezoids. Beyond the lattice both prior and likelihood are powers of sigma, or
 * less: below it the likelihood is flat; above it, it falls as sigma^-K, with K counties that
 * inform sigma_b (`finite_moments` in `funnel.exact`). A power is integrated by its exponent.
 *
 * @returns {{scale: number[], density: number[], below: number[], mean: number, cdf: Function}}
 *   the density is per unit of log sigma_b; `cdf` takes a sigma_b within the lattice
 */
export function posteriorOf(data, family, median) {
  const { ends: [low, high], log_likelihood: logLikelihood, informing } = data;
  const prior = priorOf(data, family, median);
  const last = logLikelihood.length - 1;
  const step = Math.log(high / low) / last;
  const logs = logLikelihood.map((_, i) => Math.log(low) + i * step);
  const scale = logs.map(Math.exp);
  const product = logs.map((s, i) => Math.exp(prior.value(s) + logLikelihood[i]));

  const rise = prior.slope(logs[0]); // exponents of the two ends
  const fall = informing - prior.slope(logs[last]);
  const sums = [product[0] / rise];
  let moment = (product[0] * scale[0]) / (rise + 1);
  for (let i = 1; i <= last; i += 1) {
    sums.push(sums[i - 1] + (step * (product[i - 1] + product[i])) / 2);
    moment += (step * (product[i - 1] * scale[i - 1] + product[i] * scale[i])) / 2;
  }
  const total = sums[last] + product[last] / fall;
  moment += (product[last] * scale[last]) / (fall - 1);

  const below = sums.map((sum) => sum / total);
  const cdf = (sigma) => {
    const right = Math.min(last, Math.max(1, bisectRight(scale, sigma)));
    const part = (Math.log(sigma) - logs[right - 1]) / step;
    return below[right - 1] + part * (below[right] - below[right - 1]);
  };
  return { scale, density: product.map((p) => p / total), below, mean: moment / total, cdf };
}

/** 1 - Phi(z) within 1.5e-7 (Abramowitz and Stegun 1964, equation 7.1.26, for erf). */
export function normalAbove(z) {
  const x = Math.abs(z) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * x);
  const series = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
  const tail = 0.5 * series.reduce((sum, a) => (sum + a) * t, 0) * Math.exp(-x * x);
  return z >= 0 ? tail : 1 - tail;
}

/**
 * Log radon of an imagined first floor: normal given the scales, and averaged over those.
 *
 * The nodes of sigma_b are quantiles of its prior, those of Gauss and Legendre on (0, 1).
 *
 * @returns {{density: Function, above: Function}} of log radon
 */
export function imagine(data, family, median) {
  const { mean, variance, weight } = data.rest;
  const parts = data.families[family].quantiles.flatMap((quantile, i) =>
    variance.map((rest, j) => ({
      sd: Math.sqrt((median * quantile) ** 2 + rest),
      share: data.weight[i] * weight[j],
    })),
  );
  const average = (of) => parts.reduce((sum, { sd, share }) => sum + share * of(sd), 0);
  const top = 1 / Math.sqrt(2 * Math.PI);
  return {
    density: (y) => average((sd) => (top / sd) * Math.exp(-0.5 * ((y - mean) / sd) ** 2)),
    above: (y) => average((sd) => normalAbove((y - mean) / sd)),
  };
}

const SHOWN = [0.003, 30]; // scales on the axis
const PLACES = 121; // of a curve of imagined homes

export default exhibit((figure) => {
  const { stage, data, set } = figure;
  const { families, alike, apart, survey } = data;
  const spread = data.shown[1] - data.shown[0];
  const places = Array.from({ length: PLACES }, (_, i) => data.shown[0] + (i * spread) / (PLACES - 1));

  return ({ family, other, median }, width) => {
    const names = family === other ? [family] : [family, other];
    const found = names.map((name) => {
      const prior = priorOf(data, name, median);
      const posterior = posteriorOf(data, name, median);
      const within = (_, i) => posterior.scale[i] >= SHOWN[0] && posterior.scale[i] <= SHOWN[1];
      const shown = posterior.scale.map((s, i) => [s, posterior.density[i]]).filter(within);
      return {
        posterior,
        shown,
        prior: shown.map(([s]) => [s, Math.exp(prior.value(Math.log(s)))]),
        homes: imagine(data, name, median),
      };
    });
    drawScale(found, median, width);
    drawHomes(found, width);
    return words(found, names, median);
  };

  function drawScale(found, median, width) {
    const margin = { top: 84, right: 14, bottom: 46, left: 42 };
    const box = panel(stage, "scale", { width, height: 370, margin }, "Prior, likelihood and posterior of the scale");
    const { left, right, top, bottom } = box.inner;
    const peak = Math.max(...found.flatMap(({ shown, prior }) => [...shown, ...prior]).map((p) => p[1]));
    const x = scaleLog(SHOWN, [left, right]);
    const y = scaleLinear([0, 1.02 * peak], [bottom, top + 14]);
    drawX(box, x, "scale between slopes σ_b, log pCi/L", { values: [0.01, 0.1, 1, 10] });
    drawY(box, y, "density per unit of log", { count: 4 });
    const plot = box.group("plot");
    const { scale } = found[0].posterior;
    const likelihood = scale
      .map((s, i) => [s, peak * Math.exp(data.log_likelihood[i])])
      .filter(([s]) => s >= SHOWN[0] && s <= SHOWN[1]);
    curve(plot, "likelihood", likelihood, x, y).style("stroke", "var(--data)");
    rule(plot, "alike", [x(alike), bottom, x(alike), top + 14]).style("stroke-dasharray", "2 3");
    hill(plot, "posterior", found[0].shown.filter(([s]) => s <= alike), x, y).style("fill-opacity", 0.5);
    for (const [i, kind] of ["first", "second"].entries()) {
      const { prior, shown } = found[i] ?? { prior: [], shown: [] };
      const dashes = i ? "6 4" : null;
      curve(plot, `${kind}-prior`, prior, x, y)
        .style("stroke", "var(--muted)").style("stroke-dasharray", dashes);
      curve(plot, `${kind}-posterior`, shown, x, y).style("stroke-dasharray", dashes);
    }
    const text = figure.text("median", median);
    const { low, high } = figure.control("median");
    handle(box, "median", {
      value: median, low, high, label: figure.label("median"), text, scale: x,
      change: (value) => set({ median: value }),
    });
    key(plot, [
      ["prior", "muted"], ["likelihood (its height is free)", "data"], ["posterior", "exact"],
    ]);
  }

  function drawHomes(found, width) {
    const margin = { top: 66, right: 14, bottom: 46, left: 42 };
    const box = panel(stage, "homes", { width, height: 270, margin }, "First floors imagined before any data");
    const { left, right, top, bottom } = box.inner;
    const curves = found.map(({ homes }) => places.map((place) => [place, homes.density(place)]));
    const peak = Math.max(...survey.heights, ...curves.flat().map((p) => p[1]));
    const x = scaleLinear(data.shown, [left, right]);
    const y = scaleLinear([0, peak], [bottom, top + 8]);
    const tick = new Map(data.ticks.map(([pCi, log]) => [log, pCi]));
    const format = (log) => plain(tick.get(log));
    drawX(box, x, "radon of an imagined first floor, pCi/L", { values: [...tick.keys()], format });
    drawY(box, y, "density per unit of log", { count: 3 });
    const plot = box.group("plot");
    const steps = survey.heights.flatMap((height, i) => [[survey.edges[i], height], [survey.edges[i + 1], height]]);
    hill(plot, "survey", steps, x, y).style("fill", "var(--data)").style("fill-opacity", 0.3);
    for (const [i, kind] of ["first", "second"].entries()) {
      curve(plot, kind, curves[i] ?? [], x, y)
        .style("stroke", "var(--muted)").style("stroke-dasharray", i ? "6 4" : null);
    }
    for (const name of ["nothing", "record"]) {
      const at = x(data[name]);
      rule(plot, name, [at, bottom, at, top]).style("stroke-dasharray", "2 3");
    }
    note(plot, "none", x(data.nothing) - 5, top + 8, "no radon", "end");
    note(plot, "beyond", x(data.record) + 5, top + 8, "record");
    key(plot, [["imagined", "muted"], ["first floors of the survey", "data"]]);
  }

  function words(found, names, median) {
    const name = (i) => {
      const family = families[names[i]];
      return family.pymc.replace("?", plain(parameterOf(family, median)));
    };
    const says = found.map(({ posterior }) => [
      percent(posterior.cdf(alike)), percent(1 - posterior.cdf(apart)), posterior.mean.toFixed(3),
    ]);
    const beyond = found.map(({ homes }) => percent(homes.above(data.record)));
    const [same, much, mean] = says[0];
    const second = says[1] ? `; under ${name(1)}, dashed, they are ${says[1][0]}, ${says[1][1]} and ${says[1][2]}` : "";
    return (
      `Under ${name(0)} the probability that counties are practically alike, σ_b\u00a0<\u00a0${alike}, is ${same}, ` +
      `that they differ much, σ_b\u00a0>\u00a0${apart}, is ${much}, and the mean of σ_b is ${mean}${second}. ` +
      `Of the first floors imagined before any data ${beyond.join(" and ")} are beyond the record.`
    );
  }
});

/** A probability in percent: two digits, but none beyond those that the figure knows. */
function percent(probability) {
  const share = 100 * probability;
  if (share < 0.01) return "less than 0.01%";
  return `${share < 1 ? share.toFixed(2) : share.toFixed(1)}%`;
}

/** A word in the plot. */
function note(plot, name, x, y, text, anchor = "start") {
  plot.selectAll(`text.${name}`).data([text]).join("text").attr("class", name)
    .attr("x", x).attr("y", y).attr("text-anchor", anchor).text(text);
}

/** What the colors stand for, above the plot. */
function key(plot, entries) {
  const box = group(plot, "key");
  box.selectAll("line").data(entries).join("line")
    .attr("x1", 4).attr("x2", 24)
    .attr("y1", (_, i) => 9 + 18 * i).attr("y2", (_, i) => 9 + 18 * i)
    .style("stroke", ([, color]) => `var(--${color})`).style("stroke-width", 3);
  box.selectAll("text").data(entries).join("text")
    .attr("x", 32).attr("y", (_, i) => 13 + 18 * i).text(([word]) => word);
}
