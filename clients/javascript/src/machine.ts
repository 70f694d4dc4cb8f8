import type { Passing } from "./errors.js";
import { hashing } from "./hashing.js";

/** An answer to a request that carried bytes. */
export interface Answer {
  status: number;
  header: (name: string) => string | null;
  text: string;
}

/** What the client needs of the machine that it runs on. A test replaces parts of it. */
export interface Machine {
  fetch: typeof fetch;
  /** Send bytes to S3. It rejects if no answer came. */
  send: (
    method: string,
    url: string,
    headers: Record<string, string>,
    body: Blob | FormData,
    signal: AbortSignal,
    progress: (bytes: number) => void,
  ) => Promise<Answer>;
  /** SHA-256 of a blob, in base64. */
  hash: (blob: Blob) => Promise<string>;
  /** Do something while no other tab does something under this name. */
  alone: <T>(name: string, signal: AbortSignal, work: () => Promise<T>) => Promise<T>;
  /** A promise of the next connection; nothing while there is one. */
  online: (signal?: AbortSignal) => Promise<void> | undefined;
  sleep: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
  now: () => number;
  random: () => number;
}

// The limit, in milliseconds, of three things: a connection on which nothing moves, an answer of the API (API Gateway
// gives up after 29 seconds), and the pause that a server asks for.
export const MINUTE = 60_000;
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 20_000;
// These answers may be different a moment later.
export const PASSING = [408, 429, 500, 502, 503, 504];

const wait = (start: (done: () => void) => () => void, signal?: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const stop = () => {
      end();
      reject(signal!.reason);
    };
    const end = start(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    });
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted) stop();
  });

// `fetch` does not say how much of a body was sent, so browsers use the older interface.
const sendByXhr: Machine["send"] = (method, url, headers, body, signal, progress) =>
  new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    let timer: ReturnType<typeof setTimeout>;
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(stop, MINUTE);
    };
    request.open(method, url);
    for (const name in headers) request.setRequestHeader(name, headers[name]!);
    request.upload.onprogress = (event) => {
      alive();
      progress(event.loaded);
    };
    request.onload = () =>
      resolve({
        status: request.status,
        header: (name) => request.getResponseHeader(name),
        text: request.responseText,
      });
    request.onerror = request.onabort = () => reject(new TypeError("connection lost"));
    request.onloadend = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    };
    signal.addEventListener("abort", stop);
    alive();
    request.send(body);
  });

/** The machine as it is. */
export function machine(parts: Partial<Machine>, worker?: () => Worker): Machine {
  const found: Machine = {
    fetch: (url, init) => fetch(url, init),
    send: globalThis.XMLHttpRequest
      ? sendByXhr
      : async (method, url, headers, body, signal) => {
          // Slower than 16 KiB a second counts as lost.
          const longest = AbortSignal.timeout(MINUTE + (body instanceof Blob ? body.size >> 4 : 6e6));
          const answer = await found.fetch(url, {
            method,
            headers,
            body,
            signal: AbortSignal.any([signal, longest]),
          });
          return {
            status: answer.status,
            header: (name) => answer.headers.get(name),
            text: await answer.text(),
          };
        },
    hash: hashing(worker),
    alone: (name, signal, work) => {
      const locks = globalThis.navigator?.locks;
      return locks ? (locks.request(name, { signal }, work) as ReturnType<typeof work>) : work();
    },
    online: (signal) =>
      globalThis.navigator?.onLine === false
        ? wait((done) => {
            globalThis.addEventListener("online", done, { once: true });
            return () => globalThis.removeEventListener("online", done);
          }, signal)
        : undefined,
    sleep: (milliseconds, signal) =>
      wait((done) => {
        const timer = setTimeout(done, milliseconds);
        return () => clearTimeout(timer);
      }, signal),
    now: () => Date.now(),
    random: () => Math.random(),
    ...parts,
  };
  return found;
}

/** Milliseconds that a server asks to wait (RFC 9110, "Retry-After"), a minute at most. */
export function retryAfter(said: string | null, now: number): number {
  const asked = Number(said) * 1000 || Date.parse(said!) - now;
  return asked > 0 ? Math.min(asked, MINUTE) : 0;
}

/**
 * Try something until it works, with pauses that double; half of each is random, so that clients that were cut off
 * together do not come back together. Without a connection, wait for one: that is not a failure.
 */
export async function persist<T>(on: Machine, signal: AbortSignal | undefined, attempt: () => Promise<T>): Promise<T> {
  for (let failures = 1; ; failures++) {
    signal?.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      signal?.throwIfAborted();
      const { after, attempts } = error as Partial<Passing>;
      if (!attempts) throw error;
      const connection = on.online(signal);
      if (connection) {
        failures = 0;
        await connection;
        continue;
      }
      if (failures >= attempts) throw error;
      const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1));
      await on.sleep(Math.max(after!, (pause * (1 + on.random())) / 2), signal);
    }
  }
}
