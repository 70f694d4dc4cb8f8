import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Sluice, memoryStore } from "@sluice/client";
import Uppy from "@uppy/core";
import { FakeSluice, PART } from "../../javascript/test/fake_sluice.js";
import SluiceUppy, { type SluiceUppyOptions } from "../src/index.js";

async function page(
  context: TestContext,
  more: Partial<SluiceUppyOptions> = {},
  quota: Partial<FakeSluice["quota"]> = {},
) {
  const server = await new FakeSluice().listen();
  Object.assign(server.quota, quota);
  const sleep = () => new Promise<void>((resolve) => setTimeout(resolve, 1));
  const client = new Sluice({ api: server.api, token: () => "token", store: memoryStore(), machine: { sleep } });
  const uppy = new Uppy({ logger: { debug() {}, warn() {}, error() {} } }).use(SluiceUppy, { client, ...more });
  context.after(async () => {
    uppy.destroy();
    await server.close();
  });
  const add = (name: string, content: BlobPart = name, type = "text/plain") =>
    uppy.addFile({ name, type, data: new File([content], name, { type, lastModified: 1 }) });
  return { server, client, uppy, add };
}

async function until(is: () => boolean): Promise<void> {
  for (let tries = 0; !is(); tries++) {
    assert.ok(tries < 3000, "it never came to be");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const large = new Uint8Array(12 * PART + 1000);

test("files are sent, and Uppy hears of progress and the end", async (context) => {
  const { server, uppy, add } = await page(context);
  const progress: number[] = [];
  uppy.on("upload-progress", (_, { bytesUploaded }) => progress.push(bytesUploaded as number));
  for (const name of ["a.txt", "b.txt", "c.txt", "d.txt"]) add(name);
  const result = await uppy.upload();
  assert.deepEqual([result?.successful?.length, result?.failed?.length], [4, 0]);
  assert.deepEqual(
    new Set([...server.uploads.values()].map((each) => each.declared.file_name)),
    new Set(["a.txt", "b.txt", "c.txt", "d.txt"]),
  );
  assert.equal(progress.at(-1), 5);
  const [file] = uppy.getFiles();
  assert.ok(file!.progress.uploadComplete);
  assert.equal((file!.response?.body as { state?: string }).state, "available");
});

test("a refused file says why, the others are sent, and a retry sends it", async (context) => {
  const { server, uppy, add } = await page(context);
  server.verdict = (upload) =>
    Object.assign(
      upload,
      upload.declared.file_name === "bad.txt"
        ? { state: "rejected", failure: "the file is text/html" }
        : { state: "available" },
    );
  add("good.txt");
  const bad = add("bad.txt");
  const result = await uppy.upload();
  assert.deepEqual([result?.successful?.length, result?.failed?.length], [1, 1]);
  assert.match(uppy.getFile(bad).error ?? "", /rejected: the file is text\/html/);
  server.verdict = (upload) => (upload.state = "available");
  const again = await uppy.retryUpload(bad);
  assert.equal(again?.successful?.length, 1);
});

test("limits of the API become restrictions, without an option", async (context) => {
  const { server, uppy, add } = await page(context, {}, { max_upload_bytes: 6, allowed_content_types: ["text/*"] });
  const early = add("early.txt", "far too long");
  await until(() => uppy.opts.restrictions.maxFileSize === 6);
  assert.throws(() => add("late.txt", "far too long"), /exceeds maximum/);
  assert.throws(() => add("a.png", "png", "image/png"), /only upload/);
  add("a.txt");
  const result = await uppy.upload();
  assert.deepEqual([result?.successful?.length, result?.failed?.length], [1, 1]);
  assert.match(uppy.getFile(early).error ?? "", /exceeds maximum/);
  assert.equal(server.uploads.size, 1, "the API is not asked about the others");
  assert.equal(server.count("GET /v1/quota"), 1, "it is asked for its limits once");
});

test("a page may ask elsewhere for the limits, or have none", async (context) => {
  let answer = () => {};
  const asked = new Promise<void>((resolve) => (answer = resolve));
  const limits = () => asked.then(() => ({ max_upload_bytes: 6 }));
  const { server, uppy, add } = await page(context, { limits }, { max_upload_bytes: 3 });
  const early = add("early.txt", "far too long");
  answer();
  await until(() => uppy.opts.restrictions.maxFileSize === 6);
  add("a.txt");
  const result = await uppy.upload();
  assert.deepEqual([result?.successful?.length, result?.failed?.length], [1, 1]);
  assert.match(uppy.getFile(early).error ?? "", /exceeds maximum/);
  assert.equal(server.count("GET /v1/quota"), 0);
  const other = await page(context, { limits: async () => ({}) }, { max_upload_bytes: 3 });
  other.add("a.txt");
  assert.equal((await other.uppy.upload())?.successful?.length, 1);
  assert.equal(other.uppy.opts.restrictions.maxFileSize, null);
});

test("a file that no quota has room for is refused when it is dropped", async (context) => {
  const { uppy, add } = await page(context, {}, { quota_bytes: 5 });
  await until(() => uppy.opts.restrictions.maxFileSize === 5);
  assert.throws(() => add("a.txt", "123456"), /exceeds maximum/);
});

test("a file that has no room at the moment is refused by the API before a byte is sent", async (context) => {
  const { server, uppy, add } = await page(context, {}, { left_bytes: 3 });
  const detail = "The quota is used up: delete files, or ask for more room";
  const problem = JSON.stringify({ type: "urn:sluice:problem:quota-exceeded", detail });
  server.fault = (request) => (request === "POST /v1/uploads" ? { status: 403, body: problem } : undefined);
  const id = add("a.txt");
  assert.equal((await uppy.upload())?.failed?.length, 1);
  assert.equal(uppy.getFile(id).error, detail);
  assert.equal(server.asked.filter((each) => each.includes("/s3/")).length, 0);
  // Room was made.
  server.fault = () => undefined;
  assert.equal((await uppy.retryUpload(id))?.successful?.length, 1);
});

test("an upload that took the last of the quota is resumed", async (context) => {
  const { server, uppy, add, client } = await page(context);
  const id = add("film.mov", large, "video/quicktime");
  const first = uppy.upload();
  await until(() => server.put.length >= 2);
  server.fault = (request) => (request.startsWith("PUT") ? { status: 400 } : undefined);
  assert.equal((await first)?.failed?.length, 1);
  const [saved] = await client.unfinished();
  const sent = server.put.length;
  assert.ok(saved && sent >= 2);
  server.fault = () => undefined;
  server.quota = { ...server.quota, quota_bytes: large.length, used_bytes: large.length, left_bytes: 0, left_files: 0 };
  uppy.removePlugin(uppy.getPlugin("Sluice")!);
  uppy.use(SluiceUppy, { client });
  await until(() => uppy.opts.restrictions.maxFileSize === large.length);
  assert.equal((await uppy.retryUpload(id))?.successful?.length, 1);
  assert.equal(server.uploads.size, 1);
  assert.equal(server.put.length, 13, "no part is sent twice");
});

test("no type is refused that the API takes", async (context) => {
  const allowed_content_types = [
    "application/vnd.ms-*",
    "application/vnd.oasis.*",
    "application/zip",
    "application/x-zip-compressed",
    "model/*",
  ];
  const { uppy, add } = await page(context, {}, { allowed_content_types });
  await until(() => uppy.opts.restrictions.allowedFileTypes?.length === 5);
  for (const [name, type] of [
    ["a.xls", "application/vnd.ms-excel"],
    ["a.odt", "application/vnd.oasis.opendocument.text"],
    ["a.zip", "application/zip"],
    ["b.zip", "application/x-zip-compressed"],
    ["a.3mf", "model/3mf"],
  ] as const)
    add(name, name, type);
  for (const type of ["text/plain", "application/pdf", "application/x-zip"])
    assert.throws(() => add(type, "x", type), /only upload/);
});

test("a page may be stricter than the API, which takes everything", async (context) => {
  const limits = async () => ({ max_upload_bytes: 100, allowed_content_types: ["*/*"] });
  const { uppy, add } = await page(context, { limits });
  uppy.setOptions({ restrictions: { maxFileSize: 3 } });
  await until(() => uppy.opts.restrictions.allowedFileTypes === null && uppy.opts.restrictions.maxFileSize === 3);
  add("a.x", "abc", "application/x-anything");
  assert.throws(() => add("b.txt", "abcd"), /exceeds maximum/);
});

test("limits that cannot be had stop no upload, and are asked for again", async (context) => {
  const { server, uppy, add } = await page(context, {}, { max_upload_bytes: 6 });
  server.fault = (request) => (request === "GET /v1/quota" ? { status: 403 } : undefined);
  add("a.txt", "longer than that");
  assert.equal((await uppy.upload())?.successful?.length, 1);
  assert.deepEqual([server.count("GET /v1/quota"), uppy.opts.restrictions.maxFileSize], [1, null]);
  server.fault = () => undefined;
  add("b.txt");
  await uppy.upload();
  assert.deepEqual([server.count("GET /v1/quota"), uppy.opts.restrictions.maxFileSize], [2, 6]);
});

test("uploads do not wait for long if the API does not say its limits", async (context) => {
  const { timeout } = AbortSignal;
  context.mock.method(AbortSignal, "timeout", (time: number) => timeout.call(AbortSignal, time === 10_000 ? 50 : time));
  const { server, uppy, add } = await page(context, {}, { max_upload_bytes: 3 });
  server.fault = (request) => (request === "GET /v1/quota" ? "silence" : undefined);
  add("a.txt");
  assert.equal((await uppy.upload())?.successful?.length, 1);
  assert.equal(uppy.opts.restrictions.maxFileSize, null);
});

test("pause and resume reach the client, for one file and for all", async (context) => {
  const { server, uppy, add } = await page(context);
  const id = add("film.mov", large, "video/quicktime");
  const done = uppy.upload();
  await until(() => server.put.length >= 2);
  for (const [pause, resume] of [
    [() => uppy.pauseResume(id), () => uppy.pauseResume(id)],
    [() => uppy.pauseAll(), () => uppy.resumeAll()],
  ] as const) {
    pause();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const puts = server.count("PUT");
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(server.count("PUT"), puts);
    const before = server.put.length;
    resume();
    await until(() => server.put.length > before);
  }
  assert.equal((await done)?.successful?.length, 1);
});

test("a file that is removed is aborted, and so are all when the person cancels", async (context) => {
  const { server, uppy, add } = await page(context);
  const id = add("film.mov", large, "video/quicktime");
  const done = uppy.upload();
  await until(() => server.put.length >= 2);
  uppy.removeFile(id);
  await done;
  await until(() => [...server.uploads.values()][0]!.state === "aborted");
  add("film.mov", large, "video/quicktime");
  const other = uppy.upload();
  await until(() => server.uploads.size === 2 && server.put.length >= 4);
  uppy.cancelAll();
  await other;
  await until(() => [...server.uploads.values()].every((each) => each.state === "aborted"));
});

test("without the plugin, Uppy is as before", async (context) => {
  const { uppy } = await page(context);
  uppy.removePlugin(uppy.getPlugin("Sluice")!);
  assert.equal(uppy.getState().capabilities.resumableUploads, false);
});
