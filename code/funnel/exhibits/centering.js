// Move a group's informativeness and the centeredness of its coordinate, and see the funnel turn
// over. Beside it stands the map of the study: what each choice is worth, and for which counties.

import { bisectRight, range, ticks } from "d3-array";
import { scaleLinear, scaleLog } from "d3-scale";
import { area } from "d3-shape";

import { drawX, drawY, panel, rule } from "./shared/chart.js";
import { atPosition, exhibit, plain } from "./shared/frame.js";
import { normalAbove } from "./shared/normal.js";

const COARSE = range(-12, 3, 0.05); // of log tau
const PLACES = 1200;
const NEGLIGIBLE = -14; // log density, from the highest
const INSIDE = [0.5, 0.9, 0.99]; // probabilities inside the contours
const SHOWN = [0.002, 0.9999]; // what the drawing holds of the probability of tau
const MIDDLE = [0.05, 0.95]; // where the width is compared

/**
 * Log posterior density of log tau, up to a constant, for groups that were each measured one
 * standard deviation from their known mean 0 (Gelman et al. 2013, section 5.4, with the effects
 * integrated out; the prior of tau is a standard half-normal). tau is in units of the scale that
 * the data were made with, and 1/r the variance of a measurement.
 */
export function logScaleDensity(logTau, r, groups) {
  const square = Math.exp(2 * logTau);
  const variance = square + 1 / r;
  return logTau - square / 2 - (groups / 2) * (Math.log(variance) + (1 + 1 / r) / variance);
}

/**
 * Mean and standard deviation of a group's coordinate theta / tau^(1 - lambda), given tau: those of
 * theta are a precision-weighted mean (Gelman et al. 2013, section 5.4).
 */
export function conditional(logTau, r, centeredness) {
  const precision = Math.exp(-2 * logTau) + r;
  const size = Math.exp((1 - centeredness) * logTau);
  return { mean: (r * Math.sqrt(1 + 1 / r)) / precision / size, sd: 1 / Math.sqrt(precision) / size };
}

/** One group on a lattice of log tau where it has any density, with weights that sum to 1. */
export function geometry(r, centeredness, groups) {
  const coarse = COARSE.map((logTau) => logScaleDensity(logTau, r, groups));
  const top = Math.max(...coarse);
  const seen = COARSE.filter((_, i) => coarse[i] > top + NEGLIGIBLE);
  const [low, high] = [seen[0] - 0.05, seen.at(-1) + 0.05];
  const lattice = range(PLACES).map((i) => low + (i * (high - low)) / (PLACES - 1));
  const density = lattice.map((logTau) => Math.exp(logScaleDensity(logTau, r, groups) - top));
  const total = density.reduce((sum, height) => sum + height);
  let below = 0;
  return lattice.map((logTau, i) => {
    const weight = density[i] / total;
    below += weight;
    return { logTau, weight, below, ...conditional(logTau, r, centeredness) };
  });
}

/** How many times as wide as at its narrowest the coordinate is, over the middle 90% of tau. */
export function widthRatio(places) {
  const widths = between(places, MIDDLE).map(({ sd }) => sd);
  return Math.max(...widths) / Math.min(...widths);
}

function between(places, [low, high]) {
  return places.filter(({ below }) => below >= low && below <= high);
}

/** Correlation of the coordinate with log tau. */
export function correlation(places) {
  const average = (of) => places.reduce((sum, place) => sum + place.weight * of(place), 0);
  const [x, y] = [average(({ logTau }) => logTau), average(({ mean }) => mean)];
  const both = average(({ logTau, mean }) => (logTau - x) * (mean - y));
  const across = average(({ mean, sd }) => (mean - y) ** 2 + sd ** 2);
  return both / Math.sqrt(average(({ logTau }) => (logTau - x) ** 2) * across);
}

/**
 * The contour of the joint density that holds a given probability. Given tau the coordinate is
 * normal, so that the contour has its two sides at mean ± k sd.
 *
 * @returns {number[]} k at each place; 0 where the density is lower than on the contour
 */
export function contour(places, inside) {
  const ridge = places.map(({ weight, sd }) => Math.log(weight / sd));
  const reach = (height, level) => Math.sqrt(2 * Math.max(0, height - level));
  const held = (level) => places.reduce(
    (sum, { weight }, i) => sum + weight * (1 - 2 * normalAbove(reach(ridge[i], level))), 0,
  );
  let high = Math.max(...ridge);
  let low = high - 60;
  for (let halving = 0; halving < 30; halving++) {
    const level = (low + high) / 2;
    if (held(level) > inside) low = level;
    else high = level;
  }
  return ridge.map((height) => reach(height, low));
}

