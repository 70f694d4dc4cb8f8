import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { type TestContext, test } from "node:test";
import {
  type Machine,
  type Options,
  Sluice,
  SluiceError,
  type Stage,
  type Store,
  type Upload,
  memoryStore,
} from "../src/index.js";
import { FakeSluice, PART } from "./fake_sluice.js";

// 13 parts, each with bytes of its own. A view of one buffer is enough for all tests.
const COUNT = 13;
const SIZE = 12 * PART + 1000;
const bytes = new Uint8Array(SIZE);
for (let at = 0; at < SIZE; at += PART) bytes[at] = 1 + at / PART;
const film = (change?: (content: Uint8Array<ArrayBuffer>) => void, lastModified = 1_700_000_000_000) => {
  let content = bytes;
  if (change) change((content = bytes.slice()));
  return new File([content], "film.mov", { type: "video/quicktime", lastModified });
};
const FILM = film();
const note = (text = "hello") => new File([text], "note.txt", { type: "text/plain", lastModified: 1_600_000_000_000 });
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, at) => from + at);
const sorted = (found: number[]) => [...found].sort((one, other) => one - other);
const whole = () => {
  const digests = numbers(1, COUNT).map((each) =>
    createHash("sha256")
      .update(bytes.subarray((each - 1) * PART, each * PART))
      .digest(),
  );
  return `${createHash("sha256").update(Buffer.concat(digests)).digest("base64")}-${COUNT}`;
};

interface World {
  server: FakeSluice;
  slept: number[];
  client: (more?: Partial<Options>, on?: Partial<Machine>) => Sluice;
}

/** A server, and a clock that runs while the client sleeps. */
async function world(context: TestContext): Promise<World> {
  const server = await new FakeSluice().listen();
  context.after(() => server.close());
  const slept: number[] = [];
  let ahead = 0;
  const now = () => Date.now() + ahead;
  server.now = now;
  const fake: Partial<Machine> = {
    now,
    random: () => 1,
    sleep: async (milliseconds, signal) => {
      signal?.throwIfAborted();
      slept.push(milliseconds);
      ahead += milliseconds;
      await new Promise((resolve) => setTimeout(resolve, 1));
    },
  };
  const client: World["client"] = (more = {}, on = {}) =>
    new Sluice({
      api: `${server.api}/`,
      token: () => "token",
      store: memoryStore(),
      ...more,
      machine: { ...fake, ...on },
    });
  return { server, slept, client };
}

const rejects = (work: Promise<unknown>, code: string, words = /./) =>
  assert.rejects(work, (error) => {
    assert.ok(error instanceof SluiceError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, words);
    return true;
  });

