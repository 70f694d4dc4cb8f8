// What only browsers have, with stand-ins for it: workers, XMLHttpRequest, IndexedDB, Trusted Types.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type TestContext, test } from "node:test";
import { IDBFactory } from "fake-indexeddb";
import { type Saved, indexedDbStore } from "../src/index.js";
import { hashing } from "../src/hashing.js";
import { machine } from "../src/machine.js";

/** Put something where a browser has it, for the time of one test. */
function with_(context: TestContext, name: string, value: unknown): void {
  const before = Object.getOwnPropertyDescriptor(globalThis, name);
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  context.after(() =>
    before ? Object.defineProperty(globalThis, name, before) : Reflect.deleteProperty(globalThis, name),
  );
}

const sha256 = (text: string) => createHash("sha256").update(text).digest();

class FakeWorker {
  static made: FakeWorker[] = [];
  static open = 0;
  static most = 0;
  onmessage?: (event: { data: ArrayBuffer | null }) => void;
  onerror?: (event: unknown) => void;
  constructor(
    readonly url: unknown,
    readonly options?: unknown,
  ) {
    FakeWorker.made.push(this);
  }
  postMessage(blob: Blob): void {
    FakeWorker.most = Math.max(FakeWorker.most, ++FakeWorker.open);
    setTimeout(async () => {
      const data = await blob.arrayBuffer().then(
        (bytes) => new Uint8Array(createHash("sha256").update(Buffer.from(bytes)).digest()).buffer,
        () => null,
      );
      FakeWorker.open--;
      this.onmessage!({ data });
    }, 5);
  }
  static reset(): void {
    Object.assign(FakeWorker, { made: [], open: 0, most: 0 });
  }
}

test("checksums are taken in workers, one a core, four at most", async (context) => {
  for (const [cores, most] of [
    [2, 2],
    [16, 4],
  ] as const) {
    FakeWorker.reset();
    with_(context, "Worker", FakeWorker);
    with_(context, "navigator", { hardwareConcurrency: cores });
    const hash = hashing();
    const texts = Array.from({ length: 20 }, (_, at) => `part ${at}`);
    const found = await Promise.all(texts.map((text) => hash(new Blob([text]))));
    assert.deepEqual(
      found,
      texts.map((text) => sha256(text).toString("base64")),
    );
    assert.deepEqual([FakeWorker.made.length, FakeWorker.most], [most, most]);
    assert.deepEqual(FakeWorker.made[0]!.options, { type: "module" });
    assert.match(String(FakeWorker.made[0]!.url), /\/hasher\.js$/);
  }
});

test("a page with Trusted Types names one policy", async (context) => {
  FakeWorker.reset();
  with_(context, "Worker", FakeWorker);
  const policies: string[] = [];
  with_(context, "trustedTypes", {
    createPolicy: (name: string, rules: { createScriptURL: (url: string) => string }) => {
      policies.push(name);
      return { createScriptURL: (url: string) => ({ trusted: rules.createScriptURL(url) }) };
    },
  });
  await Promise.all([hashing()(new Blob(["a"])), hashing()(new Blob(["b"]))]);
  assert.deepEqual(policies, ["sluice"]);
  assert.match((FakeWorker.made[0]!.url as { trusted: string }).trusted, /hasher\.js$/);
});

test("where workers are forbidden or do not load, checksums are taken all the same", async (context) => {
  with_(context, "Worker", FakeWorker);
  const forbidden = hashing(() => {
    throw new Error("Content Security Policy");
  });
  assert.equal(await forbidden(new Blob(["a"])), sha256("a").toString("base64"));
  let made = 0;
  const missing = hashing(() => {
    made++;
    const worker = { postMessage: () => setTimeout(() => worker.onerror?.(new Error("404"))) } as unknown as Worker & {
      onerror?: (why: unknown) => void;
    };
    return worker;
  });
  for (const text of ["a", "b"]) assert.equal(await missing(new Blob([text])), sha256(text).toString("base64"));
  assert.equal(made, 1);
});

type Handle = (event: { data: Blob }) => Promise<void>;
let handler: Handle | undefined;

/** What the worker does with a message: its module sets it once. */
async function hasher(): Promise<Handle> {
  if (!handler) {
    const scope = globalThis as unknown as { onmessage?: Handle | undefined };
    scope.onmessage = undefined;
    await import("../src/hasher.js");
    handler = scope.onmessage!;
    delete scope.onmessage;
  }
  return handler;
}

test("the worker hashes what it is sent, and says when it cannot be read", async (context) => {
  const answers: unknown[] = [];
  with_(context, "postMessage", (answer: unknown) => answers.push(answer));
  const handle = await hasher();
  await handle({ data: new Blob(["abc"]) });
  await handle({ data: { size: 3, arrayBuffer: () => Promise.reject(new Error("changed")) } as unknown as Blob });
  assert.deepEqual(Buffer.from(answers[0] as ArrayBuffer), sha256("abc"));
  assert.equal(answers[1], 0);
});

