import type { File, Sluice, State } from "./client.js";
import { SluiceError, passing } from "./errors.js";
import { sha256 } from "./hashing.js";
import { type Link, Links } from "./links.js";
import { type Answer, PASSING, persist, retryAfter } from "./machine.js";
import type { components } from "./openapi.js";
import type { Saved } from "./store.js";

type Schemas = components["schemas"];
type Status = Schemas["Upload"];
type Started = { file_id: string; state: State; expires_time: string; parts?: Schemas["PartLink"][] };
type Source = Blob & Partial<globalThis.File>;

/** `checking`: all bytes are there, and the API inspects the file. */
export type Stage = "starting" | "sending" | "paused" | "checking" | "done" | "failed";

export interface UploadOptions {
  /** By default the file's own. */
  name?: string;
  /** Media type, by default the file's own. */
  type?: string;
  /** Where the file is, if the page knows: then the browser can open it again after a reload. */
  handle?: FileSystemFileHandle;
  /** Told how many bytes of how many are there; fewer than before if some have to be sent again. */
  progress?: (sent: number, total: number) => void;
  stage?: (stage: Stage) => void;
  /** For how many seconds the verdict is waited for after the last byte, by default 600. */
  wait?: number;
}

// One piece up to here, parts above (S3, "Multipart upload limits").
const POST_BYTES = 100_000_000;
const PART_BYTES = 8 * 2 ** 20;
const MAX_PARTS = 10_000;
// How many parts are hashed ahead for each that is sent: many, so that few calls get their links; not so many that the
// disk has to read them twice.
const AHEAD = 4;
const ENDED: State[] = ["aborted", "rejected", "quarantined", "expired", "deleted"];
// How many uploads of the same file, all of them ended, are followed.
const EARLIER = 10;
// How often parts are looked for that are missing although they were sent.
const ROUNDS = 3;
// S3, "Error responses": the bytes are not those of the checksum; the bytes did not come in time, or not all.
const WRONG = /Digest$|Mismatch$|^EntityToo/;
const LOST = /^RequestTimeout|^IncompleteBody/;

const facts = (file: Source, options: UploadOptions) => ({
  file_name: options.name ?? file.name ?? "file",
  size: file.size,
  last_modified: file.lastModified ?? 0,
});

/** Whether a file is the one of an unfinished upload, by what the browser says of it. */
export function sameFile(saved: Saved, file: Source, options: UploadOptions): boolean {
  const { file_name, size, last_modified } = facts(file, options);
  return saved.file_name === file_name && saved.size === size && saved.last_modified === last_modified;
}

const changed = () =>
  new SluiceError("changed", "The file changed while it was sent. Send it again");

/** One file on its way. */
export class Upload {
  /** The end: the file as the API knows it. It rejects with a SluiceError. */
  readonly done: Promise<File>;
  stage: Stage = "starting";
  fileId = "";
  #client: Sluice;
  #file: Source;
  #options: UploadOptions;
  #saved: Saved | undefined;
  #compare: boolean;
  #first: Schemas["PartLink"][] = [];
  #partSize = 0;
  #numbers = [1];
  #digests = new Map<number, Promise<string>>();
  #sent = new Map<number, number>();
  #control = new AbortController();
  #aborted = false;
  #paused: Promise<void> | undefined;
  #goOn = () => {};