/** Wait until something is so. */
async function until(is: () => boolean): Promise<void> {
  for (let tries = 0; !is(); tries++) {
    assert.ok(tries < 3000, "it never came to be");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test("a small file goes in one piece, with its checksum", async (context) => {
  const { server, client } = await world(context);
  const stages: Stage[] = [];
  const told: number[][] = [];
  const upload = client().upload(note(), {
    stage: (stage) => stages.push(stage),
    progress: (sent, total) => told.push([sent, total]),
  });
  const file = await upload.done;
  assert.deepEqual(
    [file.file_name, file.size, file.content_type, file.state, file.checksum],
    ["note.txt", 5, "text/plain", "available", createHash("sha256").update("hello").digest("base64")],
  );
  assert.deepEqual(stages, ["starting", "sending", "checking", "done"]);
  assert.deepEqual(told.at(-1), [5, 5]);
  assert.equal(server.count("POST /s3/"), 1);
});

test("a large file starts without a checksum, goes in parts, and ends with the checksum that was taken meanwhile", async (context) => {
  const { server, client } = await world(context);
  const told: number[] = [];
  const file = await client().upload(FILM, { progress: (sent) => told.push(sent) }).done;
  const [kept] = [...server.uploads.values()];
  assert.equal(kept!.declared.checksum, undefined);
  assert.equal(kept!.declared.part_checksums?.length, 4);
  assert.deepEqual(sorted(server.put), numbers(1, COUNT));
  assert.deepEqual(server.bodies, [{ checksum: whole() }]);
  assert.equal(file.checksum, whole());
  assert.equal(told.at(-1), SIZE);
  assert.deepEqual(told, sorted(told), "progress never goes back while nothing fails");
});

test("the first byte moves before the rest of the file is read, whatever the size", async (context) => {
  const { server, client } = await world(context);
  const read: number[] = [];
  // 40 GB that exist only as far as they are read.
  const slice = (from: number, to: number) => ({ size: to - from, from, slice: () => new Blob() });
  const huge = { name: "huge.bin", size: 40e9, type: "", lastModified: 1, slice } as unknown as File;
  let sent: (value: number) => void;
  const first = new Promise<number>((resolve) => (sent = resolve));
  const upload = client(
    {},
    {
      hash: async (blob) => {
        read.push((blob as unknown as { from: number }).from);
        return createHash("sha256")
          .update(String((blob as unknown as { from: number }).from))
          .digest("base64");
      },
      send: (_method, _url, _headers, _body, signal) => {
        sent(read.length);
        return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
      },
    },
  ).upload(huge);
  const began = Date.now();
  assert.ok((await first) <= 20, "four parts, and four ahead of each");
  assert.ok(Date.now() - began < 1000);
  await upload.abort();
  assert.equal([...server.uploads.values()][0]!.state, "aborted");
});

test("parts go in parallel, four at a time", async (context) => {
  const { server, client } = await world(context);
  let open = 0;
  let most = 0;
  const plain = client().machine.send;
  await client(
    {},
    {
      send: async (...given) => {
        most = Math.max(most, ++open);
        try {
          return await plain(...given);
        } finally {
          open--;
        }
      },
    },
  ).upload(FILM).done;
  assert.equal(most, 4);
  assert.equal(server.put.length, COUNT);
});

test("what fails in passing is tried again, with pauses that double and are random", async (context) => {
  const { server, slept, client } = await world(context);
  let failures = 0;
  server.fault = (_, part) => {
    if (part === 3 && failures < 4)
      return [{ status: 503 }, "cut" as const, { status: 500 }, { status: 400, body: "<Code>RequestTimeout</Code>" }][
        failures++
      ];
    return undefined;
  };
  await client({}, { random: () => 0 }).upload(FILM).done;
  assert.deepEqual(slept.slice(0, 4), [250, 500, 1000, 2000], "half of the pause where chance is 0");
  assert.equal(server.put.filter((each) => each === 3).length, 1);
});

test("eight attempts are enough, and the upload can be resumed after them", async (context) => {
  const { server, slept, client } = await world(context);
  const sluice = client();
  server.fault = (_, part) => (part === 13 ? { status: 503 } : undefined);
  await rejects(sluice.upload(FILM).done, "refused", /S3 refused part 13/);
  assert.equal(server.count("PUT"), 12 + 8);
  assert.deepEqual(slept, [500, 1000, 2000, 4000, 8000, 16_000, 20_000]);
  server.fault = () => undefined;
  await server.quiet();
  await (
    await sluice.resume((await sluice.unfinished())[0]!, FILM)
  ).done;
  assert.deepEqual(sorted(server.put), numbers(1, COUNT), "no part twice");
});

test("Retry-After is honoured, in seconds or as a date, up to a minute", async (context) => {
  const { server, slept, client } = await world(context);
  const answers = ["7", new Date(Date.now() + 30_000).toUTCString(), "86400"];
  server.fault = (asked) => {
    const said = asked === "POST /v1/uploads" ? answers.shift() : undefined;
    return said ? { status: 429, headers: { "Retry-After": said }, body: "{}" } : undefined;
  };
  await client().upload(note()).done;
  assert.equal(slept[0], 7000);
  // The fake clock ran for 7 seconds meanwhile; a date has no fractions of a second.
  assert.ok(slept[1]! > 20_000 && slept[1]! <= 23_000, String(slept[1]));
  assert.equal(slept[2], 60_000);
});

test("a call that the API answers with 500 is tried three times", async (context) => {
  const { server, client } = await world(context);
  server.fault = (asked) =>
    asked === "POST /v1/uploads"
      ? { status: 500, body: JSON.stringify({ detail: "Trouble", request_id: "r1" }) }
      : undefined;
  await rejects(client().upload(note()).done, "refused", /Trouble/);
  assert.equal(server.count("POST /v1/uploads"), 3);
});

test("without a connection the client waits, however long, and counts no failure", async (context) => {
  const { server, slept, client } = await world(context);
  let offline = 0;
  server.fault = (_, part) => (part === 5 && offline < 20 ? "cut" : undefined);
  await client(
    {},
    {
      online: () =>
        offline < 20 && server.count("PUT") > 4
          ? new Promise((resolve) => setTimeout(() => (offline++, resolve()), 1))
          : undefined,
    },
  ).upload(FILM).done;
  assert.equal(offline, 20);
  assert.deepEqual(sorted(server.put), numbers(1, COUNT));
  assert.deepEqual(slept, []);
});

test("the default machine waits for the browser's `online`", async (context) => {
  const target = new EventTarget();
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { onLine: false }, configurable: true, writable: true });
  const add = globalThis.addEventListener;
  Object.assign(globalThis, {
    addEventListener: target.addEventListener.bind(target),
    removeEventListener: target.removeEventListener.bind(target),
  });
  context.after(() => {
    if (before) Object.defineProperty(globalThis, "navigator", before);
    else delete (globalThis as { navigator?: unknown }).navigator;
    Object.assign(globalThis, { addEventListener: add });
  });
  const { online } = new Sluice({ api: "https://api", token: () => "", store: memoryStore() }).machine;
  let came = false;
  const waiting = online()!.then(() => (came = true));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(came, false);
  const stopped = new AbortController();
  const given = assert.rejects(online(stopped.signal)!, /enough/);
  stopped.abort(new Error("enough"));
  await given;
  target.dispatchEvent(new Event("online"));
  await waiting;
  Object.defineProperty(globalThis, "navigator", { value: { onLine: true }, configurable: true, writable: true });
  assert.equal(online(), undefined);
});

