// The switcher of editions: shown when `versions.json` at the top of what is published lists any.
const root = new URL(document.documentElement.dataset.content_root || "./", location.href);
const inEdition = root.pathname.match(/^(.*\/)editions\/(v\d+\.\d+)\/$/);
const top = new URL(inEdition ? inEdition[1] : root.pathname, root);
const here = inEdition ? `editions/${inEdition[2]}/` : "";

async function go(folder) {
  const page = location.pathname.slice(root.pathname.length);
  const same = new URL(folder + page, top);
  // A page may be missing from an older edition; its first page is not.
  const there = await fetch(same, { method: "HEAD" }).catch(() => ({ ok: false }));
  location.assign(there.ok ? same.href + location.hash : new URL(`${folder}index.html`, top));
}

async function show() {
  const place = document.querySelector(".sidebar-primary-items__start");
  const answer = await fetch(new URL("versions.json", top)).catch(() => ({ ok: false }));
  const versions = answer.ok ? await answer.json() : [];
  if (!place || versions.length < 2) return;
  const label = document.createElement("label");
  label.className = "edition";
  const select = document.createElement("select");
  for (const { name, folder } of versions) {
    select.add(new Option(name === "main" ? "newest" : name, folder, false, folder === here));
  }
  select.addEventListener("change", () => go(select.value));
  label.append("Edition ", select);
  place.prepend(label);
}

show();
