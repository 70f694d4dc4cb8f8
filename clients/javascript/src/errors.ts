import type { components } from "./openapi.js";

/** Problem details of the API (RFC 9457). */
export type Problem = components["schemas"]["Problem"];

/**
 * What a program looks at.
 *
 * - `refused`: the API or S3 refused; `problem` and `status` say why.
 * - `unauthorized`: the token was refused, also after it was renewed. The upload can be resumed.
 * - `unreachable`: no answer came after many attempts. The upload can be resumed.
 * - `other-file`: this is not the file whose upload is to be resumed. Nothing was sent.
 * - `file-needed`: the browser cannot open the file by itself: a person has to choose it again.
 * - `changed`: the file changed while it was sent. Nothing of it is stored.
 * - `ended`: the upload was rejected, quarantined, aborted elsewhere, or has expired; the message has the reason.
 * - `aborted`: this program aborted it.
 */
export type Code =
  "refused" | "unauthorized" | "unreachable" | "other-file" | "file-needed" | "changed" | "ended" | "aborted";

/** An error with a sentence for people and a code for programs. */
export class SluiceError extends Error {
  override name = "SluiceError";
  constructor(
    readonly code: Code,
    message: string,
    /** HTTP status, 0 if there was no answer. */
    readonly status = 0,
    readonly problem?: Problem,
    /** Why a file was rejected, with `ended`. */
    readonly failureCode?: components["schemas"]["FailureCode"],
  ) {
    super(message);
  }
}

/** How a failure that another attempt may not meet is tried again. */
export interface Passing extends SluiceError {
  /** Milliseconds that the server asks to wait. */
  after: number;
  /** How often the same is tried at most. */
  attempts: number;
}

/** Mark an error as one that another attempt may not meet. */
export const passing = (error: SluiceError, after = 0, attempts = 8): Passing =>
  Object.assign(error, { after, attempts });