test("links for many parts come in few calls", async (context) => {
  const { server, client } = await world(context);
  const parts = 200;
  const slice = (from: number, to: number) => ({ size: to - from, from, slice: () => new Blob() });
  const file = { name: "long.bin", size: parts * PART, type: "", lastModified: 1, slice } as unknown as File;
  await client(
    {},
    {
      hash: async (blob) => createHash("sha256").update(`${(blob as unknown as { from: number }).from}`).digest("base64"),
      send: async (_method, url, _headers, body) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        const { searchParams } = new URL(url);
        const [upload] = server.uploads.values();
        const stored = { size: (body as Blob).size, checksum: searchParams.get("checksum")! };
        upload!.parts.set(Number(searchParams.get("partNumber")), stored);
        return { status: 200, header: () => null, text: "" };
      },
    },
  ).upload(file).done;
  const calls = server.asked.filter((each) => each.endsWith("/parts")).length;
  assert.ok(calls <= parts / 8, `${calls} calls for links`);
});

test("links that expired are renewed in batches", async (context) => {
  const { server, client } = await world(context);
  let late = 0;
  const now = () => Date.now() + late;
  server.now = now;
  server.fault = (_, part) => {
    // After the fourth part a night goes by.
    if (part && server.put.length === 4 && !late) late = 3_600_000;
    return undefined;
  };
  const refused: number[] = [];
  await client({}, { now }).upload(FILM).done;
  assert.deepEqual(sorted(server.put), numbers(1, COUNT));
  assert.deepEqual(refused, []);
  // Seven lines of parts without the night; one call more renews what had been fetched.
  assert.ok(server.count("POST /v1/uploads/") <= 13, String(server.asked));
  const signed = server.asked.filter((each) => each.endsWith("/parts")).length;
  assert.ok(signed <= 11, `${signed} calls for links`);
});

