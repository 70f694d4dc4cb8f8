// A Sluice API and its S3 on one port of this machine. It keeps checksums instead of bytes, and counts what it is asked.
import { createHash, randomUUID } from "node:crypto";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { components } from "../src/openapi.js";

type Schemas = components["schemas"];
export const PART = 8 * 2 ** 20;

interface Kept {
  id: string;
  key: string;
  declared: Schemas["StartUpload"];
  checksum: string | undefined;
  state: Schemas["State"];
  failure?: string;
  failure_code?: Schemas["FailureCode"];
  expires: number;
  parts: Map<number, { size: number; checksum: string }>;
  together: boolean;
}

/** What happens to a request instead: another answer, none, or a connection cut before or after its effect. */
export type Fault =
  { status: number; headers?: Record<string, string>; body?: string } | "cut" | "cut after" | "silence" | undefined;

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("base64");

export class FakeSluice {
  uploads = new Map<string, Kept>();
  /** Every request: method and path, without its query. */
  asked: string[] = [];
  /** Numbers of the parts that arrived, in order. */
  put: number[] = [];
  tokens = new Set(["token"]);
  linkSeconds = 900;
  now = () => Date.now();
  /** Asked for each request with its body's size; parts count from 1. */
  fault: (request: string, part: number) => Fault = () => undefined;
  /** What the workflow does with a file that is there. */
  verdict: (upload: Kept) => void = (upload) => (upload.state = "available");
  bodies: unknown[] = [];
  /** The answer of GET /quota. */
  quota: Schemas["Quota"] = {
    used_bytes: 0,
    used_files: 0,
    quota_bytes: 2 ** 40,
    quota_files: 1000,
    left_bytes: 2 ** 40,
    left_files: 1000,
    max_upload_bytes: 2 ** 39,
    allowed_content_types: ["*/*"],
  };
  #server: Server;
  #open = 0;

  constructor() {
    this.#server = createServer((request, response) => {
      this.#open++;
      this.#handle(request, response)
        // A client that hung up gets no answer.
        .catch(() => response.destroy())
        .finally(() => this.#open--);
    });
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get api(): string {
    return `${this.origin}/v1`;
  }

  /** Wait until what was sent is handled: a request may arrive as a whole although its client has hung up since. */
  async quiet(): Promise<void> {
    do await new Promise((resolve) => setTimeout(resolve, 20));
    while (this.#open);
  }

  count(start: string): number {
    return this.asked.filter((each) => each.startsWith(start)).length;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url!, this.origin);
    const asked = `${request.method} ${url.pathname}`;
    const part = Number(url.searchParams.get("partNumber") ?? 0);
    this.asked.push(asked);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const fault = this.fault(asked, part);
    if (fault === "silence") return;
    if (fault === "cut") return void request.socket.destroy();
    if (typeof fault === "object") {
      response.writeHead(fault.status, fault.headers).end(fault.body ?? "");
      return;
    }
    const [status, answer] = url.pathname.startsWith("/s3/")
      ? this.#s3(request, url, part, body)
      : this.#api(request, url, body);
    if (fault === "cut after") return void request.socket.destroy();
    response.writeHead(status, { "Content-Type": typeof answer === "string" ? "application/xml" : "application/json" });
    response.end(typeof answer === "string" ? answer : status === 204 ? "" : JSON.stringify(answer));
  }

