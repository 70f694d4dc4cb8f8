/** What is remembered of an unfinished upload. */
export interface Saved {
  /** The idempotency key of its start. */
  key: string;
  api: string;
  file_id: string;
  file_name: string;
  size: number;
  last_modified: number;
  content_type: string;
  /** ISO 8601: when the API forgets the upload. */
  expires_time: string;
  /** Where the browser can keep the file itself (File System Access). */
  handle?: FileSystemFileHandle;
}

/** Where unfinished uploads are remembered. An error here does not stop an upload. */
export interface Store {
  all: () => Promise<Saved[]>;
  save: (saved: Saved) => Promise<void>;
  forget: (key: string) => Promise<void>;
}

/** For one run of a program: nothing is left after it. */
export function memoryStore(): Store {
  const kept = new Map<string, Saved>();
  return {
    all: async () => [...kept.values()],
    save: async (saved) => void kept.set(saved.key, saved),
    forget: async (key) => void kept.delete(key),
  };
}

/** In the browser's IndexedDB, which also keeps handles of files. */
export function indexedDbStore(name = "sluice"): Store {
  const answer = <T>(request: IDBRequest<T>) =>
    new Promise<T>((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  const within = async <T>(mode: IDBTransactionMode, work: (uploads: IDBObjectStore) => IDBRequest<T>): Promise<T> => {
    const opening = indexedDB.open(name, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("uploads", { keyPath: "key" });
    const database = await answer(opening);
    try {
      return await answer(work(database.transaction("uploads", mode).objectStore("uploads")));
    } finally {
      database.close();
    }
  };
  return {
    all: () => within<Saved[]>("readonly", (uploads) => uploads.getAll()),
    save: async (saved) => void (await within("readwrite", (uploads) => uploads.put(saved))),
    forget: (key) => within("readwrite", (uploads) => uploads.delete(key)),
  };
}
