// One run from four sides: a stretch of a chain in its trace, in the funnel, among the ranks of all
// draws and among the energies. One draw is marked in every view.

import { extent, median, range } from "d3-array";
import { scaleLinear, scaleLog } from "d3-scale";
import { pointer, select } from "d3-selection";

import { curve, drawX, drawY, group, handle, panel, rule } from "./shared/chart.js";
import { exhibit, plain } from "./shared/frame.js";

const LOW = 0.1;

/** Draws of one effect, a list for each chain, out of the bytes of all: chain, draw, effect. */
export function effectOf({ effects, names, effect_range: [low, high], scale }, name) {
  const bytes = Uint8Array.from(atob(effects), (sign) => sign.charCodeAt(0));
  const [width, shown] = [names.length, scale[0].length];
  const place = names.indexOf(name);
  return scale.map((chain, c) =>
    chain.map((_, i) => low + ((high - low) * bytes[(c * shown + i) * width + place]) / 255),
  );
}

/** Where the stretch begins and ends, as places among the draws that are shown. */
export function stretch({ first, last }, shown) {
  const from = Math.min(Math.round((first / 100) * shown), shown - 1);
  return [from, Math.max(from + 1, Math.round((last / 100) * shown))];
}

/** What the stretch is like; see `Draws.report` in Python. */
export function report({ rank, scale, energy, diverging }, chain, [from, to]) {
  const ranks = rank[chain].slice(from, to);
  const all = energy.flat();
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const center = mean(all);
  const sd = Math.sqrt(mean(all.map((value) => (value - center) ** 2)));
  return {
    low: (100 * ranks.filter((r) => r <= LOW).length) / ranks.length,
    median: median(scale[chain].slice(from, to)),
    energy: (mean(energy[chain].slice(from, to)) - center) / sd,
    divergences: diverging[chain].filter((i) => i >= from && i < to).length,
  };
}

/** Heights of bars, of which the even one is 1. */
function relative(counts) {
  const total = counts.reduce((sum, n) => sum + n, 0);
  return counts.map((n) => (n * counts.length) / total);
}

/** How many values lie between edges that are equally far from each other. */
function count(values, edges) {
  const counts = new Array(edges.length - 1).fill(0);
  const width = edges[1] - edges[0];
  for (const value of values) {
    counts[Math.min(counts.length - 1, Math.max(0, Math.floor((value - edges[0]) / width)))] += 1;
  }
  return counts;
}

/** Marks of a log axis: 1, 2 and 5 of every power of ten. */
function marks([low, high]) {
  const powers = range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)));
  const all = powers.flatMap((power) => [1, 2, 5].map((n) => Number(`${n}e${power}`)));
  return all.filter((value) => value >= low && value <= high);
}

/** The outline of bars. */
function steps(heights, edges) {
  const points = heights.flatMap((height, i) => [[edges[i], height], [edges[i + 1], height]]);
  return [[edges[0], 0], ...points, [edges.at(-1), 0]];
}

