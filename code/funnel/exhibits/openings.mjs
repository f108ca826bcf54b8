// Make runs of the exhibit `sampler` before: `python -m bookbuild.openings`.
//
//     node openings.mjs GIVEN.json
//
// takes `{data, states, county}` and prints, for each state, what the page shows of its run.

import { readFileSync } from "node:fs";

import { add, emptyResult } from "./engine/client.js";
import { run } from "./engine/run.js";
import { digest, report, request } from "./shared/sampling.js";

const { data, states, county } = JSON.parse(readFileSync(process.argv[2]));
const short = (key, value) => (typeof value === "number" ? Number(value.toPrecision(4)) : value);
const made = states.map(({ county: _, ...state }) => {
  const asked = request(data, state);
  const result = emptyResult(asked.settings);
  const start = performance.now();
  run({ ...asked, indices: [0, 1, 2, 3] }, (message) => {
    if (message.type === "batch") add(result, message);
    else Object.assign(result.position, { [message.chain]: message.position, mass: message.inverseMass });
  });
  result.seconds = (performance.now() - start) / 1000;
  const [position, inverseMass] = [result.position[3], result.position.mass].map((v) => Array.from(v));
  return {
    state,
    report: report(data.exact[state.model], state.model, result),
    digest: digest(data, state, result, county),
    start: { position, inverseMass, stepSize: result.stepSize[3] },
  };
});
console.log(JSON.stringify(made, short));
