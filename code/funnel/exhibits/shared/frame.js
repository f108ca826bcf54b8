// The frame around every exhibit: its controls, its words, its address.
//
// `exhibit(start)` makes a module that JupyterLab (as an anywidget) and a page of the course
// can both show. `start(figure)` is called once with
//
//     figure.stage    the element to draw in
//     figure.data     the data from Python
//     figure.set(changes)    change controls from the drawing, as a handle does
//     figure.label(name), figure.text(name, value)    words of a control, a value with its unit
//     figure.hide(names)    take away controls that mean nothing at the moment
//     figure.redraw()    ask for a drawing when something else has changed
//
// and returns `draw(state, width)`, which is called at every change of state, width or theme. It
// returns what the figure now says, in words.

import { format } from "d3-format";

const number = format(".3~g");

/** A value in words: three digits and the unit, with a proper minus sign. */
export function withUnit(control, value) {
  if (control.kind === "choice") return control.options[value];
  if (control.kind === "switch") return value ? "on" : "off";
  return (number(value) + (control.unit ? ` ${control.unit}` : "")).replace("-", "−");
}

/** A number as people read it: three digits, no letters for thousands or thousandths. */
export function plain(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(1).replace("-", "−");
  return String(Number(value.toPrecision(3))).replace("-", "−");
}

/** Tell whether a value suits a control. */
export function suits(control, value) {
  if (control.kind === "choice") return Object.hasOwn(control.options, value);
  if (control.kind === "switch") return typeof value === "boolean";
  return Number.isFinite(value) && value >= control.low && value <= control.high;
}

/**
 * Read a state from what stands after `?` in the fragment of an address.
 *
 * Anyone can write an address: a name that is not a control's, a value out of its range or a
 * name that comes twice makes the whole of it void.
 *
 * @returns {object|null} the controls that it sets
 */
export function parseState(controls, text) {
  const state = {};
  if (text.length > 2000) return null;
  for (const [name, word] of new URLSearchParams(text)) {
    if (!Object.hasOwn(controls, name) || Object.hasOwn(state, name)) return null;
    const control = controls[name];
    let value = word;
    if (control.kind === "slider") value = /^-?[\d.]+(e-?\d+)?$/.test(word) ? Number(word) : NaN;
    if (control.kind === "switch") value = { true: true, false: false }[word];
    if (!suits(control, value)) return null;
    state[name] = value;
  }
  return state;
}

/** Write the controls that differ from their defaults as the part of an address after `?`. */
export function writeState(controls, state) {
  const changed = Object.entries(controls).filter(([name, c]) => state[name] !== c.default);
  return new URLSearchParams(changed.map(([name]) => [name, String(state[name])])).toString();
}

const STOPS = 200; // positions of a slider with a log axis

function toPosition({ low, high, log }, value) {
  return log ? (STOPS * Math.log(value / low)) / Math.log(high / low) : value;
}

/** The value at a position of a slider: whole steps, and no digits beyond those shown. */
export function atPosition({ low, high, step, log }, position) {
  if (!log) return clean(low + Math.round((position - low) / step) * step, low, high);
  return clean(low * (high / low) ** (position / STOPS), low, high);
}

function clean(value, low, high) {
  return Math.min(high, Math.max(low, Number(value.toPrecision(3))));
}

let count = 0; // for identifiers that no other exhibit of the page has

function make(parent, tag, attributes = {}, text = "") {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  parent.append(made);
  return made;
}

function makeSlider(box, name, control, id, change) {
  make(box, "label", { for: id }, control.label);
  const range = control.log ? [0, STOPS, 1] : [control.low, control.high, control.step];
  const [min, max, step] = range;
  const input = make(box, "input", { type: "range", id, name, min, max, step: control.log ? step : "any" });
  const shown = make(box, "output", { for: id });
  input.addEventListener("input", () => change(atPosition(control, input.valueAsNumber)));
  input.addEventListener("keydown", (event) => {
    // Whole steps, whatever the browser makes of a slider without any, and JupyterLab of its keys.
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const move = steps[event.key] * (control.log ? 1 : control.step);
    const value = atPosition(control, input.valueAsNumber + move);
    // At once, or a second key before the next drawing would start from here.
    input.value = toPosition(control, value);
    change(value);
  });
  return (value) => {
    input.value = toPosition(control, value);
    const words = withUnit(control, value);
    input.setAttribute("aria-valuetext", words);
    shown.textContent = words;
  };
}

