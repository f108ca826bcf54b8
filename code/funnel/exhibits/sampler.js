// Run NUTS or HMC on this machine, in Web Workers, and let the exact posterior judge: the draws in
// (slope of a county, log scale), what the diagnostics say of them, and what they are worth.

import { scaleLinear, scaleLog } from "d3-scale";
import { select } from "d3-selection";
import { area, line } from "d3-shape";

import { sample } from "./engine/client.js";
import { makeDensity } from "./engine/densities.js";
import { DIVERGENCE_THRESHOLD } from "./engine/dynamics.js";
import { Nuts } from "./engine/nuts.js";
import { Random } from "./engine/random.js";
import source from "worker:./engine/worker.js";
import { curve, drawX, drawY, panel, rule } from "./shared/chart.js";
import { exhibit, plain } from "./shared/frame.js";
import { contour, slopeGiven, tabulate } from "./shared/funnel.js";
import * as sampling from "./shared/sampling.js";

const INSIDE = [0.5, 0.9, 0.99];
const SHOWN = 500; // draws of each chain, at most
/** A color for each chain that has no other meaning; see `figures.py`. */
const CHAINS = ["#56b4e9", "#e69f00", "#7f7f7f", "#9a7cc4"];

/** Controls that one press sets, of those that decide on the draws. */
const PRESETS = {
  "The essay, 2017": { slopes: 1, intercepts: 1, target_accept: 0.8 },
  "Smaller steps": { slopes: 1, intercepts: 1, target_accept: 0.99 },
  Noncentered: { slopes: 0, intercepts: 1, target_accept: 0.8 },
  "Too much data for noncentered": { model: "many", slopes: 0, intercepts: 0, target_accept: 0.8 },
};

