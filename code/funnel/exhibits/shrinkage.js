// Drag the scale between counties, and see every estimate slide from "all counties alike" to
// "every county alone". The exact posterior of the scale stands below.

import { bisectLeft, extent } from "d3-array";
import { scaleLinear, scaleLog } from "d3-scale";

import { curve, drawX, drawY, group, handle, hill, panel, rule } from "./shared/chart.js";
import { exhibit, plain } from "./shared/frame.js";

/**
 * Levels of all counties for one scale between them (Gelman and Hill 2007, equation 12.1, with
 * the mean of the counties integrated out under a flat prior).
 *
 * @returns {{mean: number, levels: number[], shares: number[]}} shares: how much of its distance
 *   from the mean each county keeps
 */
export function pool(own, homes, sigmaY, sigmaA) {
  const precision = homes.map((n) => 1 / (sigmaA ** 2 + sigmaY ** 2 / n));
  const total = precision.reduce((sum, p) => sum + p);
  const mean = precision.reduce((sum, p, j) => sum + p * own[j], 0) / total;
  const shares = precision.map((p) => sigmaA ** 2 * p);
  return { mean, shares, levels: shares.map((w, j) => w * own[j] + (1 - w) * mean) };
}

/** A value between the points of a curve. */
function between(xs, ys, x) {
  const right = Math.min(xs.length - 1, Math.max(1, bisectLeft(xs, x)));
  const part = (x - xs[right - 1]) / (xs[right] - xs[right - 1]);
  return ys[right - 1] + part * (ys[right] - ys[right - 1]);
}

export default exhibit((figure) => {
  const { stage, data, set } = figure;
  const { counties, homes, own, complete, sigma_y: sigmaY, scale, density, below } = data;
  const order = counties.map((_, j) => j).sort((i, j) => homes[i] - homes[j]);
  // Counties with as many homes would hide each other: side by side, in a fixed order.
  const spread = new Array(counties.length);
  order.forEach((j, place) => { spread[j] = homes[j] * Math.exp(0.13 * Math.sin(2.4 * place)); });

  return ({ sigma_a: sigmaA, county }, width) => {
    const margin = { top: 30, right: 14, bottom: 46, left: 42 };
    const upper = panel(stage, "levels", { width, height: 330, margin }, "Level of each county");
    const x = scaleLog(extent(spread), [upper.inner.left + 8, upper.inner.right - 8]);
    const y = scaleLinear(extent(own), [upper.inner.bottom - 6, upper.inner.top + 6]);
    const { levels, shares, mean } = pool(own, homes, sigmaY, sigmaA);
    drawX(upper, x, "homes in the county", { values: [1, 3, 10, 30, 100] });
    drawY(upper, y, "basement level, log pCi/L");
    const plot = upper.group("plot");
    const { left, right } = upper.inner;
    rule(plot, "complete", [left, y(complete), right, y(complete)]);
    rule(plot, "mean", [left, y(mean), right, y(mean)])
      .style("stroke", "var(--exact)")
      .style("stroke-dasharray", "2 4");

    const chosen = counties.indexOf(county);
    const dots = plot.selectAll("g.county").data(order).join("g").attr("class", "county");
    dots.style("cursor", "pointer").on("click", (_, j) => set({ county: counties[j] }));
    dots.selectAll("line").data((j) => [j]).join("line")
      .attr("x1", (j) => x(spread[j])).attr("x2", (j) => x(spread[j]))
      .attr("y1", (j) => y(own[j])).attr("y2", (j) => y(levels[j]))
      .style("stroke", "var(--data)").style("stroke-opacity", (j) => (j === chosen ? 1 : 0.45))
      .style("stroke-width", (j) => (j === chosen ? 2.5 : 1));
    for (const [name, heights, color] of [["own", own, "data"], ["level", levels, "exact"]]) {
      dots.selectAll(`circle.${name}`).data((j) => [j]).join("circle").attr("class", name)
        .attr("cx", (j) => x(spread[j])).attr("cy", (j) => y(heights[j]))
        .attr("r", (j) => (j === chosen ? 6 : 3.2)).style("fill", `var(--${color})`);
    }
    dots.selectAll("title").data((j) => [j]).join("title").text((j) => counties[j]);
    key(plot, right);

    const lower = panel(stage, "scale", { width, height: 170, margin }, "Exact posterior of the scale");
    const sx = scaleLog([scale[0], scale.at(-1)], [lower.inner.left, lower.inner.right]);
    const sy = scaleLinear([0, Math.max(...density)], [lower.inner.bottom, lower.inner.top + 8]);
    const points = scale.map((s, i) => [s, density[i]]);
    hill(lower.group("plot"), "exact", points, sx, sy);
    curve(lower.group("plot"), "exact", points, sx, sy);
    drawX(lower, sx, "scale between counties σₐ, log pCi/L", { values: [0.01, 0.03, 0.1, 0.3, 1, 3, 10] });
    const text = figure.text("sigma_a", sigmaA);
    handle(lower, "sigma_a", {
      value: sigmaA, low: scale[0], high: scale.at(-1), label: figure.label("sigma_a"), text, scale: sx,
      change: (value) => set({ sigma_a: value }),
    });

    const chance = 100 * between(scale, below, sigmaA);
    const worth = sigmaY ** 2 / sigmaA ** 2;
    const rounded = chance < 0.05 ? "less than 0.1" : chance > 99.95 ? "more than 99.9" : chance.toFixed(1);
    return (
      `At σₐ = ${text} the other counties weigh as much as ${plain(worth)} homes. ${county}, with ` +
      `${homes[chosen]}, keeps ${(100 * shares[chosen]).toFixed(0)}% of its distance from the mean: ` +
      `alone ${own[chosen].toFixed(2)}, now ${levels[chosen].toFixed(2)}. ` +
      `The exact posterior puts ${rounded}% below this scale.`
    ).replaceAll("-", "−");
  };
});

/** What the colors stand for. */
function key(plot, right) {
  const words = [["alone", "data"], ["pooled in part", "exact"]];
  const box = group(plot, "key");
  box.selectAll("circle").data(words).join("circle")
    .attr("cx", right - 108).attr("cy", (_, i) => 14 + 18 * i).attr("r", 4)
    .style("fill", ([, color]) => `var(--${color})`);
  box.selectAll("text").data(words).join("text")
    .attr("x", right - 98).attr("y", (_, i) => 18 + 18 * i).text(([word]) => word);
}