function makeChoice(box, name, control, id, change) {
  if (Object.keys(control.options).length > 5) {
    make(box, "label", { for: id }, control.label);
    const select = make(box, "select", { id, name });
    for (const [value, label] of Object.entries(control.options)) make(select, "option", { value }, label);
    select.addEventListener("change", () => change(select.value));
    return (value) => { select.value = value; };
  }
  const group = make(box, "div", { role: "radiogroup", "aria-label": control.label, class: "choice" });
  make(group, "span", { "aria-hidden": "true" }, control.label);
  const inputs = Object.entries(control.options).map(([value, label]) => {
    const part = make(group, "label");
    const input = make(part, "input", { type: "radio", name: id, value });
    make(part, "span", {}, label);
    input.addEventListener("change", () => change(value));
    return input;
  });
  return (value) => { for (const input of inputs) input.checked = input.value === value; };
}

function makeSwitch(box, name, control, id, change) {
  const part = make(box, "label", { class: "switch" });
  const input = make(part, "input", { type: "checkbox", id, name });
  make(part, "span", {}, control.label);
  input.addEventListener("change", () => change(input.checked));
  return (value) => { input.checked = value; };
}

const MAKERS = { slider: makeSlider, choice: makeChoice, switch: makeSwitch };

/** Make a module that shows an exhibit; see the top of this file. */
export function exhibit(start) {
  return { render: ({ model, el }) => render(model, el, start) };
}

function render(model, el, start) {
  const controls = model.get("controls");
  const names = Object.keys(controls);
  const id = `exhibit-${(count += 1)}`;
  const root = make(el, "section", { class: "exhibit-live", "aria-label": model.get("caption") });
  // Keys belong to the exhibit, not to the shortcuts of JupyterLab.
  root.dataset.lmSuppressShortcuts = "true";
  const panel = make(root, "div", { class: "exhibit-controls" });
  const stage = make(root, "div", { class: "exhibit-stage" });
  const words = make(root, "p", { class: "exhibit-words", role: "status" });

  const current = () => Object.fromEntries(names.map((name) => [name, model.get(name)]));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) {
      if (!suits(controls[name], value)) throw new RangeError(`${name} cannot be ${value}`);
      model.set(name, value);
    }
    model.save_changes();
  };
  const boxes = {};
  const show = names.map((name) => {
    const box = make(panel, "div", { class: "exhibit-control" });
    boxes[name] = box;
    const change = (value) => set({ [name]: value });
    return MAKERS[controls[name].kind](box, name, controls[name], `${id}-${name}`, change);
  });
  const buttons = make(panel, "div", { class: "exhibit-buttons" });
  const asked = model.fragment && parseState(controls, model.fragment);
  if (asked) set(asked);
  const defaults = () => Object.fromEntries(names.map((name) => [name, controls[name].default]));
  const button = (label, press) => {
    const made = make(buttons, "button", { type: "button" }, label);
    made.addEventListener("click", press);
    return made;
  };
  if (names.length) button("Reset", () => { set(defaults()); figure.onReset?.(); });
  if (model.address) {
    button("Copy link to this state", async () => {
      const link = model.address(writeState(controls, current()));
      try {
        await navigator.clipboard.writeText(link);
        say("The link is copied.");
      } catch {
        window.prompt("The link to this state:", link);
      }
    });
  }

  let spoken;
  const say = (text) => {
    words.textContent = text;
    clearTimeout(spoken);
    // Python hears of it once the reader has let go.
    spoken = setTimeout(() => { model.set("result", text); model.save_changes(); }, 300);
  };
  const figure = {
    stage, model, buttons, button, set, say,
    data: model.get("data"),
    label: (name) => controls[name].label,
    text: (name, value) => withUnit(controls[name], value),
    control: (name) => controls[name],
    redraw: () => ask(),
    // Take away the controls that mean nothing at the moment, and only those.
    hide: (idle) => { for (const name of names) boxes[name].hidden = idle.includes(name); },
  };
  const draw = start(figure);

  let waiting = 0;
  const update = () => {
    waiting = 0;
    const state = current();
    names.forEach((name, place) => show[place](state[name]));
    const width = Math.max(280, Math.floor(stage.clientWidth));
    const text = draw(state, width);
    if (text) say(text);
  };
  const ask = () => { waiting ||= requestAnimationFrame(update); };
  const changed = () => {
    ask();
    model.remember?.(() => writeState(controls, current()));
  };
  for (const name of names) model.on(`change:${name}`, changed);
  let width = 0;
  const sized = new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) > 1) { width = entry.contentRect.width; ask(); }
  });
  sized.observe(stage);
  // Both the theme of the course and that of JupyterLab say so in an attribute.
  const themed = new MutationObserver(ask);
  themed.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  themed.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  update();

  return () => {
    for (const name of names) model.off(`change:${name}`, changed);
    sized.disconnect();
    themed.disconnect();
    cancelAnimationFrame(waiting);
    clearTimeout(spoken);
    figure.onRemove?.();
  };
}
