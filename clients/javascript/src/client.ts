import { type Problem, SluiceError, passing } from "./errors.js";
import { MINUTE, type Machine, PASSING, machine, persist, retryAfter } from "./machine.js";
import type { components, operations } from "./openapi.js";
import { type Saved, type Store, indexedDbStore, memoryStore } from "./store.js";
import { Upload, type UploadOptions, sameFile } from "./upload.js";

type Schemas = components["schemas"];
export type File = Schemas["File"];
export type FileList = Schemas["FileList"];
export type FileSummary = Schemas["FileSummary"];
export type State = Schemas["State"];
export type ListQuery = NonNullable<operations["listFiles"]["parameters"]["query"]>;

export interface Options {
  /** Address of the API with its stage: Terraform's output `api_url`. */
  api: string;
  /**
   * Returns a bearer token. It is called before each request; `refused` is true after the API refused the last token. It
   * may take as long as a person needs to sign in: uploads wait, and no part is lost.
   */
  token: (refused: boolean) => string | Promise<string>;
  /** Remembers unfinished uploads: by default IndexedDB, in memory where there is none. */
  store?: Store;
  /** Parts that are sent at a time, by default 4. */
  parallel?: number;
  /** Makes a worker of `hasher.js`, for pages whose bundler does not find it. */
  worker?: () => Worker;
  machine?: Partial<Machine>;
}

/** The API of one environment. */
export class Sluice {
  readonly api: string;
  readonly store: Store;
  readonly parallel: number;
  readonly machine: Machine;
  #token: Options["token"];
  #renewal: Promise<string> | undefined;

  constructor(options: Options) {
    this.api = options.api.replace(/\/+$/, "");
    this.store = options.store ?? (globalThis.indexedDB ? indexedDbStore() : memoryStore());
    this.parallel = options.parallel ?? 4;
    this.machine = machine(options.machine ?? {}, options.worker);
    this.#token = options.token;
  }

  /** Send a file. It is on its way when this returns; `done` of the result is the end. */
  upload(file: Blob & Partial<globalThis.File>, options: UploadOptions = {}): Upload {
    return new Upload(this, file, options);
  }

  /** Uploads that were begun on this machine, also before a reload, and can be resumed. */
  async unfinished(): Promise<Saved[]> {
    const saved = await this.store.all().catch(() => []);
    return saved.filter((each) => each.api === this.api && Date.parse(each.expires_time) > this.machine.now());
  }

  /**
   * Go on with an unfinished upload: what S3 has is not sent again.
   *
   * Call it from a click without a file: the browser may ask whether the page may read the file that it kept.
   *
   * @param file - chosen again; without it, the file that the browser kept.
   * @throws SluiceError `file-needed` if the browser kept none, or `other-file` if it is another one.
   */
  async resume(saved: Saved, file?: Blob & Partial<globalThis.File>, options: UploadOptions = {}): Promise<Upload> {
    const handle = saved.handle as
      (FileSystemFileHandle & { requestPermission?: (o: object) => Promise<string> }) | undefined;
    if (!file && handle && (await handle.requestPermission?.({ mode: "read" })) !== "denied")
      file = await handle.getFile().catch(() => undefined);
    if (!file) throw new SluiceError("file-needed", `Choose ${saved.file_name} again to go on`);
    if (!sameFile(saved, file, options))
      throw new SluiceError("other-file", `This is not the ${saved.file_name} whose upload began`);
    return new Upload(this, file, options, saved);
  }

  /** One page of the caller's files, newest first. */
  list(query: ListQuery = {}): Promise<FileList> {
    const said = Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
    return this.call("GET", `/files?${said.join("&")}`);
  }

  /** All of the caller's files, newest first, page by page. */
  async *files(query: Omit<ListQuery, "cursor"> = {}): AsyncGenerator<FileSummary> {
    for (let cursor: string | null | undefined; cursor !== null;) {
      const page = await this.list(cursor ? { ...query, cursor } : query);
      yield* page.files;
      cursor = page.cursor;
    }
  }

  /** What is known of a file. */
  file(id: string): Promise<File> {
    return this.call("GET", `/files/${encodeURIComponent(id)}`);
  }

  /** An address from which a browser saves the file under its name; good for a minute. */
  async download(id: string): Promise<string> {
    const link = await this.call<Schemas["ContentLink"]>("GET", `/files/${encodeURIComponent(id)}/content`);
    return link.download_url;
  }

  /** Delete a file. */
  delete(id: string): Promise<void> {
    return this.call("DELETE", `/files/${encodeURIComponent(id)}`);
  }

  /** Abort an upload that no `Upload` of this page sends. */
  abort(id: string): Promise<void> {
    return this.call("DELETE", `/uploads/${encodeURIComponent(id)}`);
  }

  /**
   * Make a call of the API, again while it fails in passing.
   *
   * @throws SluiceError with the problem that the API answered.
   */
  async call<T>(method: string, path: string, body?: object, signal?: AbortSignal, key?: string): Promise<T> {
    let refused: string | undefined;
    for (;;) {
      const token = await this.#bearer(refused);
      const answer = await persist(this.machine, signal, () => this.#ask(method, path, body, token, signal, key));
      if (answer.status === 401 && !refused) {
        refused = token;
        continue;
      }
      const text = await answer.text();
      let said: T | undefined;
      try {
        said = JSON.parse(text || "null") as T;
      } catch {
        // What is no JSON is no answer of Sluice.
      }
      if (answer.ok && said !== undefined) return said;
      throw refusal(answer.status, said as Problem | undefined);
    }
  }

  // Calls that meet an old token at the same time ask for one new token.
  async #bearer(refused?: string): Promise<string> {
    const token = this.#renewal ?? (await this.#token(false));
    if (token !== refused) return token;
    this.#renewal ??= Promise.resolve(this.#token(true)).finally(() => (this.#renewal = undefined));
    return this.#renewal;
  }

  async #ask(method: string, path: string, body: object | undefined, token: string, signal?: AbortSignal, key?: string) {
    const late = AbortSignal.timeout(MINUTE);
    let answer: Response;
    try {
      answer = await this.machine.fetch(this.api + path, {
        method,
        headers: {
          Authorization: `Bearer ${token}`,
          ...(body && { "Content-Type": "application/json" }),
          ...(key && { "Idempotency-Key": key }),
        },
        ...(body && { body: JSON.stringify(body) }),
        cache: "no-store",
        credentials: "omit",
        referrerPolicy: "no-referrer",
        signal: signal ? AbortSignal.any([signal, late]) : late,
      });
    } catch (error) {
      throw passing(new SluiceError("unreachable", `The API does not answer: ${error}`));
    }
    if (!PASSING.includes(answer.status)) return answer;
    const after = retryAfter(answer.headers.get("Retry-After"), this.machine.now());
    const problem = (await answer.json().catch(() => undefined)) as Problem | undefined;
    // An error inside the API usually stays.
    throw passing(refusal(answer.status, problem), after, answer.status === 500 ? 3 : 8);
  }
}

function refusal(status: number, problem?: Problem): SluiceError {
  return new SluiceError(
    status === 401 ? "unauthorized" : "refused",
    problem?.detail ?? problem?.error ?? `The API answered HTTP ${status}`,
    status,
    problem,
  );
}
