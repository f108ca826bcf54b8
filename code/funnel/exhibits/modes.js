// Change the coordinates, and an optimizer climbs to another "most probable" scale, or never
// arrives. The posterior below does not change; what is best to report of it depends on the loss.

import { range } from "d3-array";
import { scaleLinear, scaleLog } from "d3-scale";

import { curve, drawX, drawY, group, handle, hill, panel, rule } from "./shared/chart.js";
import { exhibit, plain } from "./shared/frame.js";

/**
 * A profile and its first two derivatives: a cubic on each piece of the lattice (Hermite's
 * form), a straight line beyond it, and everywhere `rate` times t less.
 *
 * @param {object} climb `height` and `slope` on the lattice, and `rate`
 * @param {number[]} lattice equally spaced logarithms of the scale
 * @param {number} t logarithm of the scale
 * @returns {number[]} value, first and second derivative
 */
export function profile({ height, slope, rate }, lattice, t) {
  const last = lattice.length - 1;
  const gap = (lattice[last] - lattice[0]) / last;
  const end = t < lattice[0] ? 0 : last;
  if (t < lattice[0] || t > lattice[last]) {
    return [height[end] + (t - lattice[end]) * slope[end] - rate * t, slope[end] - rate, 0];
  }
  const i = Math.min(last - 1, Math.floor((t - lattice[0]) / gap));
  const u = (t - lattice[i]) / gap;
  const rise = height[i + 1] - height[i];
  const [s0, s1] = [gap * slope[i], gap * slope[i + 1]];
  const [square, cube] = [3 * rise - 2 * s0 - s1, s0 + s1 - 2 * rise];
  return [
    height[i] + u * (s0 + u * (square + u * cube)) - rate * t,
    (s0 + u * (2 * square + 3 * u * cube)) / gap - rate,
    (2 * square + 6 * u * cube) / gap ** 2,
  ];
}

/**
 * Newton's method, uphill: where the profile is not concave a step goes along the slope, and no
 * step is longer than `longest` (Nocedal and Wright 2006, chapter 3).
 *
 * @returns {{path: number[], arrived: boolean}} the scale at the start and after each step
 */
export function climbFrom(start, steps, climb, { lattice, longest }) {
  let t = Math.log(start);
  const path = [start];
  while (path.length <= steps) {
    const [, slope, bend] = profile(climb, lattice, t);
    const step = bend < 0 ? -slope / bend : Math.sign(slope) * longest;
    if (Math.abs(step) < 1e-6) return { path, arrived: true };
    t += Math.min(longest, Math.max(-longest, step));
    path.push(Math.exp(t));
  }
  return { path, arrived: false };
}

/** Expected loss of a report, over equally probable values of the scale. */
export function expectedLoss(loss, report, { nodes, near, factor }) {
  const cost = {
    squared: (s) => (report - s) ** 2,
    absolute: (s) => Math.abs(report - s),
    log: (s) => Math.log(report / s) ** 2,
    near: (s) => Number(Math.abs(report - s) > near),
    factor: (s) => Number(Math.abs(Math.log(report / s)) > factor),
    low: (s) => Math.max(report - s, 3 * (s - report)),
  }[loss];
  return nodes.reduce((sum, s) => sum + cost(s), 0) / nodes.length;
}

