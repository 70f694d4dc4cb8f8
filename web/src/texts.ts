import type { FileSummary, SluiceError } from "@sluice/client";

const en = {
  title: "Files",
  intro: "Send files of any size. If the connection is lost, they go on where they stopped.",
  signIn: "Sign in",
  signOut: "Sign out",
  language: "Language",
  notStarted: "The page could not start.",
  tryAgain: "Try again",
  ended: "Your session has ended. Uploads wait here until you have signed in again.",
  inNewTab: "Sign in (new tab)",
  send: "Send files",
  note: (most: string) => `Up to ${most} a file.`,
  noteTypes: (types: string) => `Only ${types}.`,
  unfinished: "Not finished",
  unfinishedHint: "Choose the same file again: only what is missing is sent.",
  choose: "Choose file",
  discard: "Discard",
  files: "Your files",
  none: "You have no files yet.",
  more: "Show more",
  refresh: "Refresh",
  name: "Name",
  size: "Size",
  state: "State",
  time: "Sent",
  actions: "Actions",
  download: "Download",
  remove: "Delete",
  sure: (name: string) => `Delete ${name}? This cannot be undone.`,
  cancel: "Cancel",
  reload: "Reload",
  gone: (name: string) => `${name} was deleted.`,
  quota: "Used quota",
  used: (used: string, most: string, files: string, mostFiles: string) => `Used: ${used} of ${most}, ${files} of ${mostFiles} files`,
  percent: (name: string, percent: number) => `${name}: ${percent} % sent.`,
  sent: (name: string) => `${name} is stored.`,
  failed: (name: string, reason: string) => `${name} was not sent: ${reason}`,
  states: {
    uploading: "being sent",
    scanning: "being checked",
    available: "available",
    aborted: "aborted",
    rejected: "rejected",
    expired: "expired",
    deleted: "deleted",
    quarantined: "in quarantine",
  } as Record<FileSummary["state"], string>,
  failures: {
    type_mismatch: "Its content is of another type than its name says.",
    type_not_allowed: "Files of this type are not accepted.",
    not_judged: "Its content could not be checked.",
    size_mismatch: "Not all of it arrived. Send it again.",
    checksum_mismatch: "It was damaged on its way. Send it again.",
    bytes_missing: "Its content never arrived. Send it again.",
    not_as_declared: "What arrived is not the file that was announced. Send it again.",
    malware_found: "Malware was found in it.",
    scan_failed: "It could not be scanned for malware.",
    scan_late: "The scan for malware took too long.",
    not_clean: "The scan for malware did not find it clean.",
    processing_failed: "An error happened while it was processed. Send it again.",
  } as Record<string, string>,
  problems: {} as Record<string, string>,
};

