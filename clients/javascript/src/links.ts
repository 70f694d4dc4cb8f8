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

/** Links for parts. What is asked for while a call is under way goes into the next call. */
export class Links {
  #client: Sluice;
  #path: string;
  #signal: AbortSignal;
  #links = new Map<number, { checksum: string; link: Promise<Link>; found?: Link }>();
  #wanted: {
    part_number: number;
    checksum: string;
    resolve: (link: Link) => void;
    reject: (error: unknown) => void;
  }[] = [];
  #busy = false;

  constructor(client: Sluice, fileId: string, signal: AbortSignal, first: PartLink[]) {
    this.#client = client;
    this.#path = `/uploads/${fileId}/parts`;
    this.#signal = signal;
    this.#keep(first).forEach((found) => {
      const checksum = found.headers["x-amz-checksum-sha256"];
      this.#links.set(found.part_number, { checksum, link: Promise.resolve(found), found });
    });
  }

  /** Ask for a link, in a batch with others. */
  get(number: number, checksum: string): Promise<Link> {
    const known = this.#links.get(number);
    if (known?.checksum === checksum) return known.link;
    const link = new Promise<Link>((resolve, reject) => {
      this.#wanted.push({ part_number: number, checksum, resolve, reject });
    });
    const asked: { checksum: string; link: Promise<Link>; found?: Link } = { checksum, link };
    this.#links.set(number, asked);
    link.then(
      (found) => (asked.found = found),
      () => this.#links.delete(number),
    );
    queueMicrotask(() => this.#ask());
    return link;
  }

  /** A link that is good now. If it is not, all links that ended are asked for again, in one call. */
  async good(number: number, checksum: string): Promise<Link> {
    const link = await this.get(number, checksum);
    if (link.batch.until > this.#client.machine.now()) return link;
    for (const [other, { checksum: of, found }] of [...this.#links])
      if (found && found.batch.until <= this.#client.machine.now()) {
        this.#links.delete(other);
        this.get(other, of).catch(() => {});
      }
    return this.get(number, checksum);
  }

  /** The part is there. */
  used(number: number): void {
    this.#links.delete(number);
  }

  async #ask(): Promise<void> {
    if (this.#busy || !this.#wanted.length) return;
    this.#busy = true;
    const wanted = this.#wanted.splice(0, MAX_PARTS_PER_CALL);
    try {
      const parts = wanted.map(({ part_number, checksum }) => ({ part_number, checksum }));
      const answer = await this.#client.call<{ parts: PartLink[] }>("POST", this.#path, { parts }, this.#signal);
      const found = new Map(this.#keep(answer.parts).map((link) => [link.part_number, link]));
      for (const each of wanted) {
        const link = found.get(each.part_number);
        if (link) each.resolve(link);
        else each.reject(new SluiceError("refused", `The API gave no link for part ${each.part_number}`));
      }
    } catch (error) {
      wanted.forEach((each) => each.reject(error));
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