test("a link that S3 refuses is renewed, together with those that came with it", async (context) => {
  const { server, client } = await world(context);
  let refused = 0;
  const asked: number[] = [];
  const plain = globalThis.fetch;
  server.fault = (_, part) =>
    part && part <= 4 && server.put.length === 0 && refused < 4
      ? (refused++, { status: 403, body: "<Code>AccessDenied</Code>" })
      : undefined;
  await client(
    {},
    {
      fetch: (url, init) => {
        if (String(url).endsWith("/parts"))
          asked.push((JSON.parse(String(init!.body)) as { parts: unknown[] }).parts.length);
        return plain(url, init);
      },
    },
  ).upload(FILM).done;
  assert.equal(refused, 4);
  assert.ok(
    asked.some((each) => each >= 2),
    `batches: ${asked}`,
  );
  assert.deepEqual(sorted(server.put), numbers(1, COUNT));
});

test("after a reload, what S3 has is not sent again", async (context) => {
  const { server, client } = await world(context);
  const store = memoryStore();
  server.fault = (_, part) => (part > 9 ? { status: 404, body: "<Code>NoSuchKey</Code>" } : undefined);
  await rejects(client({ store }).upload(FILM).done, "refused");
  server.fault = () => undefined;
  await server.quiet();
  const before = server.put.length;
  assert.ok(before >= 6);
  // Another page, with the same store.
  const page = client({ store });
  const [saved, ...more] = await page.unfinished();
  assert.deepEqual([saved!.file_name, saved!.size, more.length], ["film.mov", SIZE, 0]);
  const file = await (await page.resume(saved!, film())).done;
  assert.equal(file.checksum, whole());
  assert.deepEqual(sorted(server.put), numbers(1, COUNT));
  assert.deepEqual(await page.unfinished(), []);
});

test("without anything remembered, the same file is the same upload", async (context) => {
  const { server, client } = await world(context);
  server.fault = (_, part) => (part > 9 ? { status: 404, body: "<Code>NoSuchKey</Code>" } : undefined);
  await rejects(client().upload(FILM).done, "refused");
  server.fault = () => undefined;
  await server.quiet();
  await client().upload(film()).done;
  assert.equal(server.uploads.size, 1);
  assert.deepEqual(sorted(server.put), numbers(1, COUNT));
});

test("an earlier upload of the same file that ended is followed by a new one", async (context) => {
  const { server, client } = await world(context);
  const first = await client().upload(note()).done;
  assert.equal((await client().upload(note()).done).file_id, first.file_id, "it is there already");
  await client().delete(first.file_id);
  assert.notEqual((await client().upload(note()).done).file_id, first.file_id);
  assert.equal(server.uploads.size, 2);
});

test("another file with the same first part is another upload, even where all else is the same", async (context) => {
  const { server, client } = await world(context);
  const first = await client().upload(FILM).done;
  const again = await client().upload(film()).done;
  assert.deepEqual([again.file_id, server.put.length], [first.file_id, COUNT]);
  const other = await client().upload(film((content) => (content[12 * PART] = 77))).done;
  assert.notEqual(other.file_id, first.file_id);
  assert.notEqual(other.checksum, first.checksum);
  assert.equal(server.put.length, 2 * COUNT);
});

test("a browser that keeps the file goes on by itself; else a person is asked for it", async (context) => {
  const { server, client } = await world(context);
  const store = memoryStore();
  const asked: object[] = [];
  const handle = {
    requestPermission: async (how: object) => (asked.push(how), "granted"),
    getFile: async () => film(),
  } as unknown as FileSystemFileHandle;
  server.fault = (_, part) => (part > 6 ? { status: 404, body: "<Code>NoSuchKey</Code>" } : undefined);
  await rejects(client({ store }).upload(FILM, { handle }).done, "refused");
  server.fault = () => undefined;
  await server.quiet();
  const [saved] = await client({ store }).unfinished();
  const { handle: _, ...without } = saved!;
  await rejects(client({ store }).resume(without), "file-needed", /Choose film.mov again/);
  const denied = {
    ...saved!,
    handle: { ...handle, requestPermission: async () => "denied" } as unknown as FileSystemFileHandle,
  };
  await rejects(client({ store }).resume(denied), "file-needed");
  await (
    await client({ store }).resume(saved!)
  ).done;
  assert.deepEqual(asked, [{ mode: "read" }]);
  assert.deepEqual(sorted(server.put), numbers(1, COUNT));
});

