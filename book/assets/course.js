// What is pressed on every page. The policy of the site forbids handlers in the page itself.

const presses = { print: () => window.print(), fullscreen: () => window.toggleFullScreen() };

for (const button of document.querySelectorAll("[data-press]")) {
  button.addEventListener("click", presses[button.dataset.press]);
}

/**
 * What scrolls can be reached by key. To know what does, the browser has to lay it out: each is
 * looked at when the reader comes near, not all of a chapter as it loads.
 */
const SCROLLING = "pre, .cell_output > .output, .jp-RenderedHTMLCommon, .pst-scrollable-table-container";
const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
      target.tabIndex = scrolls ? 0 : -1;
    }
  },
  { rootMargin: "100%" },
);
let waiting;

function watch() {
  near.disconnect();
  for (const each of document.querySelectorAll(SCROLLING)) near.observe(each);
}

function watchSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(watch, 300);
}

watch();
window.addEventListener("resize", watchSoon);
new MutationObserver(watchSoon).observe(document.body, { childList: true, subtree: true });

/** Live code is loaded when the reader asks for it. */
const start = document.querySelector(".live-start");

async function live(server) {
  const { begin } = await import(new URL(start.dataset.script, document.baseURI));
  await begin(start, server);
}

start?.addEventListener("click", () => live());
document.querySelector(".live-elsewhere")?.addEventListener("submit", (event) => {
  event.preventDefault();
  live(Object.fromEntries(new FormData(event.target)));
});