export default exhibit((figure) => {
  const { stage, data, model: traits, set } = figure;
  const runs = new Map(data.runs.map((run) => [sampling.question(run.state), run]));
  const tables = Object.fromEntries(["radon", "many"].map((kind) => [kind, tabulate(sampling.homesOf(data, kind))]));
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  let state;
  let current = null; // the run under way: {key, abort, result}
  let walk = null; // the trajectory on show: {key, points, shown}

  const row = (name) => select(stage).append("div").attr("class", `exhibit-buttons ${name}`).style("margin-bottom", "0.5rem");
  const button = (box, label, press) =>
    box.append("button").attr("type", "button").text(label).on("click", press);
  const presets = row("presets").attr("role", "group").attr("aria-label", "Runs to begin with");
  for (const [label, changes] of Object.entries(PRESETS)) {
    button(presets, label, () => {
      const all = { model: "radon", method: "nuts", ...changes };
      set(all);
      start({ ...state, ...all });
    });
  }
  const bar = row("bar");
  const go = button(bar, "Run", () => start(state)).attr("class", "main");
  const stop = button(bar, "Cancel", () => current.abort.abort(new Error("canceled")));
  const follow = button(bar, "Follow one trajectory", () => move());
  const progress = bar.append("progress").attr("max", 1).attr("aria-label", "Transitions made");
  const count = bar.append("span");
  const plots = select(stage).append("div").style("display", "flex").node();
  const error = select(stage).append("div").node();
  const strips = select(stage).append("div").attr("class", "strips").style("display", "flex").style("flex-wrap", "wrap").node();
  const numbers = select(stage).append("div").attr("class", "numbers")
    .style("display", "flex").style("flex-wrap", "wrap").style("gap", "0 2rem").style("align-items", "start");

  /** Sample, unless these draws are there already. */
  async function start(asked) {
    const key = sampling.question(asked);
    current?.abort.abort(new Error("canceled"));
    if (runs.get(key)?.result?.done) runs.delete(key);
    const mine = { key, state: asked, abort: new AbortController(), result: null };
    current = mine;
    walk = null;
    figure.redraw();
    try {
      const result = await sample(source, sampling.request(data, asked), {
        signal: mine.abort.signal,
        onProgress: (so_far) => { mine.result = so_far; figure.redraw(); },
      });
      runs.set(key, finished(asked, result));
      hand(asked, result);
    } catch (reason) {
      if (!mine.abort.signal.aborted) figure.say(`The sampler stopped: ${reason.message}`);
    }
    if (current === mine) current = null;
    figure.redraw();
  }

  /** What is kept of a run. */
  function finished(asked, result) {
    return {
      state: asked,
      result,
      report: sampling.report(data.exact[asked.model], asked.model, result),
      start: { position: result.position[0], inverseMass: result.inverseMass[0], stepSize: result.stepSize[0] },
    };
  }

  /** Give Python the draws. */
  function hand(asked, { chains, values, divergent, energy, acceptance, depth }) {
    const flat = (columns) => {
      const all = new columns[0].constructor(chains * columns[0].length);
      columns.forEach((column, c) => all.set(column, c * column.length));
      return new DataView(all.buffer);
    };
    const slope = `b[${data.counties.indexOf(asked.county)}]`;
    const named = Object.entries(values).filter(([name]) => !/^b\[/.test(name) || name === slope);
    traits.set("run", {
      chains,
      values: Object.fromEntries(named.map(([name, columns]) => [name, flat(columns)])),
      statistics: {
        diverging: flat(divergent), energy: flat(energy), acceptance_rate: flat(acceptance), tree_depth: flat(depth),
      },
    });
    traits.save_changes();
  }

  /** Go on from where a chain ended, and show each point of the path. */
  function move() {
    const { key, from, random } = walk ?? { random: new Random(state.seed, 9) };
    const run = runs.get(sampling.question(state));
    const density = makeDensity(sampling.densityOf(data, state));
    const position = key === sampling.question(state) ? from : Float64Array.from(run.start.position);
    const metric = { ...run.start, inverseMass: Float64Array.from(run.start.inverseMass) };
    const ends = { 1: [], "-1": [] };
    const points = [{ ...where(density.constrain(position)), error: 0, time: 0 }];
    new Nuts(density).transition(position, metric, random, ({ q }, energyError, direction) => {
      ends[direction].push(1);
      points.push({
        ...where(density.constrain(q)), error: energyError, time: direction * ends[direction].length,
      });
    });
    walk = { key: sampling.question(state), from: position, random, points, shown: still.matches ? points.length : 1 };
    const began = performance.now();
    const frame = (now) => {
      if (walk?.points !== points) return;
      // A path of any length takes three seconds, a short one less.
      const speed = Math.max(points.length / 3000, 0.03);
      walk.shown = Math.min(points.length, Math.max(walk.shown, 1 + Math.floor((now - began) * speed)));
      drawWalk();
      if (walk.shown < points.length) requestAnimationFrame(frame);
      else figure.redraw();
    };
    figure.redraw();
    requestAnimationFrame(frame);
  }

  function where(values) {
    if (state.model === "neal") return { x: values.x[0], y: Math.exp(values.v / 2) };
    return { x: values.b[data.counties.indexOf(state.county)], y: values.sigma_b };
  }

  let drawWalk = () => {};
  figure.onRemove = () => current?.abort.abort(new Error("canceled"));

  return (now, width) => {
    state = now;
    const isNeal = state.model === "neal";
    const isNuts = state.method === "nuts";
    figure.hide([
      ...(isNeal ? ["intercepts", "county"] : ["dimensions"]),
      ...(isNuts ? ["step_size", "path_length"] : ["target_accept"]),
    ]);
    const key = sampling.question(state);
    if (walk && walk.key !== key) walk = null;
    const mine = current?.key === key ? current : null;
    const kept = mine ? null : runs.get(key);
    const result = mine?.result ?? kept?.result;
    const found = mine ? mine.result && sampling.report(data.exact[state.model], state.model, mine.result) : kept?.report;
    bind(mine, kept);

    const truth = data.exact[state.model];
    const name = isNeal ? "x[0]" : `b[${data.counties.indexOf(state.county)}]`;
    const cloud = result ? thin(state.model, result, name) : kept && stored(kept.digest, name);
    const counts = result ? sampling.histogram(truth.scale, sampling.scaleOf(state.model, result.values ?? {}) ?? []) : kept?.digest.counts;
    const places = shape(state, truth);
    const wide = Math.floor(width * 0.62);
    const scales = drawCloud(panel(plots, "cloud", box(wide, 42, 10), "Draws"), { places, cloud, truth, name: xName(state, width) });
    const color = `color-mix(in srgb, var(--centered) ${100 * state.slopes}%, var(--noncentered))`;
    drawDensity(panel(plots, "density", box(width - wide, 6, 8), "Draws and exact density"), { truth, counts, y: scales.y, color });
    drawWalk = () => follows(scales, width);
    drawWalk();
    const heights = result ? sampling.scaleOf(state.model, result.values).map((chain) => evenly(chain, 200)) : kept?.digest.scale;
    drawChains(heights ?? [], truth, width);
    drawTables(found);
    return words(mine, kept, found);
  };

  function bind(mine, kept) {
    go.property("disabled", Boolean(mine)).text(kept ? "Run again" : "Run");
    stop.property("disabled", !mine);
    follow.property("disabled", !kept || state.method !== "nuts");
    const made = mine?.result ? mine.result.transitions.reduce((sum, n) => sum + n) : 0;
    const all = 4 * (data.tune + data.draws);
    progress.property("value", mine ? made / all : Number(Boolean(kept))).style("display", mine ? null : "none");
    count.text(mine ? `${made.toLocaleString("en")} of ${all.toLocaleString("en")} transitions` : "");
  }

  function shape({ model, county }, truth) {
    const [sigmaA, sigmaY] = truth.others ?? [];
    const index = data.counties.indexOf(county);
    return truth.scale.map((scale, i) => ({
      scale,
      density: truth.density[i],
      ...(model === "neal" ? { mean: 0, sd: scale } : slopeGiven(tables[model], data.priors, index, { sigmaA, sigmaB: scale, sigmaY })),
    }));
  }

  function xName({ model, county }, width) {
    if (model === "neal") return "first x";
    return width < 560 ? "slope, log pCi/L" : `slope of ${county}, log pCi/L`;
  }

  function box(width, left, right) {
    return { width, height: 340, margin: { top: 34, right, bottom: 46, left } };
  }

  /** The trajectory over the contours, and its energy error below. */
  function follows({ plot, x, y }, width) {
    const points = walk ? walk.points.slice(0, walk.shown) : [];
    const ordered = [...points].sort((a, b) => a.time - b.time);
    const path = line((p) => x(p.x), (p) => y(p.y));
    plot.selectAll("path.walk").data([ordered]).join("path").attr("class", "walk")
      .style("fill", "none").style("stroke", "var(--ink)").style("stroke-width", 1.5).attr("d", path);
    plot.selectAll("circle.walk").data(points.slice(-1)).join("circle").attr("class", "walk")
      .attr("r", 5).style("fill", "var(--ink)").attr("cx", (p) => x(p.x)).attr("cy", (p) => y(p.y));
    error.hidden = !walk;
    if (!walk) return;
    const lower = panel(error, "error", { width, height: 170, margin: { top: 34, right: 14, bottom: 46, left: 42 } }, "Energy error");
    const { inner } = lower;
    const times = walk.points.map(({ time }) => time);
    const errors = walk.points.map((p) => p.error).filter(Number.isFinite);
    const size = Math.min(DIVERGENCE_THRESHOLD, Math.max(1, ...errors.map(Math.abs)));
    const steps = scaleLinear([Math.min(...times), Math.max(1, ...times)], [inner.left, inner.right]);
    const height = scaleLinear([-size, size], [inner.bottom, inner.top]).clamp(true);
    drawX(lower, steps, "leapfrog steps from the start");
    drawY(lower, height, "energy error, in units of log density", { count: 3 });
    const drawn = lower.group("plot");
    rule(drawn, "zero", [inner.left, height(0), inner.right, height(0)]);
    curve(drawn, "error", ordered.map((p) => [p.time, p.error]), steps, height);
  }

  /** The scale in the order of its draws, each chain in a panel of its own. */
  function drawChains(chains, truth, width) {
    strips.hidden = !chains.length;
    const columns = width < 560 ? 2 : 4;
    chains.forEach((chain, c) => {
      const first = c % columns === 0;
      const left = first ? 42 : 8;
      const inside = Math.floor((width - 42 - 8 * (columns - 1)) / columns);
      const frame = panel(strips, `chain-${c + 1}`, { width: inside + left, height: 130, margin: { top: 26, right: 2, bottom: 8, left } }, `Chain ${c + 1}`);
      const { inner } = frame;
      const x = scaleLinear([0, Math.max(1, chain.length - 1)], [inner.left, inner.right]);
      const y = scaleLog([truth.scale[0], truth.scale.at(-1)], [inner.bottom, inner.top]).clamp(true);
      const plot = frame.group("plot");
      if (first) drawY(frame, y, "", { values: powers(y) });
      limit(plot, truth, inner, y);
      curve(plot, "path", chain.map((value, i) => [i, value]), x, y).style("stroke", CHAINS[c]).style("stroke-width", 1.2);
      plot.selectAll("text").data([`chain ${c + 1}`]).join("text").attr("x", inner.left + 4).attr("y", 16).text((word) => word);
    });
  }

  function drawTables(found) {
    const truth = data.exact[state.model];
    const warn = found ? sampling.warnings(found) : [];
    const rows = found ? [
      [`worst R-hat, ${spoken(found.rhatOf)}`, ratio(found.rhat), "below 1.01", "rhat"],
      [`least bulk ESS, ${spoken(found.bulkOf)}`, found.bulk.toFixed(0), "above 400", "bulk"],
      [`least tail ESS, ${spoken(found.tailOf)}`, found.tail.toFixed(0), "above 400", "tail"],
      ["least E-BFMI of a chain", found.bfmi.toFixed(2), "above 0.3", "bfmi"],
      ["divergences", String(found.divergences), "none", "divergences"],
      ["gradients, thousands", (found.gradients / 1000).toFixed(0), "", ""],
      ["time, seconds", found.seconds.toFixed(1), "", ""],
    ] : [];
    fill("checks", ["diagnostic", "value", "should be"], rows.map(([label, value, should, name]) =>
      [[label], [value, warn.includes(name)], [should]]));
    const names = state.model === "neal"
      ? ["mean of v", `P(v < ${plain(2 * Math.log(truth.limit))})`]
      : ["mean of σ_b", `P(σ_b < ${truth.limit})`];
    fill("answers", ["answer", "exact", "this run", "off by, in standard errors"], (found?.expectations ?? []).map((each, i) => {
      const off = sampling.offBy(each);
      const none = each.exact === null;
      const by = none ? "" : Number.isFinite(off) ? signed(off) : "it claims to have none";
      return [[names[i]], [none ? "does not exist" : digits(each.exact)], [digits(each.found)], [by, !none && !(Math.abs(off) <= sampling.WRONG)]];
    }));
  }

  function fill(name, head, rows) {
    const made = numbers.selectAll(`table.${name}`).data(rows.length ? [0] : []).join("table").attr("class", name);
    made.selectAll("tr").data([head.map((word) => [word]), ...rows]).join("tr")
      .each(function (cells, i) {
        select(this).selectAll("th, td").data(cells).join(i ? "td" : "th")
          .classed("bad", ([, bad]) => Boolean(bad)).text(([word]) => word);
      });
  }

  function words(mine, kept, found) {
    if (mine) return "The chains are running. Cancel stops them at once.";
    if (!kept) return "Nothing has been run with these controls: press Run.";
    const warn = sampling.warnings(found);
    const wrong = sampling.isWrong(found);
    const [, below] = found.expectations;
    const verdict = warn.length ? "Diagnostics warn" : `Diagnostics pass, and the answer is ${wrong ? "wrong" : "right"}`;
    const what = state.model === "neal" ? "the lowest tenth of v" : `σ_b below ${data.exact[state.model].limit}`;
    return (
      `${verdict}: ${found.divergences || "no"} divergence${found.divergences === 1 ? "" : "s"}, R-hat ${ratio(found.rhat)}. ` +
      `The run gives ${what} a probability of ${percent(below.found)}; exact is ${percent(below.exact)}.`
    );
  }
});

/** A parameter as the chapters write it. */
const spoken = (name) => name.replace("sigma", "σ").replace("mu", "μ");
const digits = (value) => value.toFixed(4).replace("-", "−");
const ratio = (value) => (value < 10 ? value.toFixed(3) : plain(value));
const percent = (value) => `${(100 * value).toFixed(1)}%`;
const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;

/** At most so many draws of a chain, evenly spread. */
function evenly(chain, most) {
  const every = Math.max(1, Math.ceil(chain.length / most));
  return Array.from(chain).filter((_, i) => i % every === 0);
}

/** At most so many draws of each chain, and all places where one diverged. */
function thin(model, { values, divergences }, name) {
  const scale = sampling.scaleOf(model, values) ?? [];
  const chains = scale.map((chain, c) =>
    evenly(Array.from(chain, (y, i) => [values[name][c][i], y]), SHOWN));
  const low = sampling.scaleOf(model, divergences) ?? [];
  return { chains, divergent: low.flatMap((chain, c) => Array.from(chain, (y, i) => [divergences[name][c][i], y])) };
}

/** The same of a run that was made before; other counties than the one that was kept stay empty. */
function stored({ scale, effects, where }, name) {
  const pairs = (xs, ys) => (xs ? ys.map((chain, c) => chain.map((y, i) => [xs[c][i], y])) : []);
  return { chains: pairs(effects[name], scale), divergent: pairs(where.effects[name], where.scale).flat() };
}

function drawCloud(frame, { places, cloud, truth, name }) {
  const { inner } = frame;
  const outer = contour(places, INSIDE.at(-1)).map((k) => 1.2 * k);
  const low = Math.min(...places.map(({ mean, sd }, i) => mean - outer[i] * sd));
  const high = Math.max(...places.map(({ mean, sd }, i) => mean + outer[i] * sd));
  // The mouth of Neal's funnel is so wide that nothing else could be seen: its middle is shown.
  const reach = truth.others ? [low, high] : [-12, 12];
  const x = scaleLinear(reach, [inner.left, inner.right]).clamp(true);
  const y = scaleLog([truth.scale[0], truth.scale.at(-1)], [inner.bottom, inner.top]).clamp(true);
  drawX(frame, x, name, { count: 4 });
  drawY(frame, y, truth.others ? "σ_b, log pCi/L" : "exp(v / 2)", { values: powers(y) });
  const back = frame.group("contours");
  const paths = INSIDE.map((inside) => {
    const k = contour(places, inside);
    return area().defined((_, i) => k[i] > 0)
      .y((p) => y(p.scale)).x0((p, i) => x(p.mean - k[i] * p.sd)).x1((p, i) => x(p.mean + k[i] * p.sd))(places);
  });
  back.selectAll("path").data(paths).join("path").attr("d", (path) => path)
    .style("fill", "var(--exact)").style("fill-opacity", 0.1);
  const plot = frame.group("plot");
  limit(plot, truth, inner, y);
  const dots = (pairs) => pairs.map(([px, py]) => `M${x(px).toFixed(1)},${y(py).toFixed(1)}h0`).join("");
  plot.selectAll("path.chain").data(cloud?.chains ?? []).join("path").attr("class", "chain").attr("d", dots)
    .style("stroke", (_, c) => CHAINS[c]).style("stroke-width", 3).style("stroke-linecap", "round").style("stroke-opacity", 0.65);
  const cross = ([px, py]) => `M${x(px) - 4},${y(py) - 4}l8,8m0,-8l-8,8`;
  plot.selectAll("path.divergent").data([cloud?.divergent ?? []]).join("path").attr("class", "divergent")
    .attr("d", (pairs) => pairs.map(cross).join("")).style("stroke", "var(--divergent)").style("stroke-width", 2).raise();
  plot.selectAll("path.walk, circle.walk").raise();
  return { plot, x, y };
}

function drawDensity(frame, { truth, counts, y, color }) {
  const { inner } = frame;
  const total = counts ? counts.reduce((sum, n) => sum + n, 0) : 0;
  const step = Math.log(truth.scale.at(-1) / truth.scale[0]) / sampling.BINS;
  const heights = total ? counts.map((n) => n / (total * step)) : [];
  const x = scaleLinear([0, 1.15 * Math.max(...truth.density, ...heights)], [inner.left, inner.right]);
  const edge = (i) => truth.scale[0] * Math.exp(step * i);
  const plot = frame.group("plot");
  plot.selectAll("rect").data(heights).join("rect")
    .attr("x", x(0)).attr("width", (h) => x(h) - x(0))
    .attr("y", (_, i) => y(edge(i + 1))).attr("height", (_, i) => y(edge(i)) - y(edge(i + 1)))
    .style("fill", color).style("fill-opacity", 0.45);
  limit(plot, truth, inner, y);
  curve(plot, "exact", truth.scale.map((s, i) => [truth.density[i], s]), x, y);
  drawX(frame, x, inner.right - inner.left < 160 ? "density" : "density per unit of log", { values: [] });
  plot.selectAll("text").data(["— exact", "■ this run"]).join("text")
    .attr("x", inner.right).attr("text-anchor", "end").attr("y", (_, i) => 12 + 16 * i)
    .style("fill", (_, i) => (i ? color : "var(--exact)")).text((word) => word);
}

/** The line below which the neck is asked for. */
function limit(plot, truth, inner, y) {
  rule(plot, "limit", [inner.left, y(truth.limit), inner.right, y(truth.limit)]).style("stroke-dasharray", "3 4");
}

/** Powers of ten, and three times those, within a scale; more of them in a short one. */
function powers(y) {
  const [low, high] = y.domain();
  const steps = high / low > 10 ? [1, 3] : [1, 1.5, 2, 3, 4, 6, 8];
  const all = [-4, -3, -2, -1, 0, 1].flatMap((k) => steps.map((m) => Number((m * 10 ** k).toPrecision(2))));
  return all.filter((value) => value >= low && value <= high);
}