  #s3(request: IncomingMessage, url: URL, part: number, body: Buffer): [number, object | string] {
    const upload = this.uploads.get(url.pathname.split("/")[2]!);
    if (request.headers.authorization) return [400, error("InvalidRequest")];
    if (Number(url.searchParams.get("until")) <= this.now()) return [403, error("AccessDenied")];
    if (!upload || upload.together || upload.state !== "uploading") return [404, error("NoSuchUpload")];
    const declared = url.searchParams.get("checksum")!;
    if (!part) {
      const start = body.indexOf("\r\n\r\n", body.indexOf('name="file"')) + 4;
      const content = body.subarray(start, body.lastIndexOf("\r\n--"));
      if (sha256(content) !== declared) return [400, error("BadDigest")];
      if (content.length !== upload.declared.size) return [400, error("EntityTooLarge")];
      this.#together(upload);
      return [204, {}];
    }
    if (request.headers["x-amz-checksum-sha256"] !== declared) return [403, error("SignatureDoesNotMatch")];
    if (String(body.length) !== url.searchParams.get("length")) return [403, error("SignatureDoesNotMatch")];
    if (sha256(body) !== declared) return [400, error("BadDigest")];
    this.put.push(part);
    upload.parts.set(part, { size: body.length, checksum: declared });
    return [200, ""];
  }

  #together(upload: Kept): void {
    upload.together = true;
    this.verdict(upload);
  }

  #api(request: IncomingMessage, url: URL, raw: Buffer): [number, object] {
    const token = request.headers.authorization?.replace("Bearer ", "");
    if (!token || !this.tokens.has(token)) return problem(401, "unauthorized", "Unauthorized");
    const body = raw.length ? (JSON.parse(raw.toString()) as Record<string, unknown>) : {};
    const [, , what, id, more] = url.pathname.split("/");
    if (what === "quota" && !id) return [200, this.quota];
    if (what === "files" && !id) return this.#list(url);
    if (what === "uploads" && !id) return this.#start(request, body as unknown as Schemas["StartUpload"]);
    const upload = this.uploads.get(id!);
    if (!upload) return problem(404, "not-found", "No such file");
    const { declared } = upload;
    if (what === "files") {
      if (request.method === "DELETE") {
        upload.state = "deleted";
        return [204, {}];
      }
      if (upload.state === "deleted") return problem(404, "not-found", "No such file");
      if (more === "content") return [200, { download_url: `${this.origin}/s3/${id}`, expires_in: 60 }];
      return [200, { ...this.#shown(upload), upload_time: "2026-01-01T00:00:00.000+00:00", legal_hold: false }];
    }
    if (request.method === "DELETE") {
      if (upload.state === "available") return problem(409, "conflict", "The upload is complete");
      upload.state = "aborted";
      return [204, {}];
    }
    if (more === "parts") {
      if (upload.state !== "uploading") return problem(409, "conflict", `The upload is ${upload.state}`);
      const wanted = body["parts"] as { part_number: number; checksum: string }[];
      return [
        200,
        { parts: wanted.map((each) => this.#link(upload, each.part_number, each.checksum)), links_expire: "" },
      ];
    }
    if (more === "complete") {
      this.bodies.push(body);
      return this.#complete(upload, body["checksum"] as string | undefined);
    }
    const known: Record<string, unknown> = { ...this.#shown(upload), method: this.#method(upload) };
    if (this.#method(upload) === "multipart") {
      known["part_size"] = PART;
      known["part_count"] = Math.ceil(declared.size / PART);
      if (upload.state === "uploading" && !upload.together)
        known["parts"] = [...upload.parts].map(([part_number, found]) => ({ part_number, ...found }));
    } else if (upload.state === "uploading" && !upload.together) known["post"] = this.#form(upload);
    return [200, known];
  }

  #start(request: IncomingMessage, declared: Schemas["StartUpload"]): [number, object] {
    const key = String(request.headers["idempotency-key"] ?? randomUUID());
    if (!/^[A-Za-z0-9_.:-]{8,128}$/.test(key)) return problem(400, "invalid-request", "Invalid Idempotency-Key");
    if (!declared.size) return problem(400, "invalid-request", "size must be 1 or more");
    let upload = [...this.uploads.values()].find((each) => each.key === key);
    if (!upload) {
      upload = {
        id: randomUUID(),
        key,
        declared,
        checksum: declared.checksum,
        state: "uploading",
        expires: this.now() + 86_400_000,
        parts: new Map(),
        together: false,
      };
      this.uploads.set(upload.id, upload);
    }
    const begun = { file_id: upload.id, state: upload.state, expires_time: new Date(upload.expires).toISOString() };
    if (upload.state !== "uploading") return [201, begun];
    if (this.#method(upload) === "post") return [201, { ...begun, method: "post", post: this.#form(upload) }];
    const parts = (declared.part_checksums ?? []).map((each, at) => this.#link(upload, at + 1, each));
    return [
      201,
      { ...begun, method: "multipart", part_size: PART, part_count: Math.ceil(declared.size / PART), parts },
    ];
  }

  #complete(upload: Kept, said: string | undefined): [number, object] {
    if (said && upload.checksum && said !== upload.checksum)
      return problem(409, "conflict", "The checksum is not that of this upload", [["checksum", "another"]]);
    if (upload.state !== "uploading" && upload.state !== "scanning" && upload.state !== "available")
      return problem(409, "conflict", `The upload is ${upload.state}`);
    if (!upload.together) {
      if (this.#method(upload) === "post") return problem(409, "conflict", "No bytes have arrived yet");
      const count = Math.ceil(upload.declared.size / PART);
      const missing = Array.from({ length: count }, (_, at) => at + 1).filter((number) => !upload.parts.has(number));
      if (missing.length)
        return problem(
          409,
          "conflict",
          "Parts are missing or wrong",
          missing.map((each) => [`parts/${each}`, "it has not arrived"]),
        );
      const digests = Array.from({ length: count }, (_, at) =>
        Buffer.from(upload.parts.get(at + 1)!.checksum, "base64"),
      );
      const together = `${sha256(Buffer.concat(digests))}-${count}`;
      const expected = upload.checksum ?? said;
      if (expected && expected !== together)
        return problem(409, "conflict", "Parts are missing or wrong", [["checksum", `the parts have ${together}`]]);
      upload.checksum = together;
      this.#together(upload);
    }
    return [200, { file_id: upload.id, state: upload.state, file_url: `${this.api}/files/${upload.id}/content` }];
  }

  #list(url: URL): [number, object] {
    const limit = Number(url.searchParams.get("limit") ?? 50);
    const from = Number(url.searchParams.get("cursor") ?? 0);
    const state = url.searchParams.get("state");
    const found = [...this.uploads.values()].filter((each) => !state || each.state === state).reverse();
    const files = found.slice(from, from + limit).map((each) => this.#shown(each));
    return [200, { files, cursor: from + limit < found.length ? String(from + limit) : null }];
  }

  #method(upload: Kept): "post" | "multipart" {
    return upload.declared.size <= 100_000_000 ? "post" : "multipart";
  }

  #shown(upload: Kept): Record<string, unknown> {
    const { part_checksums: _, ...declared } = upload.declared;
    return {
      ...declared,
      file_id: upload.id,
      state: upload.state,
      ...(upload.checksum && { checksum: upload.checksum }),
      ...(upload.failure && { failure: upload.failure, failure_code: upload.failure_code }),
      expires_time: new Date(upload.expires).toISOString(),
    };
  }

  #form(upload: Kept): object {
    const query = `until=${this.now() + 1000 * this.linkSeconds}&checksum=${encodeURIComponent(upload.checksum!)}`;
    return { url: `${this.origin}/s3/${upload.id}?${query}`, fields: { key: `uploads/${upload.id}` } };
  }

  #link(upload: Kept, number: number, checksum: string): object {
    const length = String(Math.min(PART, upload.declared.size - (number - 1) * PART));
    const query = new URLSearchParams({
      partNumber: String(number),
      checksum,
      length,
      until: String(this.now() + 1000 * this.linkSeconds),
      "X-Amz-Expires": String(this.linkSeconds),
    });
    const headers = { "x-amz-checksum-sha256": checksum, "content-length": length };
    return { part_number: number, method: "PUT", url: `${this.origin}/s3/${upload.id}?${query}`, headers };
  }
}

const error = (code: string) => `<Error><Code>${code}</Code><Message>It is so.</Message></Error>`;

const problem = (status: number, type: string, detail: string, errors: string[][] = []): [number, object] => [
  status,
  {
    type: `urn:sluice:problem:${type}`,
    status,
    detail,
    ...(errors.length && { errors: errors.map(([field, sentence]) => ({ field, detail: sentence })) }),
  },
];