test("another file is refused: by name, size and time, and by its bytes", async (context) => {
  const { server, client } = await world(context);
  const store = memoryStore();
  server.fault = (_, part) => (part > 6 ? { status: 404, body: "<Code>NoSuchKey</Code>" } : undefined);
  const sluice = client({ store });
  await rejects(sluice.upload(FILM).done, "refused");
  server.fault = () => undefined;
  await server.quiet();
  const [saved] = await sluice.unfinished();
  const before = server.put.length;
  for (const other of [
    new File([FILM], "other.mov", { lastModified: FILM.lastModified }),
    new File([FILM], "film.mov", { lastModified: FILM.lastModified + 1 }),
    new File([FILM.slice(1)], "film.mov", { lastModified: FILM.lastModified }),
  ])
    await rejects(sluice.resume(saved!, other), "other-file");
  const disguised = film((content) => content.fill(9));
  await rejects((await sluice.resume(saved!, disguised)).done, "other-file", /not the film.mov/);
  assert.equal(server.put.length, before, "nothing of it was sent");
  assert.equal((await sluice.unfinished()).length, 1, "the right file can still come");
  await (
    await sluice.resume(saved!, FILM)
  ).done;
  assert.deepEqual(sorted(server.put), numbers(1, COUNT));
});

test("a file that changed since it was interrupted is told and not mixed", async (context) => {
  const { server, client } = await world(context);
  const store = memoryStore();
  server.fault = (_, part) => (part > 6 ? { status: 404, body: "<Code>NoSuchKey</Code>" } : undefined);
  const sluice = client({ store });
  await rejects(sluice.upload(FILM).done, "refused");
  server.fault = () => undefined;
  await server.quiet();
  const [saved] = await sluice.unfinished();
  const changed = film((content) => (content[2 * PART + 5] = 7));
  await rejects((await sluice.resume(saved!, changed)).done, "changed", /changed while it was sent/);
  assert.equal(server.uploads.get(saved!.file_id)!.state, "aborted");
  assert.equal(server.count(`POST /v1/uploads/${saved!.file_id}/complete`), 0);
  assert.deepEqual(await sluice.unfinished(), []);
  const file = await sluice.upload(changed).done;
  assert.notEqual(file.file_id, saved!.file_id);
});

test("a file that changes while it is sent is told, and nothing of it stays", async (context) => {
  const { server, client } = await world(context);
  // What the browser does: after a change, nothing of the file can be read.
  let readable = true;
  const file = new Proxy(FILM, {
    get(target, name) {
      if (name !== "slice") return Reflect.get(target, name) as unknown;
      return (from: number, to: number) => {
        const piece = target.slice(from, to);
        return readable
          ? piece
          : Object.assign(Object.create(piece) as Blob, {
              slice: () => ({ arrayBuffer: () => Promise.reject(new DOMException("", "NotReadableError")) }),
            });
      };
    },
  });
  server.fault = (_, part) => {
    if (part !== 2) return undefined;
    readable = false;
    return "cut";
  };
  await rejects(client().upload(file).done, "changed");
  assert.equal([...server.uploads.values()][0]!.state, "aborted");
});

test("bytes that changed on the way are sent again; those that changed on the disk are told", async (context) => {
  const { server, client } = await world(context);
  let hashes = 0;
  let wrong = 1;
  server.fault = (_, part) => (part === 4 && wrong-- > 0 ? { status: 400, body: "<Code>BadDigest</Code>" } : undefined);
  await client().upload(FILM).done;
  assert.equal(server.put.filter((each) => each === 4).length, 1);
  server.uploads.clear();
  wrong = 1;
  const real = client().machine.hash;
  const sluice = client({}, { hash: async (blob) => (++hashes > COUNT ? "another" : real(blob)) });
  server.fault = (_, part) => (part === 13 ? { status: 400, body: "<Code>BadDigest</Code>" } : undefined);
  await rejects(sluice.upload(FILM).done, "changed");
});