const de: typeof en = {
  title: "Dateien",
  intro: "Senden Sie Dateien beliebiger Größe. Bricht die Verbindung ab, geht es danach an derselben Stelle weiter.",
  signIn: "Anmelden",
  signOut: "Abmelden",
  language: "Sprache",
  notStarted: "Die Seite konnte nicht starten.",
  tryAgain: "Erneut versuchen",
  ended: "Ihre Sitzung ist abgelaufen. Übertragungen warten hier, bis Sie sich wieder angemeldet haben.",
  inNewTab: "Anmelden (neuer Tab)",
  send: "Dateien senden",
  note: (most) => `Bis zu ${most} je Datei.`,
  noteTypes: (types) => `Nur ${types}.`,
  unfinished: "Nicht abgeschlossen",
  unfinishedHint: "Wählen Sie dieselbe Datei noch einmal: Es wird nur gesendet, was fehlt.",
  choose: "Datei wählen",
  discard: "Verwerfen",
  files: "Ihre Dateien",
  none: "Sie haben noch keine Dateien.",
  more: "Mehr anzeigen",
  refresh: "Aktualisieren",
  name: "Name",
  size: "Größe",
  state: "Zustand",
  time: "Gesendet",
  actions: "Aktionen",
  download: "Herunterladen",
  remove: "Löschen",
  sure: (name) => `${name} löschen? Das lässt sich nicht rückgängig machen.`,
  cancel: "Abbrechen",
  reload: "Neu laden",
  gone: (name) => `${name} wurde gelöscht.`,
  quota: "Belegter Speicherplatz",
  used: (used, most, files, mostFiles) => `Belegt: ${used} von ${most}, ${files} von ${mostFiles} Dateien`,
  percent: (name, percent) => `${name}: ${percent} % gesendet.`,
  sent: (name) => `${name} ist gespeichert.`,
  failed: (name, reason) => `${name} wurde nicht gesendet: ${reason}`,
  states: {
    uploading: "wird gesendet",
    scanning: "wird geprüft",
    available: "verfügbar",
    aborted: "abgebrochen",
    rejected: "abgelehnt",
    expired: "abgelaufen",
    deleted: "gelöscht",
    quarantined: "in Quarantäne",
  },
  failures: {
    type_mismatch: "Ihr Inhalt ist von anderer Art, als ihr Name sagt.",
    type_not_allowed: "Dateien dieser Art werden nicht angenommen.",
    not_judged: "Ihr Inhalt ließ sich nicht prüfen.",
    size_mismatch: "Sie kam nicht vollständig an. Senden Sie sie noch einmal.",
    checksum_mismatch: "Sie wurde unterwegs beschädigt. Senden Sie sie noch einmal.",
    bytes_missing: "Ihr Inhalt kam nie an. Senden Sie sie noch einmal.",
    not_as_declared: "Angekommen ist nicht die Datei, die angekündigt war. Senden Sie sie noch einmal.",
    malware_found: "In ihr wurde Schadsoftware gefunden.",
    scan_failed: "Sie ließ sich nicht auf Schadsoftware prüfen.",
    scan_late: "Die Prüfung auf Schadsoftware dauerte zu lange.",
    not_clean: "Die Prüfung auf Schadsoftware fand sie nicht einwandfrei.",
    processing_failed: "Bei der Verarbeitung trat ein Fehler auf. Senden Sie sie noch einmal.",
  },
  problems: {
    "quota-exceeded": "Ihr Speicherplatz reicht dafür nicht. Löschen Sie Dateien, oder fragen Sie nach mehr.",
    "too-large": "Die Datei ist zu groß.",
    "unsupported-type": "Dateien dieser Art werden nicht angenommen.",
    "too-many-requests": "Zurzeit sind es zu viele Anfragen. Versuchen Sie es gleich noch einmal.",
    "not-found": "Diese Datei gibt es nicht mehr.",
    internal: "Bei uns ist ein Fehler aufgetreten. Versuchen Sie es gleich noch einmal.",
    unreachable: "Der Dienst antwortet nicht. Prüfen Sie die Verbindung, und versuchen Sie es noch einmal.",
    unauthorized: "Die Anmeldung wurde nicht angenommen. Melden Sie sich noch einmal an.",
    changed: "Die Datei hat sich geändert, während sie gesendet wurde.",
    "other-file": "Das ist nicht die Datei, deren Übertragung begonnen wurde.",
    ended: "Die Datei wurde abgelehnt, oder die Übertragung ist abgelaufen.",
  },
};

const LANGUAGES = { en, de };
export type Language = keyof typeof LANGUAGES;
export const NAMES: Record<Language, string> = { en: "English", de: "Deutsch" };

const KEPT = "sluice-language";

/** The language of the page: the one that was chosen, or the first of the browser that the page knows. */
export function language(): Language {
  const wanted = [localStorage.getItem(KEPT), ...navigator.languages].map((each) => each?.slice(0, 2));
  return wanted.find((each): each is Language => each !== undefined && each in LANGUAGES) ?? "en";
}

export function choose(chosen: string): void {
  localStorage.setItem(KEPT, chosen);
  location.reload();
}

export const text = LANGUAGES[language()];

/** The words of an error; those of the API, which are English, if this language has none of its own. */
export function words(error: unknown): string {
  const { code, problem, message, failureCode } = error as Partial<SluiceError>;
  const kind = problem?.type.split(":").at(-1) ?? "";
  return text.failures[failureCode ?? ""] ?? text.problems[kind] ?? text.problems[code ?? ""] ?? message ?? String(error);
}

/** How the person's region writes numbers and times, in the language of the page. */
const region = (): string => navigator.languages.find((each) => each.slice(0, 2) === language() && isTag(each)) ?? language();

/** Say whether a text is a language tag: where the system's locale is C, Chromium's is `en-US@posix`, which is none. */
function isTag(text: string): boolean {
  try {
    return Intl.getCanonicalLocales(text).length > 0;
  } catch {
    return false;
  }
}

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/** Bytes as people read them, in powers of 1,024 as Uppy and the limits count. */
export function bytes(count: number): string {
  const power = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), UNITS.length - 1);
  return new Intl.NumberFormat(region(), {
    style: "unit",
    unit: UNITS[power]!,
    unitDisplay: power ? "short" : "long",
    maximumFractionDigits: 1,
  }).format(count / 1024 ** power);
}

export const number = (count: number): string => new Intl.NumberFormat(region()).format(count);

export const time = (iso: string): string =>
  new Intl.DateTimeFormat(region(), { dateStyle: "medium", timeStyle: "short" }).format(new Date(iso));
