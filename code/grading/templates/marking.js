"use strict";
// Points and comments are kept in this browser, and leave it only as a table for download.
const main = document.querySelector("main");
const { question, set } = main.dataset;
const inputs = [...document.querySelectorAll("input[data-kind=points]")];
const comment = (input) => input.closest("section").querySelector("textarea");
const place = `marks ${set} ${question} ${location.pathname}`;

let drafts = {};
try {
  drafts = JSON.parse(localStorage.getItem(place)) ?? {};
} catch {
  // Storage is blocked, or holds something else: then nothing is kept.
}

function formula(text) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.replace(/(^|(?<=[;,|]))(\s*)('*[=+\-@＝＋－＠])/g, "$2'$3");
}

function cell(text) {
  return /[",;\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function table() {
  const lines = ["student,question,points,comment"];
  for (const input of inputs) {
    if (input.value === "" && comment(input).value.trim() === "") continue;
    const fields = [input.dataset.student, question, input.value, formula(comment(input).value)];
    lines.push(fields.map(cell).join(","));
  }
  return `${lines.join("\n")}\n`;
}

function show() {
  const marked = inputs.filter((input) => input.value !== "").length;
  const wrong = inputs.filter((input) => !input.checkValidity());
  const words = wrong.length
    ? ` ${wrong.map((input) => document.querySelector(`label[for=${input.id}]`).textContent).join("; ")}: out of range.`
    : "";
  document.querySelector("#progress").textContent = `${marked} of ${inputs.length} marked.${words}`;
  document.querySelector("#download").disabled = wrong.length > 0;
}

for (const input of inputs) {
  const other = comment(input);
  const draft = drafts[input.dataset.student];
  // What was marked before the page was made is its default value; a draft against it is newer.
  if (draft && draft.from === `${input.defaultValue} ${other.defaultValue}`) {
    input.value = draft.points;
    other.value = draft.comment;
  }
  for (const field of [input, other]) {
    field.addEventListener("input", () => {
      drafts[input.dataset.student] = {
        from: `${input.defaultValue} ${other.defaultValue}`,
        points: input.value,
        comment: other.value,
      };
      try {
        localStorage.setItem(place, JSON.stringify(drafts));
      } catch {
        // As above.
      }
      show();
    });
  }
}

document.querySelector("#download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([table()], { type: "text/csv" }));
  link.download = `${question}.csv`;
  link.click();
  URL.revokeObjectURL(link.href);
});
show();