export default exhibit((figure) => {
  const { stage, data, set } = figure;
  const { scale, energy, rank, diverging, names, scale_name: scaleName, effect_name: effectName } = data;
  const shown = scale[0].length;
  const limits = extent(scale.flat());
  const flex = select(stage).append("div").style("display", "flex").style("flex-wrap", "wrap");
  const trace = flex.append("div").style("flex", "1 1 100%").node();
  const places = ["pair", "ranks", "energies"].map(() => flex.append("div").node());
  let known = null;

  /** Draws of the chosen effect, decoded once. */
  function effects(name) {
    if (known?.name !== name) known = { name, values: effectOf(data, name) };
    return known.values;
  }

  function drawTrace({ chain, part, at, state }, width) {
    const margin = { top: 42, right: 16, bottom: 46, left: 48 };
    const frame = panel(trace, "trace", { width, height: 220, margin }, "Trace of every chain");
    const { inner } = frame;
    const x = scaleLinear([0, 100], [inner.left, inner.right]);
    const y = scaleLog(limits, [inner.bottom - 4, inner.top + 4]);
    drawX(frame, x, "percent of the chain");
    drawY(frame, y, scaleName, { values: marks(limits) });
    const plot = frame.group("plot");
    const points = (c, from, to) =>
      scale[c].slice(from, to).map((value, i) => [(100 * (from + i)) / shown, value]);
    scale.forEach((_, c) => {
      curve(group(plot, `chain-${c + 1}`), "all", points(c, 0, shown), x, y)
        .style("stroke", c === chain ? "var(--soft)" : "var(--faint)").style("stroke-width", 1);
    });
    curve(group(plot, "stretch"), "part", points(chain, ...part), x, y)
      .style("stroke", "var(--centered)").style("stroke-width", 2);
    mark(plot, x((100 * at) / shown), y(scale[chain][at]));
    frame.svg.on("pointermove", (event) => point(x.invert(pointer(event, frame.svg.node())[0])));
    for (const [name, low, high] of [["first", 0, state.last - 1], ["last", state.first + 1, 100]]) {
      handle(frame, name, {
        value: state[name], low, high, label: figure.label(name), text: figure.text(name, state[name]),
        scale: x, change: (value) => set({ [name]: Math.round(value) }),
      });
    }
  }

  /** Mark the draw under the pointer. */
  function point(percent) {
    const { step } = figure.control("at");
    set({ at: Number((step * Math.round(Math.min(100, Math.max(0, percent)) / step)).toPrecision(3)) });
  }

  function mark(plot, x, y) {
    plot.selectAll("circle.at").data([0]).join("circle").attr("class", "at").attr("r", 6)
      .attr("cx", x).attr("cy", y).style("fill", "var(--ink)").style("stroke", "var(--paper)").raise();
  }

  function drawPair({ chain, part, at, state }, width) {
    const margin = { top: 34, right: 10, bottom: 46, left: 48 };
    const frame = panel(places[0], "pair", { width, height: 300, margin }, `${effectName} of ${state.effect_of} and ${scaleName}`);
    const values = effects(state.effect_of);
    const { inner } = frame;
    const x = scaleLinear(extent(values.flat()), [inner.left + 6, inner.right - 6]);
    const y = scaleLog(limits, [inner.bottom - 6, inner.top + 6]);
    drawX(frame, x, width < 240 ? effectName : `${effectName} of ${state.effect_of}`, { count: 4 });
    drawY(frame, y, scaleName, { values: marks(limits) });
    const plot = frame.group("plot");
    const inside = (c, i) => c === chain && i >= part[0] && i < part[1];
    const dots = scale.flatMap((each, c) => each.map((value, i) => ({ c, i, x: values[c][i], y: value })));
    plot.selectAll("circle.draw").data(dots).join("circle").attr("class", "draw")
      .attr("cx", (d) => x(d.x)).attr("cy", (d) => y(d.y))
      .attr("r", (d) => (inside(d.c, d.i) ? 3 : 1.6))
      .style("fill", (d) => (inside(d.c, d.i) ? "var(--centered)" : "var(--muted)"))
      .style("fill-opacity", (d) => (inside(d.c, d.i) ? 0.9 : 0.45));
    const crosses = diverging.flatMap((all, c) => all.map((i) => [x(values[c][i]), y(scale[c][i])]));
    plot.selectAll("path.cross").data(crosses).join("path").attr("class", "cross")
      .attr("d", ([u, v]) => `M${u - 4},${v - 4}l8,8m0,-8l-8,8`)
      .style("stroke", "var(--divergent)").style("stroke-width", 1.6);
    mark(plot, x(values[chain][at]), y(scale[chain][at]));
    frame.svg.on("pointermove", (event) => {
      const [u, v] = pointer(event, frame.svg.node());
      const away = (d) => (x(d.x) - u) ** 2 + (y(d.y) - v) ** 2;
      const nearest = dots.reduce((best, d) => (d.c === chain && away(d) < away(best) ? d : best), dots[chain * shown]);
      if (away(nearest) < 400) point((100 * nearest.i) / shown);
    });
  }

  function drawRanks({ chain, part, at }, width) {
    const margin = { top: 34, right: 10, bottom: 46, left: 34 };
    const frame = panel(places[1], "ranks", { width, height: 300, margin }, `Ranks of chain ${chain + 1}`);
    const { inner } = frame;
    const edges = data.ranks[0].map((_, i) => i / data.ranks[0].length).concat(1);
    const whole = relative(data.ranks[chain]);
    const some = relative(count(rank[chain].slice(...part), edges));
    const x = scaleLinear([0, 1], [inner.left, inner.right]);
    const y = scaleLinear([0, Math.max(2, ...whole, ...some)], [inner.bottom, inner.top]);
    drawX(frame, x, "rank among all draws", { values: [0, 0.5, 1] });
    drawY(frame, y, "share, 1 is even", { count: 4 });
    const plot = frame.group("plot");
    bars(plot, steps(some, edges), steps(whole, edges), x, y);
    rule(plot, "even", [inner.left, y(1), inner.right, y(1)]).style("stroke-dasharray", "2 4");
    mark(plot, x(rank[chain][at]), inner.bottom);
  }

  function drawEnergies({ chain, part, at }, width) {
    const margin = { top: 34, right: 10, bottom: 46, left: 20 };
    const frame = panel(places[2], "energies", { width, height: 300, margin }, "Energies and kicks");
    const { inner } = frame;
    const { edges } = data;
    const inside = energy[chain].slice(...part);
    const some = count(inside, edges).map((n) => n / (inside.length * (edges[1] - edges[0])));
    const x = scaleLinear(extent(edges), [inner.left, inner.right]);
    const y = scaleLinear([0, Math.max(...data.energies, ...data.kicks, ...some)], [inner.bottom, inner.top]);
    drawX(frame, x, "energy, from its mean", { count: 3 });
    drawY(frame, y, "density; dashed: kicks", { values: [] });
    const plot = frame.group("plot");
    bars(plot, steps(some, edges), steps(data.energies, edges), x, y);
    curve(plot, "kicks", steps(data.kicks, edges), x, y)
      .style("stroke", "var(--noncentered)").style("stroke-dasharray", "5 3");
    mark(plot, x(energy[chain][at]), inner.bottom);
  }

  /** The stretch filled, the whole as an outline. */
  function bars(plot, some, whole, x, y) {
    curve(plot, "some", some, x, y).style("fill", "var(--centered)").style("fill-opacity", 0.35)
      .style("stroke", "none");
    curve(plot, "whole", whole, x, y).style("stroke", "var(--ink)").style("stroke-width", 1.5);
  }

  return (state, width) => {
    // The end that was not moved gives way.
    if (state.last <= state.first) {
      set({ last: Math.min(100, state.first + 1) });
      return "";
    }
    const chain = Number(state.chain) - 1;
    const part = stretch(state, shown);
    const at = Math.min(shown - 1, Math.round((state.at / 100) * shown));
    const view = { chain, part, at, state };
    drawTrace(view, width);
    const wide = width >= 640;
    const widths = wide ? [0.42, 0.29, 0.29].map((share) => Math.floor(share * width)) : [width, width, width];
    drawPair(view, widths[0]);
    drawRanks(view, widths[1]);
    drawEnergies(view, widths[2]);

    const found = report(data, chain, part);
    const side = found.energy < 0 ? "below" : "above";
    const crosses = { 0: "no divergence", 1: "one divergence" }[found.divergences] ?? `${found.divergences} divergences`;
    return (
      `Chain ${state.chain}, ${state.first} to ${state.last}%: ${found.low.toFixed(0)}% of its draws are among the ` +
      `lowest tenth of all. Median of ${scaleName} ${plain(found.median)}; energies ` +
      `${Math.abs(found.energy).toFixed(2)} standard deviations ${side} the mean; ${crosses} shown. ` +
      `The draw at ${plain(state.at)}%: ${scaleName} ${plain(scale[chain][at])}, ${effectName} of ` +
      `${state.effect_of} ${plain(effects(state.effect_of)[chain][at])}.`
    );
  };
});
