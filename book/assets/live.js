// Live code: the cells of this page become editable and run on a kernel.
//
// The client is thebe, from this site. Its own way to begin is not taken: it runs cells in whatever
// order they are pressed, knows nothing of cells that the page does not show, and asks another host
// for MathJax. Here a cell runs after all that stand before it in the chapter, as in the book.

const EXHIBIT = "application/vnd.funnel.exhibit+json";
const PATIENCE = 3; // times that a silent server is asked

/** All of a page that is live: its cells, the bar at its foot, and the session, once there is one. */
let page;

/** Start, or start again. */
export async function begin(button, server) {
  if (page?.busy || page?.session) return;
  button.disabled = true;
  try {
    page ??= await prepare(button);
    await page.connect(server);
  } catch (error) {
    page?.lost(error);
    if (!page) said(button, `Live code could not be loaded: ${error.message}`);
  } finally {
    button.disabled = Boolean(page?.session);
  }
}

function said(button, text) {
  const place = element("p", { className: "live-fault", role: "alert" }, text);
  button.closest(".live").querySelector(".live-fault")?.remove();
  button.closest(".live").append(place);
}

function element(name, properties, ...children) {
  const made = document.createElement(name);
  const { role, ...rest } = properties;
  if (role) made.setAttribute("role", role);
  Object.assign(made, rest);
  made.append(...children);
  return made;
}

function load(name, properties) {
  return new Promise((resolve, reject) => {
    const tag = element(name, properties);
    tag.onload = resolve;
    tag.onerror = () => reject(new Error(`${properties.src ?? properties.href} is not there`));
    document.head.append(tag);
  });
}

async function prepare(button) {
  const { cells, style, thebe } = button.dataset;
  const [sources] = await Promise.all([
    fetch(cells).then((answer) => {
      if (!answer.ok) throw new Error(`${cells} is not there`);
      return answer.json();
    }),
    load("link", { rel: "stylesheet", href: style }),
    load("script", { src: thebe }),
  ]);
  return new Page(button, sources);
}

class Page {
  constructor(button, sources) {
    this.button = button;
    this.sources = sources;
    this.done = 0; // how many cells, from the first on, have run as they stand now
    this.busy = false;
    this.session = null;
    this.buildBar();
  }

  buildBar() {
    const press = (text, act) => element("button", { type: "button", onclick: act }, text);
    this.status = element("span", { className: "live-status", role: "status" });
    this.buttons = [
      press("Run all", () => this.run(this.cells.length - 1)),
      press("Restart", () => this.restart()),
      press("Stop", () => this.stop()),
    ];
    this.bar = element("div", { className: "live-bar", role: "region" }, this.status, ...this.buttons);
    this.bar.setAttribute("aria-label", "Live code");
    document.querySelector("article").append(this.bar);
    this.show();
  }

  say(text) {
    this.status.textContent = text;
  }

  show() {
    for (const button of [...this.buttons, ...document.querySelectorAll(".live-run")]) {
      button.disabled = !this.session || (this.busy && button.textContent !== "Stop");
    }
    this.button.disabled = Boolean(this.session);
    document.documentElement.toggleAttribute("data-live", Boolean(this.session));
  }