  constructor(client: Sluice, file: Source, options: UploadOptions, saved?: Saved) {
    this.#client = client;
    this.#file = file;
    this.#options = options;
    this.#saved = saved;
    this.#compare = !!saved;
    this.fileId = saved?.file_id ?? "";
    if (file.size > POST_BYTES) {
      for (this.#partSize = PART_BYTES; this.#partSize * MAX_PARTS < file.size;) this.#partSize *= 2;
      this.#numbers = Array.from({ length: Math.ceil(file.size / this.#partSize) }, (_, at) => at + 1);
    }
    this.done = this.#live();
    // A page that only looks at `stage` is no page with an unhandled error.
    this.done.catch(() => {});
  }

  /** Stop sending, at once. What is not there as a whole part is sent again later. */
  pause(): void {
    if (this.#paused || this.stage === "done" || this.stage === "failed") return;
    this.#paused = new Promise((resolve) => (this.#goOn = resolve));
    this.#control.abort();
  }

  /** Go on after a pause. */
  resume(): void {
    this.#paused = undefined;
    this.#goOn();
  }

  /** Give the upload up: nothing of it stays. It resolves when that is done. */
  async abort(): Promise<void> {
    this.#aborted = true;
    this.#control.abort();
    this.resume();
    await this.done.catch(() => {});
  }

  async #live(): Promise<File> {
    const { file_name, size, last_modified } = facts(this.#file, this.#options);
    const lock = `sluice ${this.#client.api} ${file_name} ${size} ${last_modified}`;
    for (;;) {
      try {
        // Begin in another task: whoever called gets the object before it is told anything.
        await Promise.resolve();
        if (!this.#aborted) {
          this.#control = new AbortController();
          if (this.#paused) this.#control.abort();
          const { signal } = this.#control;
          signal.throwIfAborted();
          this.#at("starting");
          const file = await this.#client.machine.alone(lock, signal, () => this.#run(signal));
          this.#at("done");
          return file;
        }
      } catch (error) {
        if (!this.#aborted && !this.#paused) {
          const known = error instanceof SluiceError;
          if (known && (error.code === "changed" || error.code === "ended")) await this.#remove(error.code);
          this.#at("failed");
          throw error;
        }
      }
      if (this.#aborted) {
        await this.#remove("aborted");
        this.#at("failed");
        throw new SluiceError("aborted", "The upload is aborted");
      }
      this.#at("paused");
      await this.#paused;
    }
  }

  async #run(signal: AbortSignal): Promise<File> {
    let upload = await this.#begin(signal);
    for (let round = 1; upload.state === "uploading"; round++) {
      this.#at("sending");
      try {
        if (upload.method === "post") {
          if (upload.post) await this.#post(upload.post, signal);
        } else if (upload.parts) {
          await this.#parts(upload.parts, signal);
        }
        await this.#complete(signal);
        break;
      } catch (error) {
        if (!(error instanceof SluiceError) || error.status !== 409) throw error;
        // The API has other bytes under this id, which another tab sent: they may be right.
        if (round === ROUNDS || error.problem?.errors?.[0]?.field === "checksum") throw error;
      }
      // Another tab may have completed it, S3 may have lost a part, or it was aborted elsewhere: this tells.
      upload = await this.#status(signal);
    }
    return this.#verdict(signal);
  }

  /** The upload of this file that has not ended: one begun earlier, or a new one. */
  async #begin(signal: AbortSignal): Promise<Status> {
    if (this.fileId) {
      try {
        const upload = await this.#status(signal);
        if (!ENDED.includes(upload.state) && Date.parse(upload.expires_time) > this.#client.machine.now())
          return upload;
      } catch (error) {
        if (!(error instanceof SluiceError) || error.status !== 404) throw error;
      }
      // Nothing of it is left to compare with.
      this.#compare = false;
    }
    const { file_name, size, last_modified } = facts(this.#file, this.#options);
    const content_type = this.#options.type || this.#file.type || "application/octet-stream";
    const { parallel } = this.#client;
    const some = this.#numbers.slice(0, AHEAD * parallel).map((number) => this.#digest(number));
    // The others are hashed while the upload is started.
    const checksums = await Promise.all(some.slice(0, parallel));
    signal.throwIfAborted();
    const declared = {
      file_name,
      size,
      content_type,
      ...(this.#partSize ? { part_checksums: checksums } : { checksum: checksums[0] }),
    };
    // The same file is the same upload, from any tab and after any crash; unless that one has ended.
    let key = await keyOf([file_name, size, content_type, last_modified, checksums[0]]);
    for (let earlier = 1; ; earlier++) {
      // Not stopped by `signal`, so that an abort knows what to abort.
      const begun = await this.#client.call<Started>("POST", "/uploads", declared, undefined, key);
      this.fileId = begun.file_id;
      // What was completed earlier may be another file, if only its first part is the same.
      const over = begun.state !== "uploading" && this.#partSize;
      if (!ENDED.includes(begun.state) && (!over || (await this.#status(signal)).checksum === (await this.#whole()))) {
        this.#first = begun.parts ?? [];
        const { api, store } = this.#client;
        const handle = this.#options.handle ?? this.#saved?.handle;
        const { file_id, expires_time } = begun;
        this.#saved = {
          key,
          api,
          file_id,
          file_name,
          size,
          last_modified,
          content_type,
          expires_time,
          handle: handle!,
        };
        await store.save(this.#saved).catch(() => {});
        signal.throwIfAborted();
        return this.#status(signal);
      }
      key = await keyOf(earlier < EARLIER ? [key, begun.file_id] : [crypto.randomUUID()]);
    }
  }

  async #post(next: Schemas["PostForm"] | undefined, signal: AbortSignal): Promise<void> {
    await persist(this.#client.machine, signal, async () => {
      // The bytes may be there although the answer was lost; else here is a fresh form.
      next ??= (await this.#status(signal)).post;
      if (!next) return;
      const body = new FormData();
      for (const name in next.fields) body.append(name, next.fields[name]!);
      body.append("file", this.#file);
      const { url } = next;
      next = undefined;
      await this.#send(1, "POST", url, {}, body, signal);
    });
  }

  async #parts(there: NonNullable<Status["parts"]>, outer: AbortSignal): Promise<void> {
    const has = new Map(there.map((part) => [part.part_number, part]));
    const numbers = this.#numbers;
    const present = numbers.filter((number) => has.has(number));
    const compare = this.#compare;
    this.#compare = false;
    this.#sent = new Map(there.map((part) => [part.part_number, part.size]));
    this.#tell();
    const fits = async (number: number) => has.get(number)?.checksum === (await this.#digest(number));
    if (compare && present[0] && !(await fits(present[0])))
      throw new SluiceError("other-file", `This is not the ${this.#saved!.file_name} whose upload began`);

    // What S3 has is compared last, so that bytes move first.
    const order = [...numbers.filter((number) => !has.has(number)), ...present];
    // The first failure stops the other lanes, and they have stopped when this ends.
    const control = new AbortController();
    const signal = AbortSignal.any([outer, control.signal]);
    const links = new Links(this.#client, this.fileId, signal, this.#first);
    this.#first = [];
    const prepare = async (number: number) => {
      if (!(await fits(number))) await links.get(number, await this.#digest(number));
    };
    let next = 0;
    const lane = async () => {
      while (next < order.length) {
        signal.throwIfAborted();
        const at = next++;
        const number = order[at]!;
        for (const ahead of order.slice(at, at + AHEAD * this.#client.parallel)) prepare(ahead).catch(() => {});
        if (await fits(number)) continue;
        if (compare && has.has(number)) throw changed();
        await this.#part(number, links, signal);
      }
    };
    const lanes = Array.from({ length: this.#client.parallel }, () =>
      lane().catch((error) => {
        control.abort(error);
        throw error;
      }),
    );
    await Promise.allSettled(lanes);
    outer.throwIfAborted();
    if (control.signal.aborted) throw control.signal.reason;
  }

  async #part(number: number, links: Links, signal: AbortSignal): Promise<void> {
    const checksum = await this.#digest(number);
    await persist(this.#client.machine, signal, async () => {
      const link: Link = await links.good(number, checksum);
      // Browsers set the length themselves, and let no page do it.
      const { "content-length": _, ...headers } = link.headers;
      await this.#send(number, "PUT", link.url, headers, this.#piece(number), signal, link);
    });
    links.used(number);
  }

  async #send(
    number: number,
    method: string,
    url: string,
    headers: Record<string, string>,
    body: Blob | FormData,
    signal: AbortSignal,
    link?: Link,
  ): Promise<void> {
    const { size } = this.#piece(number);
    const progress = (sent: number) => {
      this.#sent.set(number, Math.min(sent, size));
      this.#tell();
    };
    let answer: Answer;
    try {
      answer = await this.#client.machine.send(method, url, headers, body, signal, progress);
    } catch (error) {
      progress(0);
      // A browser also fails like this when the file changed; then it cannot be read any more.
      await this.#piece(number)
        .slice(0, 1)
        .arrayBuffer()
        .catch(() => {
          throw changed();
        });
      throw passing(new SluiceError("unreachable", `S3 does not answer: ${error}`));
    }
    if (answer.status < 300) return progress(size);
    progress(0);
    const code = answer.text.match(/<Code>(\w+)/)?.[1] ?? "HTTP";
    const said = `S3 refused part ${number}: ${code} ${answer.status}`;
    const refused = new SluiceError("refused", said, code === "NoSuchUpload" ? 409 : answer.status);
    if (WRONG.test(code)) {
      const before = await this.#digest(number);
      this.#digests.delete(number);
      if ((await this.#digest(number)) !== before) throw changed();
    } else if (answer.status === 403 || code === "ExpiredToken") {
      // The link is too old, and so are those that came with it.
      if (link) link.batch.until = 0;
    } else if (!PASSING.includes(answer.status) && !LOST.test(code)) {
      throw refused;
    }
    throw passing(refused, retryAfter(answer.header("Retry-After"), this.#client.machine.now()));
  }

  async #complete(signal: AbortSignal): Promise<void> {
    const body = this.#partSize ? { checksum: await this.#whole() } : {};
    await this.#client.call("POST", `/uploads/${this.fileId}/complete`, body, signal);
  }

  /** The checksum of a file in parts, as S3 writes it. */
  async #whole(): Promise<string> {
    let digests = "";
    for (const number of this.#numbers) digests += atob(await this.#digest(number));
    return `${await sha256(Uint8Array.from(digests, (each) => each.charCodeAt(0)))}-${this.#numbers.length}`;
  }

  async #verdict(signal: AbortSignal): Promise<File> {
    const { machine } = this.#client;
    this.#at("checking");
    this.#sent = new Map([[0, this.#file.size]]);
    this.#tell();
    const until = machine.now() + 1000 * (this.#options.wait ?? 600);
    for (let pause = 300; ; pause = Math.min(pause * 1.5, 5000)) {
      const file = await this.#client.call<File>("GET", `/files/${this.fileId}`, undefined, signal);
      if (ENDED.includes(file.state))
        throw new SluiceError(
          "ended",
          `The file is ${file.state}${file.failure ? `: ${file.failure}` : ""}`,
          0,
          undefined,
          file.failure_code,
        );
      if (file.state === "available" || machine.now() >= until) {
        await this.#forget();
        return file;
      }
      await machine.sleep(pause, signal);
    }
  }

  #status(signal: AbortSignal): Promise<Status> {
    return this.#client.call("GET", `/uploads/${this.fileId}`, undefined, signal);
  }

  async #remove(why: string): Promise<void> {
    // It may be complete already, or gone: then there is nothing to take back.
    if (why !== "ended" && this.fileId) await this.#client.abort(this.fileId).catch(() => {});
    await this.#forget();
  }

  async #forget(): Promise<void> {
    if (this.#saved) await this.#client.store.forget(this.#saved.key).catch(() => {});
  }

  #piece(number: number): Blob {
    const from = (number - 1) * this.#partSize;
    return this.#partSize ? this.#file.slice(from, from + this.#partSize) : this.#file;
  }

  #digest(number: number): Promise<string> {
    let digest = this.#digests.get(number);
    if (!digest) {
      digest = this.#client.machine.hash(this.#piece(number)).catch(() => {
        throw changed();
      });
      this.#digests.set(number, digest);
      digest.catch(() => this.#digests.delete(number));
    }
    return digest;
  }

  #at(stage: Stage): void {
    if (this.stage !== stage || stage === "starting") {
      this.stage = stage;
      this.#options.stage?.(stage);
    }
  }

  #tell(): void {
    let sent = 0;
    for (const bytes of this.#sent.values()) sent += bytes;
    this.#options.progress?.(sent, this.#file.size);
  }
}

async function keyOf(said: unknown[]): Promise<string> {
  const text = await sha256(new TextEncoder().encode(JSON.stringify(said)));
  // The API takes letters, digits and few signs.
  return text.replace(/\W/g, "-");
}
