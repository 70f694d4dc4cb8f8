import type { FileSummary, Sluice, components } from "@sluice/client";
import { button, make } from "./elements.js";
import { bytes, number, text, time, words } from "./texts.js";

// The person ended these themselves, so the list leaves them out.
const HIDDEN = new Set<string>(["aborted", "deleted"]);
const WITHOUT_BYTES = new Set<string>(["uploading", "expired"]);
const AGAIN_MS = 4000;
// The meter warns from these shares of the quota on.
const NEARLY_FULL = { low: "0.8", high: "0.95" };

/** The list of a person's files. */
export class Files {
  readonly element: HTMLElement;
  #sluice: Sluice;
  #announce: (sentence: string) => void;
  #quota = make("p", { class: "quota", hidden: true });
  #rows = make("tbody");
  #table: HTMLElement;
  #none = make("p", { hidden: true }, text.none);
  #wrong = make("p", { class: "wrong", role: "alert", hidden: true });
  #refresh = button(text.refresh, () => this.refresh(), { class: "plain" });
  #more: HTMLButtonElement;
  #reasons = new Map<string, Promise<string | undefined>>();
  #cursor: string | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(sluice: Sluice, announce: (sentence: string) => void) {
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
      make("div", { class: "line" }, make("h2", { id: "files" }, text.files), this.#refresh),
      this.#quota,
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
    if (!cursor) void this.#showQuota();
    try {
      const page = await this.#sluice.list(cursor ? { cursor } : {});
      const shown = page.files.filter((file) => !HIDDEN.has(file.state));
      const rows = shown.map((file) => this.#row(file));
      if (cursor) this.#rows.append(...rows);
      else this.#replace(rows);
      this.#cursor = page.cursor;
      this.#wrong.hidden = true;
      if (shown.some((file) => file.state === "scanning")) this.#timer = setTimeout(() => this.refresh(), AGAIN_MS);
    } catch (error) {
      this.#fail(error);
    }
    const some = this.#rows.childElementCount > 0;
    this.#table.hidden = !some;
    this.#none.hidden = some || !this.#wrong.hidden;
    this.#more.hidden = this.#cursor === null;
  }

  /** Show other rows; the focus stays on the same button of the same file. */
  #replace(rows: HTMLTableRowElement[]): void {
    const { activeElement } = document;
    const focused = this.#rows.contains(activeElement) ? activeElement : null;
    this.#rows.replaceChildren(...rows);
    if (!(focused instanceof HTMLElement)) return;
    const buttons = [...this.#rows.querySelectorAll("button")];
    (buttons.find((each) => each.dataset["act"] === focused.dataset["act"]) ?? this.#refresh).focus();
  }

  /** Show how much of the quota is used, or nothing if the API does not answer. */
  async #showQuota(): Promise<void> {
    const quota = await this.#sluice.call<components["schemas"]["Quota"]>("GET", "/quota").catch(() => undefined);
    this.#quota.hidden = !quota;
    if (!quota) return;
    // The share of bytes or of files: the one that is nearer to its limit.
    const share = Math.max(quota.used_bytes / quota.quota_bytes, quota.used_files / quota.quota_files);
    const said = text.used(bytes(quota.used_bytes), bytes(quota.quota_bytes), number(quota.used_files), number(quota.quota_files));
    const meter = make("meter", { ...NEARLY_FULL, optimum: "0", value: String(share), "aria-label": text.quota, "aria-describedby": "used" });
    this.#quota.replaceChildren(meter, make("span", { id: "used" }, said));
  }

  #row(file: FileSummary): HTMLTableRowElement {
    const state = make("td", { "data-label": text.state }, make("span", { class: `state ${file.state}` }, text.states[file.state]));
    if (file.state === "rejected" || file.state === "quarantined") this.#explain(file, state);
    const acts = make("td", { class: "acts" });
    if (file.state === "available")
      acts.append(
        button(text.download, () => this.#download(file), {
          "aria-label": `${text.download}: ${file.file_name}`,
          "data-act": `download ${file.file_id}`,
        }),
      );
    if (!WITHOUT_BYTES.has(file.state))
      acts.append(
        button(text.remove, () => this.#remove(file), {
          class: "plain",
          "aria-label": `${text.remove}: ${file.file_name}`,
          "data-act": `remove ${file.file_id}`,
        }),
      );
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

  /** Say why a file was rejected; the page asks for the reason once. */
  async #explain({ file_id }: FileSummary, state: HTMLElement): Promise<void> {
    let asked = this.#reasons.get(file_id);
    if (!asked) {
      asked = this.#sluice.file(file_id).then(({ failure_code, failure }) => text.failures[failure_code ?? ""] ?? failure);
      this.#reasons.set(file_id, asked);
    }
    try {
      const why = await asked;
      if (why) state.append(make("p", { class: "why" }, why));
    } catch {
      this.#reasons.delete(file_id);
    }
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
      // A moment later the bytes are removed, and do not count any more.
      setTimeout(() => void this.#showQuota(), AGAIN_MS);
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
