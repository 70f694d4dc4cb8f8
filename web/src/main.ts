import "@uppy/core/css/style.min.css";
import "@uppy/dashboard/css/style.min.css";
import "./style.css";
import { Sluice } from "@sluice/client";
import hasher from "../../clients/javascript/src/hasher.ts?worker&url";
import { load } from "./config.js";
import { button, make } from "./elements.js";
import { Files } from "./files.js";
import { Sending } from "./sending.js";
import { Session } from "./session.js";
import { NAMES, choose, language, text, words } from "./texts.js";

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL: (url: string) => string }): { createScriptURL: (url: string) => URL };
}

// The only policy that the Content Security Policy admits, and the only script that it lets through.
const policy = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes?.createPolicy("sluice", {
  createScriptURL: (url) => {
    if (url !== hasher) throw new TypeError("not a script of this page");
    return url;
  },
});
const worker = () => new Worker(policy?.createScriptURL(hasher) ?? hasher, { type: "module" });

const page = document.getElementById("page")!;
const status = make("p", { class: "unseen", role: "status" });
const announce = (sentence: string): void => void (status.textContent = sentence);

function header(...more: Node[]): HTMLElement {
  const select = make("select", { "aria-label": text.language, onchange: () => choose(select.value) });
  for (const [code, name] of Object.entries(NAMES))
    select.append(make("option", { value: code, lang: code, selected: code === language() }, name));
  return make("header", { class: "line" }, make("h1", {}, text.title), make("div", { class: "line" }, ...more, select));
}

function show(...parts: Node[]): void {
  page.replaceChildren(...parts, status);
}

async function start(): Promise<void> {
  document.documentElement.lang = language();
  document.title = text.title;
  const config = await load();
  const session = await Session.open(config.sign_in, () => show_ended());
  const ended = make("div", { class: "ended", role: "alert" });
  const show_ended = () =>
    ended.replaceChildren(
      make("p", {}, text.ended),
      make("a", { class: "button", href: session.againAddress, target: "_blank" }, text.inNewTab),
    );
  const person = await session.person();
  if (person === undefined) {
    show(header(), make("main", { class: "welcome" }, make("p", {}, text.intro), button(text.signIn, () => session.signIn())));
    return;
  }
  const sluice = new Sluice({
    api: config.api,
    worker,
    token: async (refused) => {
      const token = await session.token(refused);
      ended.replaceChildren();
      return token;
    },
  });
  const files = new Files(sluice, announce);
  const sending = new Sending(sluice, config.limits, announce, () => void files.refresh());
  show(
    header(make("span", { class: "person" }, person), button(text.signOut, () => session.signOut(), { class: "plain" })),
    ended,
    make("main", {}, sending.element, files.element),
  );
  await Promise.all([sending.showUnfinished(), files.refresh()]);
}

start().catch((error: unknown) => {
  show(
    header(),
    make("main", { class: "welcome" }, make("p", { role: "alert" }, `${text.notStarted} ${words(error)}`), button(text.tryAgain, () => location.assign(location.pathname))),
  );
});