/** Where a value stands between those of a rising list. */
function locate(values, value) {
  const right = Math.min(values.length - 1, Math.max(1, bisectRight(values, value)));
  return { right, part: (value - values[right - 1]) / (values[right] - values[right - 1]) };
}

/**
 * Effective draws per 1,000 gradients: those of the study, and between its values their
 * logarithms on straight lines over log r and the centeredness.
 */
export function worth({ informativeness, centeredness }, draws, r, way) {
  const across = locate(informativeness.map(Math.log), Math.log(r));
  const up = locate(centeredness, way);
  const row = (k) => {
    const [left, right] = draws[k].slice(across.right - 1, across.right + 1).map(Math.log);
    return left + across.part * (right - left);
  };
  return Math.exp(row(up.right - 1) + up.part * (row(up.right) - row(up.right - 1)));
}

/** The best centeredness of the study at some informativeness, and what it is worth. */
export function best(axes, draws, r) {
  return axes.centeredness
    .map((way) => ({ way, worth: worth(axes, draws, r, way) }))
    .reduce((one, other) => (other.worth > one.worth ? other : one));
}

/**
 * What has to change for the state to be of one piece: a county that was picked sets r, and an r
 * that was set lets go of the county.
 *
 * @param {object} state
 * @param {object|undefined} last the state before it
 * @param {object} r of each effect and county
 * @param {object} control of the informativeness
 */
export function settle(state, last, r, { low, high }) {
  if (!state.county) return {};
  const own = Math.min(high, Math.max(low, r[state.effect][state.county]));
  if (state.informativeness === own) return {};
  const picked = !last || last.county !== state.county || last.effect !== state.effect;
  return picked ? { informativeness: own } : { county: "" };
}

const ROW = 58; // of the counties
const CIVIDIS = ["#00224e", "#35456c", "#666970", "#948e77", "#c8b866", "#fee838"]; // as in Python
const color = scaleLinear(CIVIDIS.map((_, i) => i / (CIVIDIS.length - 1)), CIVIDIS).clamp(true);