test("a token that expires is renewed once for all parts, and none is lost", async (context) => {
  const { server, client } = await world(context);
  let current = "token";
  const renewals: string[] = [];
  server.fault = (_, part) => {
    if (part && server.put.length >= 3) server.tokens = new Set(["second"]);
    return undefined;
  };
  await client({
    token: async (refused) => {
      if (refused) {
        renewals.push(current);
        // A person signs in.
        await new Promise((resolve) => setTimeout(resolve, 20));
        current = "second";
      }
      return current;
    },
  }).upload(FILM).done;
  assert.deepEqual(renewals, ["token"]);
  assert.deepEqual(sorted(server.put), numbers(1, COUNT));
});

test("a token that stays refused ends the attempt, and the upload goes on with a good one", async (context) => {
  const { server, client } = await world(context);
  let current = "token";
  const sluice = client({ token: () => current });
  server.fault = (_, part) => {
    if (part && server.put.length >= 3) server.tokens = new Set(["second"]);
    return undefined;
  };
  await rejects(sluice.upload(FILM).done, "unauthorized");
  await server.quiet();
  current = "second";
  await (
    await sluice.resume((await sluice.unfinished())[0]!, FILM)
  ).done;
  assert.deepEqual(sorted(server.put), numbers(1, COUNT));
});

test("S3 never sees the token", async (context) => {
  const { server, client } = await world(context);
  const seen: unknown[] = [];
  const send = client().machine.send;
  await client(
    {},
    { send: (method, url, headers, ...rest) => (seen.push(headers), send(method, url, headers, ...rest)) },
  ).upload(FILM).done;
  assert.equal(seen.length, COUNT);
  assert.ok(!JSON.stringify(seen).toLowerCase().includes("authorization"));
  assert.ok(server.asked.length > COUNT);
});

test("completing twice does no harm", async (context) => {
  const { server, client } = await world(context);
  let lost = 0;
  server.fault = (asked) => (asked.endsWith("/complete") && lost++ < 2 ? "cut after" : undefined);
  const file = await client().upload(FILM).done;
  assert.equal(file.state, "available");
  assert.equal(
    server.count("POST /v1/uploads/"),
    server.asked.filter((each) => /\/(parts|complete)$/.test(each)).length,
  );
  assert.equal(server.bodies.length, 3);
});

test("a lost answer to the form does not send the file twice", async (context) => {
  const { server, client } = await world(context);
  server.verdict = () => {};
  server.fault = (asked) => {
    if (asked.startsWith("GET /v1/files/")) [...server.uploads.values()][0]!.state = "available";
    return asked.startsWith("POST /s3/") ? "cut after" : undefined;
  };
  await client().upload(note()).done;
  assert.equal(server.count("POST /s3/"), 1);
});

test("an abort while sending leaves nothing", async (context) => {
  const { server, client } = await world(context);
  const sluice = client();
  const stages: Stage[] = [];
  const upload = sluice.upload(FILM, { stage: (stage) => stages.push(stage) });
  await until(() => server.put.length >= 2);
  await upload.abort();
  await rejects(upload.done, "aborted");
  assert.equal([...server.uploads.values()][0]!.state, "aborted");
  assert.deepEqual(await sluice.unfinished(), []);
  assert.equal(stages.at(-1), "failed");
  const puts = server.count("PUT");
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(server.count("PUT"), puts, "nothing goes on in the background");
  await upload.abort();
});

test("an abort before anything was sent leaves nothing either", async (context) => {
  const { server, client } = await world(context);
  const early = client().upload(FILM);
  await early.abort();
  assert.equal(server.asked.length, 0);
  const starting = client().upload(FILM);
  await until(() => server.count("POST /v1/uploads") > 0);
  await starting.abort();
  assert.deepEqual(
    [...server.uploads.values()].map(({ state }) => state),
    ["aborted"],
  );
});

