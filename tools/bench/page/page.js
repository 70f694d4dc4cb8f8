// Sends the chosen file with the client, or with bare requests; tools/bench/sending.py calls these functions.
import { Sluice } from "/client/index.js";

const file = () => document.querySelector("input").files[0];

/** Milliseconds until S3 has the last byte, and until the file is put together. */
window.withClient = async (api, token) => {
  const began = performance.now();
  let sent;
  let together;
  const upload = new Sluice({ api, token: () => token }).upload(file(), {
    type: "application/octet-stream",
    wait: 0,
    progress: (bytes, all) => {
      if (bytes === all) sent ??= performance.now() - began;
    },
    stage: (stage) => {
      if (stage === "checking") together = performance.now() - began;
    },
  });
  await upload.done;
  return [sent, together];
};

/** The same, by requests whose links and checksums are there before. */
window.withFetch = async (links, partSize, parallel, complete, token) => {
  const began = performance.now();
  const left = [...links];
  const lane = async () => {
    for (let link; (link = left.shift()); ) {
      const { "content-length": _, ...headers } = link.headers;
      const from = (link.part_number - 1) * partSize;
      const answer = await fetch(link.url, { method: "PUT", headers, body: file().slice(from, from + partSize) });
      if (!answer.ok) throw new Error(`part ${link.part_number}: ${answer.status} ${await answer.text()}`);
      await answer.text();
    }
  };
  await Promise.all(Array.from({ length: parallel }, lane));
  const sent = performance.now() - began;
  const headers = { Authorization: `Bearer ${token}`, "Content-Type": "application/json" };
  const answer = await fetch(complete, { method: "POST", headers, body: "{}" });
  if (!answer.ok) throw new Error(`complete: ${answer.status} ${await answer.text()}`);
  return [sent, performance.now() - began];
};
