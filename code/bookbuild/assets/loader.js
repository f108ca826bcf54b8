// Brings the exhibits of a page to life, each when the reader comes near it.
//
// The still picture stays until the script is there, and for good if it never comes. The state of
// an exhibit is in the fragment of the address: `#exhibit-shrinkage?sigma_a=0.2`.

/** What an anywidget calls its model, without a kernel: named values and who listens to them. */
class Model {
  constructor({ state, ...rest }, id) {
    this.id = id;
    this.values = { ...rest, ...state };
    this.fragment = fragment(id);
    this.listeners = new Map();
    this.changed = new Set();
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    if (this.values[name] === value) return;
    this.values[name] = value;
    this.changed.add(name);
  }

  save_changes() {
    const names = [...this.changed];
    this.changed.clear();
    for (const name of names) for (const tell of this.listeners.get(`change:${name}`) ?? []) tell();
  }

  on(event, tell) {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), tell]);
  }

  off(event, tell) {
    this.listeners.set(event, (this.listeners.get(event) ?? []).filter((other) => other !== tell));
  }

  /** The address of this page with a state of this exhibit, as `frame.js` writes it. */
  address(text) {
    return `${location.href.split("#")[0]}#${this.id}${text ? `?${text}` : ""}`;
  }

  /** Keep the state in the address, once the reader has let go. */
  remember(write) {
    clearTimeout(this.writing);
    this.writing = setTimeout(() => history.replaceState(history.state, "", this.address(write())), 250);
  }
}

/** What the fragment of the address says after `?`, if it is about this exhibit. */
function fragment(id) {
  const start = `#${id}?`;
  return location.hash.startsWith(start) ? location.hash.slice(start.length) : "";
}

/** Bring an exhibit to life: an element with the address of its script, and its data as JSON. */
export async function bring(place) {
  const live = document.createElement("div");
  live.className = "exhibit-place";
  place.append(live);
  try {
    const { default: module } = await import(new URL(place.dataset.module, import.meta.url));
    const description = JSON.parse(place.querySelector("script").textContent);
    place.classList.add("live");
    await module.render({ model: new Model(description, place.id), el: live });
  } catch (error) {
    place.classList.remove("live");
    live.textContent = "This figure could not be brought to life; the picture shows how it begins.";
    throw error;
  }
}

const near = new IntersectionObserver((seen) => {
  for (const { isIntersecting, target } of seen) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    bring(target);
  }
}, { rootMargin: "500px" });

for (const place of document.querySelectorAll(".exhibit")) {
  near.observe(place);
  // A link to a state: the browser knows no element with a name like that.
  if (fragment(place.id)) place.scrollIntoView();
}