test("a pause stops at once, and the rest is sent after it", async (context) => {
  const { server, client } = await world(context);
  const stages: Stage[] = [];
  const upload: Upload = client().upload(FILM, { stage: (stage) => stages.push(stage) });
  await until(() => server.put.length >= 2);
  upload.pause();
  upload.pause();
  await until(() => upload.stage === "paused");
  const puts = server.count("PUT");
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(server.count("PUT"), puts);
  upload.resume();
  await upload.done;
  assert.deepEqual([...new Set(server.put)].length, COUNT);
  assert.deepEqual(stages, ["starting", "sending", "paused", "starting", "sending", "checking", "done"]);
  assert.ok(server.put.length <= COUNT + 4, "at most those in flight are sent again");
});

test("a paused upload can be aborted", async (context) => {
  const { server, client } = await world(context);
  const upload = client().upload(FILM);
  upload.pause();
  await until(() => upload.stage === "paused");
  await upload.abort();
  assert.equal(server.count("PUT"), 0);
  await rejects(upload.done, "aborted");
});

test("two tabs with one file send it once: the second waits for the first", async (context) => {
  const { server, client } = await world(context);
  const held = new Map<string, Promise<unknown>>();
  // As navigator.locks does.
  const locks = {
    request: (name: string, _options: object, work: () => Promise<unknown>) => {
      const next = (held.get(name) ?? Promise.resolve()).catch(() => {}).then(work);
      held.set(name, next);
      return next;
    },
  };
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  context.after(() =>
    before
      ? Object.defineProperty(globalThis, "navigator", before)
      : delete (globalThis as { navigator?: unknown }).navigator,
  );
  const [one, other] = await Promise.all([client().upload(FILM).done, client().upload(film()).done]);
  assert.equal(one.file_id, other.file_id);
  assert.deepEqual(sorted(server.put), numbers(1, COUNT));
  assert.equal(held.size, 1);
});

test("two tabs with one file do no harm where there are no locks", async (context) => {
  const { server, client } = await world(context);
  const [one, other] = await Promise.all([client().upload(FILM).done, client().upload(film()).done]);
  assert.equal(one.file_id, other.file_id);
  assert.deepEqual([one.checksum, other.checksum], [whole(), whole()]);
  assert.equal(server.uploads.size, 1);
});

test("a 409 with missing parts sends just those", async (context) => {
  const { server, client } = await world(context);
  let lost = false;
  server.fault = (asked) => {
    const [kept] = [...server.uploads.values()];
    if (asked.endsWith("/complete") && !lost) {
      lost = true;
      [3, 8].forEach((each) => kept!.parts.delete(each));
    }
    return undefined;
  };
  await client().upload(FILM).done;
  assert.deepEqual(sorted(server.put), sorted([...numbers(1, COUNT), 3, 8]));
  assert.equal(server.bodies.length, 2);
});

test("other bytes under the same id are told and not mixed", async (context) => {
  const { server, client } = await world(context);
  let mixed = false;
  server.fault = (asked) => {
    // Another tab, whose file differs from this one, is faster by a moment.
    if (asked.endsWith("/complete") && !mixed) {
      mixed = true;
      const checksum = createHash("sha256").update("other").digest("base64");
      [...server.uploads.values()][0]!.parts.set(3, { size: PART, checksum });
    }
    return undefined;
  };
  await rejects(client().upload(FILM).done, "refused", /wrong/);
  const file = await client().upload(FILM).done;
  assert.equal(file.checksum, whole());
});

test("parts that never stay are given up", async (context) => {
  const { server, client } = await world(context);
  server.fault = (asked) => {
    if (asked.endsWith("/complete")) [...server.uploads.values()][0]!.parts.delete(3);
    return undefined;
  };
  await rejects(client().upload(FILM).done, "refused", /Parts are missing/);
  assert.equal(server.bodies.length, 3);
});

test("an upload that expired overnight begins again", async (context) => {
  const { server, client } = await world(context);
  const store = memoryStore();
  server.fault = (_, part) => (part > 6 ? { status: 404, body: "<Code>NoSuchKey</Code>" } : undefined);
  await rejects(client({ store }).upload(FILM).done, "refused");
  const [saved] = await client({ store }).unfinished();
  server.fault = () => undefined;
  await server.quiet();
  server.uploads.get(saved!.file_id)!.state = "expired";
  const file = await (await client({ store }).resume(saved!, film())).done;
  assert.notEqual(file.file_id, saved!.file_id);
  const late = client({ store }, { now: () => Date.now() + 2 * 86_400_000 });
  await store.save(saved!);
  assert.deepEqual(await late.unfinished(), []);
});