export default exhibit((figure) => {
  const { stage, data, set } = figure;
  let last;
  Object.assign(stage.style, { display: "flex", flexWrap: "wrap", gap: "16px" });

  return (state, width) => {
    const changes = settle(state, last, data.r, figure.control("informativeness"));
    last = { ...state, ...changes };
    if (Object.keys(changes).length) {
      set(changes);
      return "";
    }
    const { informativeness: r, centeredness: way, groups, quantity } = state;
    const narrow = width < 560;
    const size = { width: narrow ? width : (width - 16) / 2, margin: { top: 50, right: 12, bottom: 46, left: 44 } };
    const places = geometry(r, way, Number(groups));
    drawGroup(panel(stage, "group", { ...size, height: narrow ? 320 : 420 }, "Density of one group"), places, way);
    const map = panel(stage, "map", { ...size, height: 420 }, "Map of when to center");
    const { draws, best: bars } = data.maps[groups][quantity];
    const x = scaleLog(outer(data.informativeness), [map.inner.left, map.inner.right]);
    const floor = map.inner.bottom - 2 * ROW - 4; // of the map
    drawMap(map, { x, floor, draws, bars, r, way });
    drawCounties(map, { x, floor, r, county: state.county, effect: state.effect });
    return words(state, places, draws);
  };

  function drawMap(box, { x, floor, draws, bars, r, way }) {
    const { svg, inner } = box;
    const y = scaleLinear([-1 / 12, 13 / 12], [floor, inner.top]);
    drawY(box, y, "centeredness λ", { values: [0, 0.5, 1] });
    const plot = box.group("plot");
    const columns = edges(data.informativeness.map(Math.log)).map(Math.exp);
    const rows = edges(data.centeredness);
    const cells = data.centeredness.flatMap((_, k) => data.informativeness.map((_, i) => {
      const most = Math.max(...draws.map((row) => row[i]));
      return { k, i, share: draws[k][i] / most };
    }));
    plot.selectAll("rect.cell").data(cells).join("rect").attr("class", "cell")
      .attr("x", ({ i }) => x(columns[i])).attr("width", ({ i }) => x(columns[i + 1]) - x(columns[i]) + 0.5)
      .attr("y", ({ k }) => y(rows[k + 1])).attr("height", ({ k }) => y(rows[k]) - y(rows[k + 1]) + 0.5)
      .style("fill", ({ share }) => color(share));
    plot.selectAll("line.best").data(data.informativeness).join("line").attr("class", "best")
      .attr("x1", x).attr("x2", x)
      .attr("y1", (_, i) => y(bars[0][i] - 0.03)).attr("y2", (_, i) => y(bars[1][i] + 0.03))
      .style("stroke", "#ffffff").style("stroke-width", 4);
    rule(plot, "reader", [x(r), floor, x(r), inner.bottom])
      .style("stroke", "var(--ink)").style("stroke-dasharray", "3 3");
    // A ring that is seen on the bright cells and on the dark ones.
    for (const [name, stroke, thickness] of [["edge", "#000000", 6], ["ring", "#ffffff", 2.5]]) {
      plot.selectAll(`circle.${name}`).data([0]).join("circle").attr("class", name)
        .attr("cx", x(r)).attr("cy", y(way)).attr("r", 8)
        .style("fill", "none").style("stroke", stroke).style("stroke-width", thickness);
    }
    key(svg);
    const ways = figure.control("centeredness");
    const { low, high } = figure.control("informativeness");
    const to = (event) => {
      const frame = svg.node().getBoundingClientRect();
      const scale = svg.attr("width") / frame.width;
      const found = x.invert((event.clientX - frame.left) * scale);
      set({
        informativeness: Math.min(high, Math.max(low, Number(found.toPrecision(3)))),
        centeredness: atPosition(ways, y.invert((event.clientY - frame.top) * scale)),
      });
    };
    plot.selectAll("rect.grip").data([0]).join("rect").attr("class", "grip")
      .attr("x", inner.left).attr("width", inner.right - inner.left)
      .attr("y", inner.top).attr("height", floor - inner.top)
      .style("fill", "transparent").style("cursor", "crosshair").style("touch-action", "none")
      .on("pointerdown", function (event) {
        event.preventDefault();
        this.setPointerCapture(event.pointerId);
        to(event);
      })
      .on("pointermove", function (event) {
        if (this.hasPointerCapture(event.pointerId)) to(event);
      });
  }

  function drawCounties(box, { x, floor, r, county, effect }) {
    const { inner } = box;
    drawX(box, x, "informativeness r", { values: [0.1, 1, 10, 100] });
    const bottoms = { intercepts: floor + 4 + ROW, slopes: floor + 4 + 2 * ROW };
    const dots = Object.entries(data.r).flatMap(([kind, values]) =>
      stacked(values, x, inner.left).map((dot) => ({ ...dot, kind, cy: bottoms[kind] - 5 - dot.up })));
    const picked = (dot) => dot.kind === effect && dot.name === county;
    const plot = box.group("counties");
    plot.selectAll("circle").data(dots, ({ kind, name }) => kind + name).join("circle")
      .attr("cx", ({ cx }) => cx).attr("cy", ({ cy }) => cy)
      .attr("r", (dot) => (picked(dot) ? 6 : 2.3))
      .style("fill", (dot) => (picked(dot) ? "var(--ink)" : "var(--data)"))
      .style("cursor", "pointer")
      .on("click", (_, { kind, name }) => set({ effect: kind, county: name }))
      .selectAll("title").data((dot) => [dot.name]).join("title").text((name) => name);
    plot.selectAll("circle").filter(picked).raise();
    plot.selectAll("text.kind").data(Object.entries(bottoms)).join("text").attr("class", "kind")
      .attr("x", inner.right).attr("y", ([, bottom]) => bottom - 28).attr("text-anchor", "end")
      .style("paint-order", "stroke").style("stroke", "var(--paper)").style("stroke-width", 5)
      .text(([kind]) => kind);
    rule(plot, "between", [4, bottoms.intercepts, inner.right, bottoms.intercepts])
      .style("stroke", "var(--faint)").style("stroke-width", 1);
    rule(plot, "zero", [4, inner.bottom, inner.left - 8, inner.bottom]).style("stroke", "var(--soft)");
    plot.selectAll("text.zero").data([0]).join("text").attr("class", "zero")
      .attr("x", inner.left / 2 - 2).attr("y", inner.bottom + 18).attr("text-anchor", "middle").text("r = 0");
  }

  function words({ informativeness: r, centeredness: way, groups, quantity, county, effect }, places, draws) {
    const top = best(data, draws, r);
    const kind = figure.text("effect", effect);
    const own = county ? data.r[effect][county] : r;
    const ratio = widthRatio(places);
    const about = !county ? "" : own === r
      ? ` That is the ${kind} of ${county}.`
      : ` The ${kind} of ${county} has r = ${plain(own)}, beyond this end of the map.`;
    return (
      `At r = ${plain(r)} and centeredness ${plain(way)}, with ${groups} groups, 1,000 gradients are worth ` +
      `${short(worth(data, draws, r, way))} draws for ${figure.text("quantity", quantity)}; the best here, ` +
      `${short(top.worth)}, is at ${plain(Number(top.way.toFixed(2)))}.${about} ` +
      `Over the middle 90% of τ the width of the coordinate changes by a factor of ${ratio < 10 ? ratio.toFixed(1) : short(ratio)}; ` +
      `its correlation with log τ is ${correlation(places).toFixed(2).replace("-", "−")}.`
    );
  }
});

