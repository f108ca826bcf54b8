// What is pressed on every page. The policy of the site forbids handlers in the page itself.

const presses = { print: () => window.print(), fullscreen: () => window.toggleFullScreen() };

for (const button of document.querySelectorAll("[data-press]")) {
  button.addEventListener("click", presses[button.dataset.press]);
}

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