export default exhibit((figure) => {
  const { stage, data, model, set } = figure;
  const { low, high, lattice, scale, density, best, climbs, most } = data;
  let timer = 0;
  let full = []; // the climb with all its steps

  const rest = () => {
    clearInterval(timer);
    timer = 0;
    walk.textContent = "Walk";
  };
  const forward = () => set({ steps: Math.min(full.length - 1, model.get("steps") + 1) });
  const step = figure.button("One step", () => { rest(); forward(); });
  const walk = figure.button("Walk", () => {
    if (timer) {
      rest();
      figure.redraw();
    } else if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      set({ steps: full.length - 1 });
    } else {
      if (model.get("steps") >= full.length - 1) set({ steps: 0 });
      const go = () => {
        forward();
        if (model.get("steps") >= full.length - 1) rest();
      };
      walk.textContent = "Pause";
      timer = setInterval(go, 200);
      go();
    }
  });
  walk.classList.add("main");
  figure.buttons.prepend(walk, step);
  figure.onReset = rest;
  figure.onRemove = rest;

  return ({ coordinates, loss, start, steps }, width) => {
    const climb = climbs[coordinates];
    const color = coordinates === "centered" ? "centered" : "noncentered";
    const all = climbFrom(start, most, climb, data);
    full = all.path;
    const path = full.slice(0, steps + 1);
    const at = path.at(-1);
    const arrived = all.arrived && path.length === full.length;
    const height = (s) => profile(climb, lattice, Math.log(s))[0];

    const margin = { top: 48, right: 14, bottom: 30, left: 48 };
    const upper = panel(stage, "climb", { width, height: 280, margin }, "The climb along the joint density");
    const x = scaleLog([low, high], [upper.inner.left, upper.inner.right]);
    const points = range(0, 241).map((i) => low * (high / low) ** (i / 240)).map((s) => [s, height(s)]);
    const heights = points.map((point) => point[1]);
    const [floor, roof] = [Math.min(...heights), Math.max(...heights)];
    const y = scaleLinear([floor, roof + 0.12 * (roof - floor)], [upper.inner.bottom, upper.inner.top]);
    const axis = { values: [1e-6, 1e-4, 1e-2, 1, 100], format: power };
    drawX(upper, x, "", axis);
    drawY(upper, y, "highest log joint density");
    const plot = upper.group("plot");
    curve(plot, "profile", points, x, y).style("stroke", `var(--${color})`);
    const text = figure.text("start", start);
    handle(upper, "start", {
      value: start, low: 0.003, high: 50, label: figure.label("start"), text, scale: x,
      change: (value) => set({ start: value }),
    });
    const seen = path.map((s) => Math.max(low, s));
    const walker = upper.group("walker").style("pointer-events", "none");
    walker.selectAll("circle").data(seen).join("circle")
      .attr("cx", (s) => x(s)).attr("cy", (s) => y(height(s)))
      .attr("r", (_, i) => (i === path.length - 1 ? 7 : 3)).style("fill", `var(--${color})`);
    const place = x(seen.at(-1));
    // Where the curve is not: above it if it falls, below its top if it has one.
    const { right } = upper.inner;
    const below = color === "noncentered" && place > right / 2;
    walker.selectAll("text").data([at]).join("text")
      .attr("x", below ? right : Math.min(place + 12, right - 90))
      .attr("y", y(height(seen.at(-1))) + (below ? 40 : -10))
      .attr("text-anchor", below ? "end" : "start").call(halo)
      .text(`${at < low ? "◂ " : ""}${sigma(at)}`);
    label(upper.svg, "begin", x(start) + 13, upper.inner.top + 4, "start", "start", "noncentered");

    const lower = panel(stage, "posterior", { width, height: 230, margin: { ...margin, bottom: 46 } }, "Exact posterior and best report");
    const py = scaleLinear([0, 1.1 * Math.max(...density)], [lower.inner.bottom, lower.inner.top]);
    const bars = lower.group("bars");
    const exact = scale.map((s, i) => [s, density[i]]);
    hill(bars, "under", exact, x, py);
    curve(bars, "exact", exact, x, py);
    drawX(lower, x, "scale of the slopes σ_b, log pCi/L", axis);
    drawY(lower, py, "exact posterior, per unit of log", { values: [] });
    const { top, bottom } = lower.inner;
    const report = best[loss];
    rule(bars, "report", [x(report), top, x(report), bottom])
      .style("stroke", "var(--exact)").style("stroke-width", 2).style("stroke-dasharray", "6 4");
    rule(bars, "stand", [place, top, place, bottom]).style("stroke", `var(--${color})`).style("stroke-width", 2);
    label(bars, "best", x(report) - 6, top + 14, "end", `best report ${plain(report)}`, "ink");
    label(bars, "here", place + 6, top + 32, "start", "climb", color);

    if (timer) return ""; // said when the climb rests
    const name = figure.text("coordinates", coordinates);
    const walked = path.length === 2 ? "after one step" : `after ${path.length - 1} steps`;
    const gain = height(at / 2) - height(at);
    const way = arrived
      ? `The climb, ${name}, has arrived ${walked}: the joint mode is at ${sigma(at)}.`
      : `The climb, ${name}, is at ${sigma(at)} ${walked}` +
        (climb.top === null ? `: to halve it again gains ${plain(gain)}, and so on without end.` : ".");
    const worse = expectedLoss(loss, at, data) / expectedLoss(loss, report, data);
    return (
      `${way} The posterior is the same in all coordinates. Judged by “${figure.text("loss", loss)}” the best report is ` +
      `${sigma(report)}; to report ${few(at)} costs ${plain(worse)} times as much.`
    );
  };
});

/** A whole power of ten. */
function power(value) {
  const exponent = String(Math.round(Math.log10(value)));
  return value === 1 ? "1" : `10${[...exponent].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit] ?? "⁻").join("")}`;
}

/** Three digits, however small the number. */
function few(value) {
  if (value >= 1e-3) return plain(value);
  const [digits, exponent] = value.toExponential(2).split("e");
  return `${digits}\u00a0×\u00a0${power(10 ** exponent)}`;
}

function sigma(value) {
  return `σ_b\u00a0=\u00a0${few(value)}`;
}

function label(parent, name, x, y, anchor, text, color) {
  return group(parent, name).selectAll("text").data([text]).join("text")
    .attr("x", x).attr("y", y).attr("text-anchor", anchor).style("fill", `var(--${color})`).call(halo).text(text);
}

/** Keep words legible where a line runs behind them. */
function halo(text) {
  text.style("paint-order", "stroke").style("stroke", "var(--paper)").style("stroke-width", 5);
}
