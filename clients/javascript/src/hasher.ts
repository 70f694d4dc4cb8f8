// Runs in a Web Worker: hashes the blobs that it is sent. It imports nothing, so that any bundler can copy it.

// A read of as many bytes as `min` says (WHATWG Streams); TypeScript's library does not have it yet.
type Read = (view: Uint8Array<ArrayBuffer>, options: { min: number }) => Promise<{ value: Uint8Array<ArrayBuffer> }>;

// One for all blobs: of buffers that are made for each, many stay in memory until garbage is collected.
let bytes = new Uint8Array();

onmessage = async ({ data }: MessageEvent<Blob>) => {
  const min = data.size;
  try {
    try {
      if (bytes.length !== min) bytes = new Uint8Array(min);
      const reader = data.stream().getReader({ mode: "byob" }) as unknown as { read: Read };
      bytes = (await reader.read(bytes, { min })).value;
    } catch {
      // This browser has no such reader.
      bytes = new Uint8Array();
    }
    // A browser that does not know `min` reads less.
    postMessage(await crypto.subtle.digest("SHA-256", bytes.length < min ? await data.arrayBuffer() : bytes));
  } catch {
    // The file changed or is gone: reading it says so to the caller, too.
    postMessage(0);
  }
};

export {};
