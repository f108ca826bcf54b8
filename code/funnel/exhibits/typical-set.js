// Raise the dimension of a standard normal, and see its draws leave the most probable point: the
// density stays as it is, the volume moves out, and with it the mass, which is their product.

import { range } from "d3-array";
import { scaleLinear } from "d3-scale";

import { curve, drawX, drawY, handle, hill, panel, rule } from "./shared/chart.js";
import { exhibit, plain } from "./shared/frame.js";

/**
 * Probability that a draw is nearer to the mode than `r`. Half of the squared distance is a
 * gamma variable of shape d/2, and the incomplete gamma function a series of positive terms
 * (DLMF 8.11.4).
 *
 * @param {number} d dimensions, a whole number from 1
 * @param {number} r distance in standard deviations
 */
export function nearer(d, r) {
  const [a, z] = [d / 2, r ** 2 / 2];
  if (z === 0) return 0;
  let [term, sum] = [1 / a, 0];
  for (let k = 1; term > sum * 1e-17; k++) {
    sum += term;
    term *= z / (a + k);
  }
  return Math.min(1, Math.exp(a * Math.log(z) - z - logGamma(d)) * sum);
}

/** Logarithm of Γ(d/2), from Γ(1/2) = √π or Γ(1) = 1 by Γ(a + 1) = a Γ(a). */
function logGamma(d) {
  let sum = d % 2 ? Math.log(Math.PI) / 2 : 0;
  for (let a = d % 2 ? 0.5 : 1; a < d / 2; a++) sum += Math.log(a);
  return sum;
}