test("the worker reads into one buffer, and finds another way where a browser does not", async (context) => {
  const answers: unknown[] = [];
  with_(context, "postMessage", (answer: unknown) => answers.push(Buffer.from(answer as ArrayBuffer)));
  const handle = await hasher();
  const buffers = new Set<ArrayBuffer>();
  const blob = (text: string, known: number) => {
    const bytes = new TextEncoder().encode(text);
    const read = async (view: Uint8Array<ArrayBuffer>) => {
      buffers.add(view.buffer);
      view.set(bytes.subarray(0, known));
      return { value: view.subarray(0, known) };
    };
    const stream = () => {
      if (!known) throw new TypeError("no such reader");
      return { getReader: () => ({ read }) };
    };
    return { size: bytes.length, stream, arrayBuffer: async () => bytes.buffer } as unknown as Blob;
  };
  for (const text of ["first", "other"]) await handle({ data: blob(text, 5) });
  assert.equal(buffers.size, 1);
  // Without `min` a read may have less; without such readers there is none.
  await handle({ data: blob("parts", 2) });
  await handle({ data: blob("never", 0) });
  assert.deepEqual(answers, ["first", "other", "parts", "never"].map(sha256));
});

class FakeRequest {
  static last: FakeRequest;
  upload: { onprogress?: (event: { loaded: number }) => void } = {};
  headers: Record<string, string> = {};
  status = 0;
  responseText = "";
  opened: string[] = [];
  sent: unknown;
  onload?: () => void;
  onerror?: () => void;
  onabort?: () => void;
  onloadend?: () => void;
  constructor() {
    FakeRequest.last = this;
  }
  open(...given: string[]): void {
    this.opened = given;
  }
  setRequestHeader(name: string, value: string): void {
    this.headers[name] = value;
  }
  getResponseHeader(name: string): string | null {
    return name === "Retry-After" ? "3" : null;
  }
  send(body: unknown): void {
    this.sent = body;
  }
  abort(): void {
    this.onabort!();
    this.onloadend!();
  }
}

test("browsers tell how much of a part is sent", async (context) => {
  with_(context, "XMLHttpRequest", FakeRequest);
  const { send } = machine({});
  const told: number[] = [];
  const body = new Blob(["part"]);
  const answer = send(
    "PUT",
    "https://s3/1",
    { "x-amz-checksum-sha256": "c" },
    body,
    new AbortController().signal,
    (sent) => told.push(sent),
  );
  const request = FakeRequest.last;
  request.upload.onprogress!({ loaded: 2 });
  Object.assign(request, { status: 503, responseText: "<Code>SlowDown</Code>" });
  request.onload!();
  request.onloadend!();
  const { status, header, text } = await answer;
  assert.deepEqual([status, header("Retry-After"), text], [503, "3", "<Code>SlowDown</Code>"]);
  assert.deepEqual(
    [request.opened, request.headers, request.sent, told],
    [["PUT", "https://s3/1"], { "x-amz-checksum-sha256": "c" }, body, [2]],
  );
});

test("a request that is stopped, lost or stalled ends", async (context) => {
  with_(context, "XMLHttpRequest", FakeRequest);
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { send } = machine({});
  const control = new AbortController();
  const begin = () => send("PUT", "https://s3/1", {}, new Blob(["part"]), control.signal, () => {});
  const lost = begin();
  FakeRequest.last.onerror!();
  FakeRequest.last.onloadend!();
  await assert.rejects(lost, /connection lost/);
  const stalled = begin();
  context.mock.timers.tick(59_000);
  FakeRequest.last.upload.onprogress!({ loaded: 1 });
  context.mock.timers.tick(59_000);
  let ended = false;
  stalled.catch(() => (ended = true));
  await Promise.resolve();
  assert.equal(ended, false);
  context.mock.timers.tick(1_000);
  await assert.rejects(stalled, /connection lost/);
  const stopped = begin();
  control.abort();
  await assert.rejects(stopped, /connection lost/);
});

test("IndexedDB remembers uploads across pages", async (context) => {
  with_(context, "indexedDB", new IDBFactory());
  const saved: Saved = {
    key: "k1",
    api: "https://api",
    file_id: "f1",
    file_name: "film.mov",
    size: 1,
    last_modified: 2,
    content_type: "video/quicktime",
    expires_time: "2026-01-01T00:00:00.000Z",
  };
  await indexedDbStore().save(saved);
  await indexedDbStore().save({ ...saved, file_id: "f2" });
  await indexedDbStore().save({ ...saved, key: "k2" });
  assert.deepEqual(
    (await indexedDbStore().all()).map((each) => [each.key, each.file_id]),
    [
      ["k1", "f2"],
      ["k2", "f1"],
    ],
  );
  await indexedDbStore().forget("k1");
  assert.deepEqual(
    (await indexedDbStore().all()).map((each) => each.key),
    ["k2"],
  );
  await assert.rejects(indexedDbStore().save({ ...saved, handle: (() => 1) as never }), /could not be cloned|clone/);
});
