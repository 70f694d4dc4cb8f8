// Runs in a Web Worker: hashes the blobs that it is sent. It imports nothing, so that any bundler can copy it.
onmessage = async ({ data }: MessageEvent<Blob>) => {
  try {
    postMessage(await crypto.subtle.digest("SHA-256", await data.arrayBuffer()));
  } catch {
    // The file changed or is gone: reading it says so to the caller, too.
    postMessage(null);
  }
};

export {};