/** The distance, up to `edge`, that a draw falls short of with probability `p`. */
export function distance(d, p, edge) {
  let [low, high] = [0, edge];
  for (let halving = 0; halving < 30; halving++) {
    const middle = (low + high) / 2;
    if (nearer(d, middle) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/**
 * Logarithms of density and of volume at distance `r`, from their values at √(d - 1), where the
 * mass per unit of distance, their product, is largest.
 */
export function heights(d, r) {
  const peak = Math.sqrt(d - 1);
  const volume = d === 1 ? 0 : (d - 1) * Math.log(r / peak);
  return { density: (peak ** 2 - r ** 2) / 2, volume };
}

/** A probability in words. */
export function chance(p) {
  if (p < 1e-6) return "less than one in a million";
  if (p < 1e-3) return `one in ${plain(1 / p)}`;
  if (p > 0.9995) return "more than 99.9%";
  return `${plain(100 * p)}%`;
}

export default exhibit((figure) => {
  const { stage, data, set } = figure;
  const { probability, turn, edge } = data;

  return ({ dimension: d, radius, logs }, width) => {
    const far = probability.map((p) => distance(d, p, edge));
    const inside = probability.map((p) => p < nearer(d, radius));
    drawRing(panel(stage, "ring", ring(width), "Draws around the mode"), { far, inside, turn, edge, d, radius });

    const margin = { top: 44, right: 14, bottom: 46, left: 42 };
    const lower = panel(stage, "heights", { width, height: 280, margin }, "Density, volume and mass");
    const x = scaleLinear([0, edge], [lower.inner.left, lower.inner.right]);
    const reach = 4 + (d - 1) / 2;
    const y = scaleLinear(logs ? [-reach, reach] : [0, 1.15], [lower.inner.bottom, lower.inner.top]);
    drawX(lower, x, "distance from the mode, standard deviations", { count: 7 });
    drawY(lower, y, logs ? "logarithm, from where the mass is largest" : "relative height");
    const places = range(1, 401).map((i) => (i * edge) / 400);
    const rows = places.map((r) => {
      const { density, volume } = heights(d, r);
      if (logs) return [density, volume, density + volume];
      // The density on its own: how much of its highest value is left.
      return [Math.exp(-(r ** 2) / 2), Math.exp(volume), Math.exp(density + volume)];
    });
    const plot = lower.group("plot");
    const within = ([low, high]) => (value) => (value >= low && value <= high ? value : NaN);
    const shown = within(y.domain());
    const looks = [["density", "centered", ""], ["volume", "muted", "6 4"], ["mass", "exact", ""]];
    hill(plot, "under", logs ? [] : rows.map((row, i) => [places[i], row[2]]), x, y);
    looks.forEach(([name, color, dashes], k) => {
      curve(plot, name, rows.map((row, i) => [places[i], shown(row[k])]), x, y)
        .style("stroke", `var(--${color})`).style("stroke-dasharray", dashes);
    });
    key(lower, looks);
    const text = figure.text("radius", radius);
    handle(lower, "radius", {
      value: radius, low: 0.1, high: edge, label: figure.label("radius"), text, scale: x,
      change: (value) => set({ radius: value }),
    });

    const [low, half, high] = [0.025, 0.5, 0.975].map((p) => distance(d, p, edge).toFixed(2));
    const hits = inside.filter(Boolean).length;
    return (
      `In ${d === 1 ? "one dimension" : `${d} dimensions`} half of all draws are farther from the mode than ` +
      `${half} standard deviations, and 95% are between ${low} and ${high}. ` +
      `Nearer than ${plain(radius)} is ${chance(nearer(d, radius))}: of the ${far.length} draws shown, ${hits || "none"}.`
    );
  };
});

/** The box of the upper drawing: as wide as the stage, and no higher than it needs. */
function ring(width) {
  return { width, height: Math.min(width, 330), margin: { top: 8, right: 8, bottom: 8, left: 8 } };
}

/** Each draw at its distance from the mode; the direction, of which there are many, is any. */
function drawRing({ svg, inner, group }, { far, inside, turn, edge, d, radius }) {
  const [cx, cy] = [(inner.left + inner.right) / 2, (inner.top + inner.bottom) / 2];
  const size = (cy - inner.top) / edge;
  const plot = group("plot").attr("transform", `translate(${cx},${cy})`);
  plot.selectAll("circle.draw").data(far).join("circle").attr("class", "draw")
    .attr("cx", (r, i) => size * r * Math.cos(2 * Math.PI * turn[i]))
    .attr("cy", (r, i) => size * r * Math.sin(2 * Math.PI * turn[i]))
    .attr("r", (_, i) => (inside[i] ? 3.5 : 2.4))
    .style("fill", (_, i) => (inside[i] ? "var(--noncentered)" : "var(--exact)")).style("fill-opacity", 0.6);
  const circles = [["root", Math.sqrt(d), "muted", "3 4"], ["within", radius, "noncentered", ""]];
  plot.selectAll("circle.ring").data(circles).join("circle")
    .attr("class", ([name]) => `ring ${name}`).attr("r", ([, r]) => size * r)
    .style("fill", "none").style("stroke", ([, , color]) => `var(--${color})`)
    .style("stroke-width", 2).style("stroke-dasharray", ([, , , dashes]) => dashes);
  for (const [name, x, y] of [["across", 7, 0], ["down", 0, 7]]) {
    rule(plot, name, [-x, -y, x, y]).style("stroke", "var(--centered)").style("stroke-width", 2.5);
  }
  const words = [["+ mode", "centered"], ["○ distance r", "noncentered"], ["◌ distance √d", "ink"]];
  svg.selectAll("text.key").data(words).join("text").attr("class", "key")
    .attr("x", inner.left).attr("y", (_, i) => inner.top + 10 + 18 * i)
    .style("fill", ([, color]) => `var(--${color})`).text(([word]) => word);
}

/** What the curves are. */
function key({ inner, group }, looks) {
  const box = group("key");
  const place = (i) => inner.right - 66 - 84 * (looks.length - 1 - i);
  rules(box, looks, place);
  box.selectAll("text").data(looks).join("text")
    .attr("x", (_, i) => place(i)).attr("y", 12).text(([name]) => name);
}

function rules(box, looks, place) {
  box.selectAll("line").data(looks).join("line")
    .attr("x1", (_, i) => place(i) - 22).attr("x2", (_, i) => place(i) - 4).attr("y1", 8).attr("y2", 8)
    .style("stroke-width", 2).style("stroke", ([, color]) => `var(--${color})`)
    .style("stroke-dasharray", ([, , dashes]) => dashes);
}
