export {
  type File,
  type FileList,
  type FileSummary,
  type ListQuery,
  type Options,
  Sluice,
  type State,
} from "./client.js";
export { type Code, type Problem, SluiceError } from "./errors.js";
export type { Machine } from "./machine.js";
export type { components, operations, paths } from "./openapi.js";
export { type Saved, type Store, indexedDbStore, memoryStore } from "./store.js";
export { type Stage, Upload, type UploadOptions } from "./upload.js";