/** Two digits: the study knows no more. */
function short(value) {
  return plain(Number(value.toPrecision(2)));
}

/** The density of log tau and the coordinate, by its contours. */
function drawGroup(box, places, way) {
  const { inner } = box;
  const shown = between(places, SHOWN);
  const x = scaleLinear([
    Math.min(...shown.map(({ mean, sd }) => mean - 3 * sd)),
    Math.max(...shown.map(({ mean, sd }) => mean + 3 * sd)),
  ], [inner.left, inner.right]);
  const ends = [shown[0], shown.at(-1)].map(({ logTau }) => Math.exp(logTau));
  const y = scaleLog(ends, [inner.bottom, inner.top]);
  drawX(box, x, `coordinate z, ${meaning(way)}`, { count: 5 });
  drawY(box, y, "scale τ, in units of the true one", { values: scaleTicks(y) });
  const fill = `color-mix(in srgb, var(--centered) ${100 * way}%, var(--noncentered))`;
  const first = places.indexOf(shown[0]);
  const paths = INSIDE.map((inside) => {
    const k = contour(places, inside).slice(first, first + shown.length);
    return area()
      .defined((_, i) => k[i] > 0 || k[i - 1] > 0 || k[i + 1] > 0)
      .y(({ logTau }) => y(Math.exp(logTau)))
      .x0(({ mean, sd }, i) => x(mean - k[i] * sd))
      .x1(({ mean, sd }, i) => x(mean + k[i] * sd))(shown);
  });
  const plot = box.group("plot");
  plot.selectAll("path").data(paths).join("path").attr("d", (path) => path)
    .style("fill", fill).style("fill-opacity", 0.3);
  plot.selectAll("text").data(["density of one group: inside 50, 90, 99%"]).join("text")
    .attr("x", 4).attr("y", 13).text((word) => word);
}

/** The coordinate in terms of the effect. */
function meaning(way) {
  if (way === 1) return "the effect θ";
  return way === 0 ? "θ / τ" : `θ / τ^${plain(1 - way)}`;
}

/** Ticks of a log axis that may be short. */
function scaleTicks(scale) {
  const [low, high] = scale.domain();
  const wide = [0.001, 0.01, 0.03, 0.1, 0.3, 1, 3].filter((tau) => tau > low && tau < high);
  return wide.length > 2 ? wide : ticks(low, high, 4);
}

/** Middles between values, and as far again beyond the outer ones. */
function edges(values) {
  const middles = values.slice(1).map((value, i) => (values[i] + value) / 2);
  return [2 * values[0] - middles[0], ...middles, 2 * values.at(-1) - middles.at(-1)];
}

/** Ends of the axis of the map. */
function outer(informativeness) {
  const all = edges(informativeness.map(Math.log)).map(Math.exp);
  return [all[0], all.at(-1)];
}

/** Dots for counties, piled up where they would hide each other; those with r = 0 left of the axis. */
function stacked(r, x, left) {
  const piles = new Map();
  const dots = Object.entries(r).map(([name, value]) => {
    const step = value > 0 ? Math.round(x(value) / 5) : 0;
    const rank = piles.get(step) ?? 0;
    piles.set(step, rank + 1);
    // Five abreast where they have no place on the axis.
    if (value === 0) return { name, cx: left / 2 - 12 + 5 * (rank % 5), rank: Math.floor(rank / 5) };
    return { name, cx: 5 * step, rank };
  });
  const apart = Math.min(4.7, (ROW - 12) / Math.max(...dots.map(({ rank }) => rank)));
  return dots.map((dot) => ({ ...dot, up: apart * dot.rank }));
}

/** What the colors of the map stand for. */
function key(svg) {
  const box = svg.selectAll("g.key").data([0]).join("g").attr("class", "key");
  box.selectAll("rect").data(CIVIDIS).join("rect")
    .attr("x", (_, i) => 17 + 12 * i).attr("y", 3).attr("width", 12).attr("height", 12)
    .style("fill", (shade) => shade);
  box.selectAll("text").data([[4, "0"], [95, "100% of the best at its r"]]).join("text")
    .attr("x", ([x]) => x).attr("y", 13).text(([, word]) => word);
}
