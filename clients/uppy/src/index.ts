import { type Sluice, SluiceError, type Upload, type components } from "@sluice/client";
import { BasePlugin, type Body, type Meta, type PluginOpts, type Uppy, type UppyFile } from "@uppy/core";

/** What an environment takes, as `GET /quota` answers it. */
export type Limits = Partial<
  Pick<components["schemas"]["Quota"], "max_upload_bytes" | "quota_bytes" | "allowed_content_types">
>;

export interface SluiceUppyOptions extends PluginOpts {
  client: Sluice;
  /**
   * Asks for the limits, which become Uppy's restrictions; by default it asks the API. The API refuses what they do not
   * cover, in words.
   */
  limits?: () => Promise<Limits>;
  /** Files that are sent at a time, by default 3. */
  files?: number;
}

const ANSWER = 10_000;

/** Sends Uppy's files with a Sluice client: `uppy.use(SluiceUppy, { client })`. */
export default class SluiceUppy<M extends Meta, B extends Body> extends BasePlugin<SluiceUppyOptions, M, B> {
  #uploads = new Map<string, Upload>();
  #limits: Promise<void> | undefined;

  constructor(uppy: Uppy<M, B>, options: SluiceUppyOptions) {
    super(uppy, options);
    this.id = options.id ?? "Sluice";
    this.type = "uploader";
  }

  override install(): void {
    const { uppy } = this;
    uppy.setState({ capabilities: { ...uppy.getState().capabilities, resumableUploads: true } });
    uppy.addPreProcessor(this.#restrict);
    uppy.addUploader(this.#upload);
    uppy.on("upload-pause", this.#pause);
    uppy.on("pause-all", this.#pauseAll);
    uppy.on("resume-all", this.#resumeAll);
    uppy.on("file-removed", this.#removed);
    // Uppy refuses files when they are dropped, if it knows the limits by then.
    this.#restrict().catch(() => {});
  }

  override uninstall(): void {
    const { uppy } = this;
    uppy.setState({ capabilities: { ...uppy.getState().capabilities, resumableUploads: false } });
    uppy.removePreProcessor(this.#restrict);
    uppy.removeUploader(this.#upload);
    uppy.off("upload-pause", this.#pause);
    uppy.off("pause-all", this.#pauseAll);
    uppy.off("resume-all", this.#resumeAll);
    uppy.off("file-removed", this.#removed);
  }

  /** Ask for the limits once; refuse files that were dropped before they came. */
  #restrict = async (ids: string[] = []): Promise<void> => {
    this.#limits ??= this.#ask();
    try {
      await this.#limits;
    } catch (error) {
      // Asked again with the next upload; until then the API has the last word.
      this.#limits = undefined;
      this.uppy.log(error as Error, "warning");
    }
    for (const id of ids) {
      const file = this.uppy.getFile(id);
      const error = file && this.uppy.validateSingleFile(file);
      if (error) this.uppy.emit("upload-error", file, new Error(error));
    }
  };

  async #ask(): Promise<void> {
    const { client, limits } = this.opts;
    // Uploads wait for the answer, so it has to come soon.
    const quota = () => client.call<Limits>("GET", "/quota", undefined, AbortSignal.timeout(ANSWER));
    const { max_upload_bytes, quota_bytes, allowed_content_types } = await (limits ?? quota)();
    const { restrictions } = this.uppy.opts;
    // Uppy compares words between dots: it knows `application/vnd.*`, but not `application/vnd.ms-*`.
    const types = allowed_content_types?.map((type) => type.replace(/[^/.+]+\*$/, "*"));
    // A page may be stricter than the API. What is left of the quota changes with each upload and deletion, and an
    // upload that is resumed has its room: so that is for the API to say.
    const most = Math.min(...[restrictions.maxFileSize, max_upload_bytes, quota_bytes].map((each) => each ?? Infinity));
    this.uppy.setOptions({
      restrictions: {
        ...restrictions,
        maxFileSize: most < Infinity ? most : null,
        allowedFileTypes:
          restrictions.allowedFileTypes ?? (types?.some((type) => /^\*(\/\*)?$/.test(type)) ? null : (types ?? null)),
      },
    });
  }

  #upload = async (ids: string[]): Promise<void> => {
    const waiting = this.uppy.getFilesByIds(ids).filter((file) => file && !file.error);
    this.uppy.emit("upload-start", waiting);
    const lane = async () => {
      for (let file = waiting.shift(); file; file = waiting.shift()) await this.#send(file.id);
    };
    await Promise.all(Array.from({ length: this.opts.files ?? 3 }, lane));
  };

  async #send(id: string): Promise<void> {
    const file = this.uppy.getFile(id);
    if (!file) return;
    const uploadStarted = Date.now();
    const now = () => this.uppy.getFile(id) ?? file;
    if (!(file.data instanceof Blob)) {
      this.uppy.emit("upload-error", file, new Error("Files of remote providers cannot be sent"));
      return;
    }
    const upload = this.opts.client.upload(file.data, {
      name: file.name ?? "file",
      type: file.type,
      progress: (bytesUploaded, bytesTotal) =>
        this.uppy.emit("upload-progress", now(), { uploadStarted, bytesUploaded, bytesTotal }),
    });
    this.#uploads.set(id, upload);
    if (file.isPaused) upload.pause();
    try {
      const { file_id, state } = await upload.done;
      const response = { status: 200, body: { file_id, state } as unknown as B };
      this.uppy.emit("upload-success", now(), response);
    } catch (error) {
      if (!(error instanceof SluiceError && error.code === "aborted"))
        this.uppy.emit("upload-error", now(), error as Error);
    } finally {
      this.#uploads.delete(id);
    }
  }

  #pause = (file: UppyFile<M, B> | undefined, isPaused: boolean): void => {
    const upload = this.#uploads.get(file?.id ?? "");
    if (isPaused) upload?.pause();
    else upload?.resume();
  };

  #pauseAll = (): void => this.#uploads.forEach((upload) => upload.pause());

  #resumeAll = (): void => this.#uploads.forEach((upload) => upload.resume());

  // `cancelAll` removes each file, too.
  #removed = (file: UppyFile<M, B>): void => void this.#uploads.get(file.id)?.abort();
}
