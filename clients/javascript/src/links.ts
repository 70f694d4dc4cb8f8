import type { Sluice } from "./client.js";
import { SluiceError } from "./errors.js";
import type { components } from "./openapi.js";

type PartLink = components["schemas"]["PartLink"];
/** A link to send one part to; those of one batch expire together. */
export interface Link extends PartLink {
  batch: { until: number };
}

// What the API takes at once.
const MAX_PARTS_PER_CALL = 100;
// A request has to arrive before its link ends.
const MARGIN = 15_000;

interface Asked {
  part: { part_number: number; checksum: string };
  link: Promise<Link>;
  resolve: (link: Link) => void;
  reject: (error: unknown) => void;
  found?: Link;
  /** The part cannot be sent before the link is there. */
  urgent?: boolean;
}

/** Links for parts. A call is made when few are left, so it asks for all parts that were prepared since the last one. */
export class Links {
  #client: Sluice;
  #path: string;
  #signal: AbortSignal;
  #links = new Map<number, Asked>();
  #wanted: Asked[] = [];
  #busy = false;

  constructor(client: Sluice, fileId: string, signal: AbortSignal, first: PartLink[]) {
    this.#client = client;
    this.#path = `/uploads/${fileId}/parts`;
    this.#signal = signal;
    for (const found of this.#keep(first))
      this.#add(found.part_number, found.headers["x-amz-checksum-sha256"]).resolve(found);
  }

  #add(part_number: number, checksum: string): Asked {
    const asked = { part: { part_number, checksum } } as Asked;
    asked.link = new Promise((resolve, reject) => {
      asked.resolve = (found) => resolve((asked.found = found));
      asked.reject = (error) => {
        if (!asked.found) this.#links.delete(part_number);
        reject(error);
      };
    });
    this.#links.set(part_number, asked);
    return asked;
  }

  /** Ask for a link, in a batch with others; at once if it is urgent. */
  get(number: number, checksum: string, urgent = false): Promise<Link> {
    let asked = this.#links.get(number);
    if (asked?.part.checksum !== checksum) this.#wanted.push((asked = this.#add(number, checksum)));
    asked.urgent ||= urgent;
    queueMicrotask(() => this.#ask());
    return asked.link;
  }

  /** A link that is good now. If it is not, all links that ended are asked for again, in one call. */
  async good(number: number, checksum: string): Promise<Link> {
    const { now } = this.#client.machine;
    const link = await this.get(number, checksum, true);
    if (link.batch.until > now()) return link;
    for (const [other, { part, found }] of this.#links)
      if (found && found.batch.until <= now()) {
        this.#links.delete(other);
        this.get(other, part.checksum).catch(() => {});
      }
    return this.good(number, checksum);
  }

  /** The part is there. */
  used(number: number): void {
    this.#links.delete(number);
    void this.#ask();
  }

  async #ask(): Promise<void> {
    const few = this.#links.size - this.#wanted.length <= 2 * this.#client.parallel;
    if (this.#busy || !this.#wanted.some((each) => few || each.urgent)) return;
    this.#busy = true;
    const wanted = this.#wanted.splice(0, MAX_PARTS_PER_CALL);
    try {
      const parts = wanted.map((each) => each.part);
      const answer = await this.#client.call<{ parts: PartLink[] }>("POST", this.#path, { parts }, this.#signal);
      const found = this.#keep(answer.parts);
      for (const { part, resolve } of wanted) {
        const link = found.find((each) => each.part_number === part.part_number);
        if (!link) throw new SluiceError("refused", "The API gave no link");
        resolve(link);
      }
    } catch (error) {
      for (const each of wanted) each.reject(error);
    }
    this.#busy = false;
    void this.#ask();
  }

  #keep(links: PartLink[]): Link[] {
    // S3, "Authenticating requests: using query parameters"; the local clock counts, which may be wrong.
    const seconds = Number(links[0] && new URL(links[0].url).searchParams.get("X-Amz-Expires")) || Infinity;
    const batch = { until: this.#client.machine.now() + seconds * 1000 - Math.min(MARGIN, seconds * 250) };
    return links.map((link) => ({ ...link, batch }));
  }
}
