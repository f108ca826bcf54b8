// Axes, curves and handles: what the exhibits draw with, on top of d3.

import { axisBottom, axisLeft } from "d3-axis";
import { select } from "d3-selection";
import { area, line } from "d3-shape";

import { plain } from "./frame.js";

/**
 * A plot with two named axes, in an SVG element that is kept from one drawing to the next.
 *
 * @param {HTMLElement} stage where it goes
 * @param {string} name its class, by which it is found again
 * @param {object} box `width`, `height`, and `margin` as {top, right, bottom, left}, in pixels
 * @param {string} label what it shows, for those who cannot see it
 * @returns {object} `svg` and `plot` as d3 selections, and `inner` as {left, right, top, bottom}
 */
export function panel(stage, name, { width, height, margin }, label) {
  const svg = select(stage)
    .selectAll(`svg.${name}`)
    .data([0])
    .join((enter) => enter.append("svg").attr("class", name))
    .attr("viewBox", `0 0 ${width} ${height}`)
    .attr("width", width)
    .attr("height", height)
    .attr("role", "group")
    .attr("aria-label", label);
  const inner = {
    left: margin.left,
    right: width - margin.right,
    top: margin.top,
    bottom: height - margin.bottom,
  };
  return { svg, inner, group: (part) => group(svg, part) };
}

/** A group of an element, made the first time that it is asked for. */
export function group(parent, name) {
  return parent.selectAll(`g.${name}`).data([0]).join("g").attr("class", name);
}

/** Tick labels of an axis: three digits, no commas, a proper minus sign. */
export const ticks = (value) => plain(value);

/** Draw the horizontal axis below a panel, and its name. */
export function drawX({ svg, inner }, scale, label, { values, count = 5, format = ticks } = {}) {
  const axis = axisBottom(scale).tickSizeOuter(0).tickFormat(format);
  if (values) axis.tickValues(values);
  else axis.ticks(count);
  const box = group(svg, "x-axis").attr("transform", `translate(0,${inner.bottom})`).call(axis);
  name(box, label).attr("x", (inner.left + inner.right) / 2).attr("y", 38).attr("text-anchor", "middle");
}

/** Draw the vertical axis on the left of a panel, and its name above it. */
export function drawY({ svg, inner }, scale, label, { values, count = 5, format = ticks } = {}) {
  const axis = axisLeft(scale).tickSizeOuter(0).tickFormat(format);
  if (values) axis.tickValues(values);
  else axis.ticks(count);
  const box = group(svg, "y-axis").attr("transform", `translate(${inner.left},0)`).call(axis);
  name(box, label).attr("x", 4 - inner.left).attr("y", inner.top - 10).attr("text-anchor", "start");
}

function name(box, label) {
  return box.selectAll("text.name").data([label]).join("text").attr("class", "name").text(label);
}

/** Draw a curve through points. */
export function curve(parent, name, points, x, y) {
  const path = line((p) => x(p[0]), (p) => y(p[1])).defined((p) => Number.isFinite(p[1]));
  return parent.selectAll(`path.${name}`).data([points]).join("path").attr("class", `curve ${name}`).attr("d", path);
}

/** Fill the area under a curve. */
export function hill(parent, name, points, x, y) {
  const path = area((p) => x(p[0]), y.range()[0], (p) => y(p[1]));
  return parent.selectAll(`path.${name}`).data([points]).join("path").attr("class", `hill ${name}`).attr("d", path);
}

/** A straight line from one place to another, in pixels. */
export function rule(parent, name, [x1, y1, x2, y2]) {
  return parent
    .selectAll(`line.${name}`)
    .data([0])
    .join("line")
    .attr("class", `rule ${name}`)
    .attr("x1", x1)
    .attr("y1", y1)
    .attr("x2", x2)
    .attr("y2", y2);
}

const STEPS = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };

/**
 * A vertical line that the reader drags along an axis, with the mouse, a finger or the keyboard.
 *
 * @param {object} panel where it stands
 * @param {string} name its class
 * @param {object} what `value`, `low`, `high`, `label`, `text` (the value in words),
 *   `scale` (of the axis) and `change(value)`
 */
export function handle({ svg, inner }, name, { value, low, high, label, text, scale, change }) {
  const box = group(svg, `handle-${name}`)
    .classed("handle", true)
    .attr("transform", `translate(${scale(value)},0)`)
    .attr("tabindex", 0)
    .attr("role", "slider")
    .attr("aria-label", label)
    .attr("aria-valuemin", low)
    .attr("aria-valuemax", high)
    .attr("aria-valuenow", value)
    .attr("aria-valuetext", text);
  const parts = [
    ["rect", "grip", { x: -22, y: inner.top, width: 44, height: inner.bottom - inner.top }],
    ["line", "stem", { y1: inner.top, y2: inner.bottom }],
    ["circle", "knob", { cy: inner.top, r: 9 }],
  ];
  for (const [tag, part, attributes] of parts) {
    const drawn = box.selectAll(`.${part}`).data([0]).join(tag).attr("class", part);
    for (const [key, length] of Object.entries(attributes)) drawn.attr(key, length);
  }
  const to = (pixels) => {
    const found = Math.min(high, Math.max(low, scale.invert(pixels)));
    const now = Math.min(high, Math.max(low, Number(found.toPrecision(3))));
    box.attr("aria-valuenow", now); // at once, for a second key before the next drawing
    change(now);
  };
  const pixel = (event) => {
    const frame = svg.node().getBoundingClientRect();
    return ((event.clientX - frame.left) * svg.attr("width")) / frame.width;
  };
  box
    .on("pointerdown", function (event) {
      event.preventDefault();
      this.setPointerCapture(event.pointerId);
      this.focus();
      to(pixel(event));
    })
    .on("pointermove", function (event) {
      if (this.hasPointerCapture(event.pointerId)) to(pixel(event));
    })
    .on("keydown", (event) => {
      const end = { Home: scale(low), End: scale(high) }[event.key];
      if (end === undefined && !(event.key in STEPS)) return;
      event.preventDefault();
      const now = Number(box.attr("aria-valuenow"));
      to(end ?? scale(now) + (STEPS[event.key] * (inner.right - inner.left)) / 100);
    });
  return box;
}
