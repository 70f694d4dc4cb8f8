// A scanner of memory shows one buffer for each of these.
const MAX_WORKERS = 4;

export const base64 = (bytes: ArrayBuffer): string => btoa(String.fromCharCode(...new Uint8Array(bytes)));

/** SHA-256 of bytes, in base64. */
export const sha256 = async (bytes: ArrayBuffer | Uint8Array<ArrayBuffer>): Promise<string> =>
  base64(await crypto.subtle.digest("SHA-256", bytes));

interface TrustedTypes {
  createPolicy: (
    name: string,
    rules: { createScriptURL: (url: string) => string },
  ) => { createScriptURL: (url: string) => URL };
}
let policy: { createScriptURL: (url: string) => URL } | undefined;

function ownWorker(): Worker {
  const url = new URL("./hasher.js", import.meta.url);
  // A page whose Content Security Policy asks for Trusted Types names this policy: `trusted-types sluice`.
  policy ??= (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes?.createPolicy("sluice", {
    createScriptURL: (each) => each,
  });
  return new Worker(policy ? policy.createScriptURL(url.href) : url, { type: "module" });
}

/**
 * A function that hashes blobs, some at a time: one on each core, four at most, each with one buffer of the blob's size.
 *
 * It hashes in workers. Where there are none (Node.js, or a policy that forbids them), `crypto.subtle` still hashes in
 * threads of its own.
 */
export function hashing(worker = ownWorker): (blob: Blob) => Promise<string> {
  let left = Math.min(globalThis.navigator?.hardwareConcurrency || MAX_WORKERS, MAX_WORKERS);
  let broken = !globalThis.Worker;
  const idle: Worker[] = [];
  const waiting: (() => void)[] = [];

  const inWorker = (blob: Blob): Promise<ArrayBuffer | 0> =>
    new Promise((resolve, reject) => {
      const used = idle.pop() ?? worker();
      used.onmessage = ({ data }: MessageEvent<ArrayBuffer | 0>) => {
        idle.push(used);
        resolve(data);
      };
      used.onerror = reject;
      used.postMessage(blob);
    });

  return async (blob) => {
    // Below zero, it counts those that wait.
    if (left-- < 1) await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      if (!broken) {
        try {
          const digest = await inWorker(blob);
          if (digest) return base64(digest);
        } catch {
          broken = true;
        }
      }
      return await sha256(await blob.arrayBuffer());
    } finally {
      left++;
      waiting.shift()?.();
    }
  };
}
