import type { FileSummary, Sluice } from "@sluice/client";
import type { Config } from "./config.js";
import { button, make } from "./elements.js";
import { bytes, number, text, time, words } from "./texts.js";

const MOVING = new Set<string>(["uploading", "scanning"]);
const GONE = new Set<string>(["uploading", "aborted", "expired", "deleted"]);
const AGAIN_MS = 4000;

/** The list of a person's files. */
export class Files {
  readonly element: HTMLElement;
  #sluice: Sluice;
  #announce: (sentence: string) => void;
  #rows = make("tbody");
  #table: HTMLElement;
  #none = make("p", { hidden: true }, text.none);
  #wrong = make("p", { class: "wrong", role: "alert", hidden: true });
  #more: HTMLButtonElement;
  #cursor: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(sluice: Sluice, limits: Config["limits"], announce: (sentence: string) => void) {
    this.#sluice = sluice;
    this.#announce = announce;
    this.#more = button(text.more, () => this.#load(this.#cursor ?? undefined), { class: "plain" });
    const head = make(
      "tr",
      {},
      ...[text.name, text.state, text.size, text.time].map((each) => make("th", { scope: "col" }, each)),
      make("th", { scope: "col" }, make("span", { class: "unseen" }, text.actions)),
    );
    this.#table = make("table", { hidden: true, "aria-labelledby": "files" }, make("thead", {}, head), this.#rows);
    this.element = make(
      "section",
      { "aria-labelledby": "files" },
      make("div", { class: "line" }, make("h2", { id: "files" }, text.files), button(text.refresh, () => this.refresh(), { class: "plain" })),
      make("p", { class: "quota" }, text.quota(bytes(limits.quota_bytes), number(limits.quota_files))),
      this.#wrong,
      this.#none,
      this.#table,
      this.#more,
    );
  }

  /** Ask for the newest files again. */
  async refresh(): Promise<void> {
    await this.#load();
  }

  async #load(cursor?: string): Promise<void> {
    clearTimeout(this.#timer);
    try {
      const page = await this.#sluice.list(cursor ? { cursor } : {});
      const rows = page.files.map((file) => this.#row(file));
      if (cursor) this.#rows.append(...rows);
      else this.#rows.replaceChildren(...rows);
      this.#cursor = page.cursor;
      this.#wrong.hidden = true;
      if (page.files.some((file) => MOVING.has(file.state))) this.#timer = setTimeout(() => this.refresh(), AGAIN_MS);
    } catch (error) {
      this.#fail(error);
    }
    const some = this.#rows.childElementCount > 0;
    this.#table.hidden = !some;
    this.#none.hidden = some || !this.#wrong.hidden;
    this.#more.hidden = this.#cursor === null;
  }

  #row(file: FileSummary): HTMLTableRowElement {
    const state = make("td", { "data-label": text.state }, make("span", { class: `state ${file.state}` }, text.states[file.state]));
    if (file.state === "rejected" || file.state === "quarantined") this.#explain(file, state);
    const acts = make("td", { class: "acts" });
    if (file.state === "available")
      acts.append(button(text.download, () => this.#download(file), { "aria-label": `${text.download}: ${file.file_name}` }));
    if (!GONE.has(file.state))
      acts.append(button(text.remove, () => this.#remove(file), { class: "plain", "aria-label": `${text.remove}: ${file.file_name}` }));
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, file.file_name),
      state,
      make("td", { "data-label": text.size }, bytes(file.size)),
      make("td", { "data-label": text.time }, make("time", { datetime: file.upload_time }, time(file.upload_time))),
      acts,
    );
  }

  /** Say why a file was rejected. */
  async #explain(file: FileSummary, state: HTMLElement): Promise<void> {
    const known = await this.#sluice.file(file.file_id).catch(() => undefined);
    const why = text.failures[known?.failure_code ?? ""] ?? known?.failure;
    if (why) state.append(make("p", { class: "why" }, why));
  }

  async #download(file: FileSummary): Promise<void> {
    try {
      make("a", { href: await this.#sluice.download(file.file_id), download: file.file_name }).click();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #remove(file: FileSummary): Promise<void> {
    if (!(await sure(text.sure(file.file_name)))) return;
    try {
      await this.#sluice.delete(file.file_id);
      this.#announce(text.gone(file.file_name));
      await this.refresh();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    this.#wrong.textContent = words(error);
    this.#wrong.hidden = false;
  }
}

/** Ask before something that cannot be undone. */
function sure(question: string): Promise<boolean> {
  return new Promise((resolve) => {
    const answer = (value: string) => () => dialog.close(value);
    const dialog = make(
      "dialog",
      { "aria-labelledby": "question" },
      make("p", { id: "question" }, question),
      make(
        "div",
        { class: "line" },
        make("button", { type: "button", class: "plain", autofocus: true, onclick: answer("") }, text.cancel),
        make("button", { type: "button", class: "danger", onclick: answer("yes") }, text.remove),
      ),
    );
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
