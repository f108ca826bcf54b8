/**
 * The engine in a Web Worker. It takes one message, a request of `run`, and answers with batches
 * and ends, or with `{type: "error", message}`. Whoever started the worker cancels by ending it.
 */

import { run } from "./run.js";

self.onmessage = ({ data }) => {
  try {
    run(data, (message, transfer) => self.postMessage(message, transfer));
  } catch (error) {
    self.postMessage({ type: "error", message: error.message });
  }
};