  /** Ask for a kernel: on the server that the reader named, on that of the class, or on Binder. */
  async connect(server) {
    const { api } = window.thebeCore;
    const { binder, path, ref, repository } = this.button.dataset;
    const address = server?.address ?? this.button.dataset.server;
    this.say(address ? `Asking ${address} for a kernel.` : "Asking Binder for a kernel.");
    const events = api.makeEvents();
    const config = api.makeConfiguration(
      {
        mathjaxUrl: "",
        mathjaxConfig: "",
        kernelOptions: { kernelName: "python3", path },
        binderOptions: { binderUrl: binder, repo: repository, ref, repoProvider: "github" },
        ...(address && {
          serverSettings: {
            baseUrl: address.replace(/\/*$/, "/"),
            token: server?.token ?? "",
            appendToken: true,
          },
        }),
      },
      events,
    );
    events.on("status", (_, { subject, message }) => {
      if (subject === "server" && !this.session) this.say(message);
    });
    this.server = api.makeServer(config);
    if (address) this.server.connectToJupyterServer();
    else this.server.connectToServerViaBinder();
    await this.server.ready;
    if (!this.notebook) this.makeNotebook(config);
    const session = await this.server.startNewSession(this.notebook.rendermime);
    // Widgets would need scripts of other hosts; exhibits are brought to life by this site's own.
    session.kernel.handleComms = false;
    session.manager.removeWidgetFactories();
    this.notebook.attachSession(session);
    this.session = session;
    this.done = 0;
    this.gone = new Promise((_, reject) => (this.giveUp = reject));
    this.gone.catch(() => {});
    this.watch(session);
    this.say("Ready. A cell runs after all that stand before it.");
    this.show();
  }

  makeNotebook(config) {
    const { api } = window.thebeCore;
    const rendermime = api.makeRenderMimeRegistry(config.mathjax);
    rendermime.addFactory(exhibits(rendermime.getFactory("image/png")), 0);
    const blocks = this.sources.map(({ index, source }) => ({ id: `live-${index}`, source }));
    this.notebook = api.setupNotebookFromBlocks(blocks, config, rendermime);
    this.cells = this.notebook.cells;
    this.execute = this.cells.map((cell) => cell.execute.bind(cell));
    this.places = this.sources.map(({ index }) => document.querySelector(`[data-cell="${index}"]`));
    this.cells.forEach((cell, k) => {
      // What the editor calls when the reader presses Shift+Enter.
      cell.execute = () => this.run(k);
      if (this.places[k]) this.dress(cell, k);
    });
    this.places.forEach((place, k) => place && this.edited(k));
  }

  /** Give a cell of the page an editor, a button and a place for what it puts out. */
  dress(cell, k) {
    const place = this.places[k];
    const source = place.querySelector(".cell_input [class*=highlight-]");
    const output = element("div", { className: "live-output" });
    const figure = place.querySelector(".cell_output figure");
    const shown = place.querySelector(".cell_output img")?.alt;
    if (figure && !figure.closest(".exhibit")) figure.prepend(output);
    else place.append(output);
    // What a figure shows after a change, nobody has written down.
    const words = shown ? `Made just now. As in the book it shows: ${shown}` : "Made just now by this cell.";
    new MutationObserver(() => {
      for (const image of output.querySelectorAll("img:not([alt])")) image.alt = words;
    }).observe(output, { childList: true, subtree: true });
    if (!source) {
      cell.attachToDOM(output);
      return;
    }
    const placeholders = { source, output };
    const options = { codeMirrorConfig: { lineNumbers: false, theme: "default" } };
    window.thebe.renderAllCells(options, this.notebook, [{ id: cell.id, placeholders }]);
    const box = place.querySelector(".thebe-cell");
    const input = box.querySelector("textarea");
    input.setAttribute("aria-label", "Code of this cell. Escape leaves it, Shift+Enter runs it.");
    const run = { type: "button", className: "live-run", onclick: () => this.run(k) };
    const button = element("button", run, "Run");
    // Code may be folded away; its button is not.
    const fold = box.closest("details");
    if (fold) fold.after(button);
    else box.append(button);
  }

  /** What was changed, and all after it, has to run again. */
  edited(k) {
    const editor = this.places[k].querySelector(".CodeMirror")?.CodeMirror;
    editor?.on("change", () => this.stale(k));
  }

  stale(k) {
    this.done = Math.min(this.done, k);
    this.mark();
  }

  /** Mark what was put out by code that stands there no more. */
  mark() {
    this.places.forEach((place, k) => {
      place?.classList.toggle("live-stale", k >= this.done && place.classList.contains("live-ran"));
    });
  }

  /** Run a cell, after all before it that have not run as they stand. */
  async run(k) {
    if (!this.session || this.busy) return null;
    this.stale(k);
    this.busy = true;
    this.show();
    let reply = null;
    try {
      while (this.done <= k) {
        const at = this.done;
        this.say(`Running cell ${at + 1} of ${this.cells.length}.`);
        this.places[at]?.classList.add("live-running");
        reply = await Promise.race([this.execute[at](), this.gone]);
        this.places[at]?.classList.remove("live-running");
        this.places[at]?.classList.add("live-ran");
        if (!reply || reply.error) {
          this.failed(at, reply);
          return reply;
        }
        // The reader may have changed it, or one before it, in the meantime.
        this.done = Math.min(this.done, at) + (this.done === at ? 1 : 0);
        this.mark();
      }
      this.say("Ready.");
    } catch (error) {
      this.lost(error);
    } finally {
      this.busy = false;
      for (const place of this.places) place?.classList.remove("live-running");
      this.show();
    }
    return reply;
  }

  failed(at, reply) {
    const [fault] = reply?.error ?? [];
    const what = fault ? `${fault.ename}: ${fault.evalue}` : "it was interrupted";
    this.say(`Cell ${at + 1} stopped: ${what}. Nothing after it ran.`);
    this.places[at]?.scrollIntoView({ block: "nearest" });
  }

  watch({ kernel }) {
    kernel.statusChanged.connect((_, state) => {
      if (state === "autorestarting") this.begun("The kernel died and was started again");
      if (state === "dead") this.lost(new Error("The kernel is dead."));
    });
    kernel.connectionStatusChanged.connect((_, state) => {
      if (state !== "connected") this.check();
    });
  }

  /** Ask a silent server a few times whether it is there. */
  async check() {
    if (this.checking || !this.session) return;
    this.checking = true;
    for (let times = 1; times <= PATIENCE; times += 1) {
      this.say("The connection is lost. Trying again.");
      if (await this.server.check().catch(() => false)) {
        this.say("The connection is back.");
        this.checking = false;
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    this.checking = false;
    this.lost(new Error("The server does not answer any more."));
  }

  begun(why) {
    this.done = 0;
    this.mark();
    this.say(`${why}: all variables are gone. Cells run from the first on.`);
  }

  async restart() {
    this.say("Restarting the kernel.");
    try {
      await Promise.race([this.session.restart(), this.gone]);
      this.begun("The kernel was started again");
    } catch (error) {
      this.lost(error);
    }
  }

  async stop() {
    const { session } = this;
    this.end();
    this.say("Stopped. What you changed stays until you leave the page.");
    await session?.shutdown().catch(() => {});
  }

  /** Go back to a page to read, with what was changed and put out. */
  end() {
    const { session } = this;
    this.session = null;
    this.giveUp?.(new Error("Stopped."));
    this.done = 0;
    if (session) this.notebook.detachSession();
    this.show();
    return session;
  }

  lost(error) {
    const had = this.session;
    const text = error.message ?? String(error);
    if (text === "Stopped.") return;
    const session = this.end();
    session?.dispose();
    this.server?.dispose();
    this.say(
      had
        ? `${text} The page can be read on, with what you changed; press "Live code" to start again.`
        : `There is no kernel: ${text}`,
    );
  }
}

/** Show exhibits as the page does: the renderer of pictures lends its widget. */
function exhibits(pictures) {
  const createRenderer = (options) => {
    const widget = pictures.createRenderer({ ...options, mimeType: "image/png" });
    widget.renderModel = async (model) => {
      const { exhibit, description } = model.data[EXHIBIT];
      const shown = document.querySelector(`#exhibit-${exhibit}`);
      const loader = document.querySelector('script[src*="exhibits/loader.js"]');
      if (!shown || !loader) return;
      const data = element("script", { type: "application/json" }, description);
      const place = element("div", { className: "exhibit" }, data);
      place.dataset.module = shown.dataset.module;
      widget.node.replaceChildren(place);
      const { bring } = await import(loader.src);
      await bring(place);
    };
    return widget;
  };
  return { safe: true, mimeTypes: [EXHIBIT], defaultRank: 0, createRenderer };
}