test("an upload that is aborted elsewhere ends with that", async (context) => {
  const { server, client } = await world(context);
  server.fault = (_, part) => {
    if (part === 8) [...server.uploads.values()][0]!.state = "aborted";
    return undefined;
  };
  await rejects(client().upload(FILM).done, "ended", /aborted/);
});

test("a rejected file says why", async (context) => {
  const { server, client } = await world(context);
  const failure = "the file is text/html, and was declared as text/plain";
  server.verdict = (upload) =>
    Object.assign(upload, { state: "rejected", failure, failure_code: "type_mismatch" });
  const sluice = client();
  const { done } = sluice.upload(note());
  await rejects(done, "ended", /rejected: the file is text\/html/);
  await done.catch((error: SluiceError) => assert.equal(error.failureCode, "type_mismatch"));
  assert.deepEqual(await sluice.unfinished(), []);
});

test("the verdict is waited for, and no longer than was said", async (context) => {
  const { server, slept, client } = await world(context);
  server.verdict = () => {};
  const file = await client().upload(note(), { wait: 10 }).done;
  assert.equal(file.state, "uploading");
  assert.deepEqual(slept.slice(0, 3), [300, 450, 675]);
  assert.ok(slept.reduce((sum, each) => sum + each, 0) < 16_000);
});

test("what the API refuses is said in its words", async (context) => {
  const { server, client } = await world(context);
  const detail = "The quota is used up: delete files, or ask for more room";
  server.fault = (asked) =>
    asked === "POST /v1/uploads"
      ? { status: 403, body: JSON.stringify({ type: "urn:sluice:problem:quota-exceeded", detail }) }
      : undefined;
  const upload = client().upload(note());
  await rejects(upload.done, "refused", /quota is used up/);
  await upload.done.catch((error: SluiceError) =>
    assert.equal(error.problem?.type, "urn:sluice:problem:quota-exceeded"),
  );
  server.fault = () => ({ status: 200, body: "<html>" });
  await rejects(client().list(), "refused", /HTTP 200/);
});

test("files are listed, looked at, downloaded and deleted", async (context) => {
  const { server, client } = await world(context);
  const sluice = client();
  const ids: string[] = [];
  for (const text of ["one", "two", "three"]) ids.unshift((await sluice.upload(note(text)).done).file_id);
  const page = await sluice.list({ limit: 2, state: "available" });
  assert.deepEqual([page.files.map((each) => each.file_id), page.cursor], [ids.slice(0, 2), "2"]);
  const all: string[] = [];
  for await (const each of sluice.files({ limit: 1 })) all.push(each.file_id);
  assert.deepEqual(all, ids);
  assert.equal((await sluice.file(ids[0]!)).size, 5);
  assert.equal(await sluice.download(ids[0]!), `${server.origin}/s3/${ids[0]}`);
  await sluice.delete(ids[0]!);
  await rejects(sluice.file(ids[0]!), "refused", /No such file/);
  await rejects(sluice.abort("no/such"), "refused");
  assert.ok(server.asked.includes("DELETE /v1/uploads/no%2Fsuch"));
});

test("a store that fails stops no upload", async (context) => {
  const { client } = await world(context);
  const fails = () => Promise.reject(new Error("private mode"));
  const store: Store = { all: fails, save: fails, forget: fails };
  const sluice = client({ store });
  assert.equal((await sluice.upload(note()).done).state, "available");
  assert.deepEqual(await sluice.unfinished(), []);
});

test("a blob without a name gets one", async (context) => {
  const { client } = await world(context);
  const file = await client().upload(new Blob(["hello"]), { name: "b.bin" }).done;
  assert.deepEqual([file.file_name, file.content_type], ["b.bin", "application/octet-stream"]);
});
