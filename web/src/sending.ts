import { type Saved, type Sluice, SluiceError } from "@sluice/client";
import SluiceUppy from "@sluice/uppy";
import Uppy from "@uppy/core";
import Dashboard from "@uppy/dashboard";
import german from "@uppy/locales/lib/de_DE.js";
import type { Config } from "./config.js";
import { button, make } from "./elements.js";
import { bytes, language, text, words } from "./texts.js";

// Progress is announced in these steps: a screen reader says each of them.
const STEP = 25;
// Milliseconds after which the list is asked for again, first and later: a file that has arrived is checked, and most
// files are available before the first time is over.
const CHECKED_MS = [1000, 4000] as const;

/** The place where files are dropped, and the uploads that were not finished. */
export class Sending {
  readonly element: HTMLElement;
  #sluice: Sluice;
  #uppy: Uppy;
  #unfinished = make("section", { class: "unfinished", "aria-labelledby": "unfinished", hidden: true });

  constructor(sluice: Sluice, limits: Config["limits"], announce: (sentence: string) => void, changed: () => void) {
    this.#sluice = sluice;
    this.#uppy = new Uppy({ autoProceed: true, ...(language() === "de" ? { locale: german } : {}) });
    this.#uppy.use(SluiceUppy, { client: sluice });
    const drop = make("div", { class: "drop" });
    this.element = make("section", { "aria-labelledby": "send" }, make("h2", { id: "send" }, text.send), this.#unfinished, drop);
    this.#uppy.use(Dashboard, {
      target: drop,
      inline: true,
      width: "100%",
      height: 360,
      theme: "auto",
      fileManagerSelectionType: "both",
      proudlyDisplayPoweredByUppy: false,
      note: note(limits),
      // What the button shows is its name, too.
      locale: { strings: { dashboardTitle: text.send, addMoreFiles: language() === "de" ? String(german.strings["addMore"]) : "Add more" } },
    });
    giveRoles(drop);
    this.#tell(announce);
    this.#showChecked(changed);
    this.#uppy.on("complete", changed);
    this.#uppy.on("file-added", () => void this.showUnfinished());
    keepAwake(this.#uppy);
    addEventListener("beforeunload", (event) => {
      if (moves(this.#uppy)) event.preventDefault();
    });
  }

  /** Announce how far files are, and put errors into the words of the page. */
  #tell(announce: (sentence: string) => void): void {
    const said = new Map<string, number>();
    this.#uppy.on("upload-progress", (file, { bytesUploaded, bytesTotal }) => {
      if (!file || !bytesTotal) return;
      const step = Math.floor(((bytesUploaded || 0) / bytesTotal) * (100 / STEP)) * STEP;
      if (step > (said.get(file.id) ?? 0) && step < 100) announce(text.percent(file.name ?? "", step));
      said.set(file.id, Math.max(step, said.get(file.id) ?? 0));
    });
    this.#uppy.on("upload-success", (file) => announce(text.sent(file?.name ?? "")));
    this.#uppy.on("upload-error", (file, error) => {
      if (!file) return;
      const why = error instanceof SluiceError ? words(error) : error.message;
      if (this.#uppy.getFile(file.id)) this.#uppy.setFileState(file.id, { error: why });
      announce(text.failed(file.name ?? "", why));
    });
  }

  /** Have the list show files that are there and still checked. */
  #showChecked(changed: () => void): void {
    let timer: ReturnType<typeof setTimeout>;
    const again = () => {
      changed();
      timer = setTimeout(again, CHECKED_MS[1]);
    };
    this.#uppy.on("upload-progress", (_, { bytesUploaded, bytesTotal }) => {
      if (bytesUploaded !== bytesTotal) return;
      clearTimeout(timer);
      timer = setTimeout(again, CHECKED_MS[0]);
    });
    this.#uppy.on("complete", () => clearTimeout(timer));
  }

  /** Show the uploads that were begun in this browser and have not ended. */
  async showUnfinished(): Promise<void> {
    const sending = new Set(this.#uppy.getFiles().map((file) => `${file.name}/${file.size}`));
    const left = (await this.#sluice.unfinished()).filter((each) => !sending.has(`${each.file_name}/${each.size}`));
    this.#unfinished.hidden = left.length === 0;
    this.#unfinished.replaceChildren(
      make("h3", { id: "unfinished" }, text.unfinished),
      make("p", {}, text.unfinishedHint),
      make("ul", {}, ...left.map((each) => this.#line(each))),
    );
  }

  #line(saved: Saved): HTMLLIElement {
    const input = make("input", { type: "file", hidden: true, "aria-label": saved.file_name });
    const wrong = make("span", { class: "wrong", role: "alert" });
    input.addEventListener("change", () => {
      const file = input.files?.[0];
      if (!file) return;
      if (file.name !== saved.file_name || file.size !== saved.size || file.lastModified !== saved.last_modified) {
        wrong.textContent = words(new SluiceError("other-file", `This is not the ${saved.file_name} whose upload began.`));
        return;
      }
      this.#uppy.addFile({ name: file.name, type: file.type, data: file, source: "unfinished" });
    });
    return make(
      "li",
      {},
      make("span", {}, `${saved.file_name} (${bytes(saved.size)})`),
      input,
      button(text.choose, () => input.click(), { "aria-label": `${text.choose}: ${saved.file_name}` }),
      button(text.discard, () => this.#discard(saved), { class: "plain", "aria-label": `${text.discard}: ${saved.file_name}` }),
      wrong,
    );
  }

  async #discard(saved: Saved): Promise<void> {
    // An upload that is gone already is discarded, too.
    await this.#sluice.abort(saved.file_id).catch(() => {});
    await this.#sluice.store.forget(saved.key);
    await this.showUnfinished();
  }
}

function note({ max_upload_bytes, allowed_content_types }: Config["limits"]): string {
  const said = text.note(bytes(max_upload_bytes));
  // A long list of patterns says no more than that nearly everything is taken.
  if (allowed_content_types.length > 6 || allowed_content_types.includes("*/*")) return said;
  return `${said} ${text.noteTypes(allowed_content_types.join(", "))}`;
}

const moves = (uppy: Uppy): boolean =>
  uppy.getFiles().some((file) => file.progress.uploadStarted && !file.progress.uploadComplete && !file.error && !file.isPaused);

// Roles that Uppy leaves out: of the list, where there is one file, and of the whole, which has a name.
const ROLES = { ".uppy-Dashboard-files": "list", ".uppy-Dashboard": "group" };

/** Give elements of Uppy their roles. */
function giveRoles(drop: HTMLElement): void {
  new MutationObserver(() => {
    for (const [selector, role] of Object.entries(ROLES))
      for (const element of drop.querySelectorAll(`${selector}:not([role])`)) element.setAttribute("role", role);
  }).observe(drop, { childList: true, subtree: true });
}

/** Keep the screen awake while files are sent, where the browser allows it: a sleeping machine sends nothing. */
function keepAwake(uppy: Uppy): void {
  let held: WakeLockSentinel | undefined;
  const follow = async () => {
    if (moves(uppy) && document.visibilityState === "visible") {
      if (!held || held.released) held = await navigator.wakeLock?.request("screen").catch(() => undefined);
    } else {
      await held?.release();
      held = undefined;
    }
  };
  for (const event of ["upload-start", "complete", "cancel-all", "pause-all", "resume-all", "upload-pause"] as const)
    uppy.on(event, () => void setTimeout(follow));
  document.addEventListener("visibilitychange", follow);
}
