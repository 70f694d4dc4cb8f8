/** What Terraform tells the page of its environment (modules/website.py), in config.json. */
export interface Config {
  api: string;
  sign_in: {
    issuer: string;
    client_id: string;
    /** The token that the API takes. */
    sends: "access_token" | "id_token";
    /** Addresses of the issuer; empty if the page asks the issuer for them. */
    endpoints: Partial<Record<"authorization_endpoint" | "token_endpoint" | "end_session_endpoint", string>>;
  };
  /** What the page says before a person chooses files; the API says what Uppy refuses. */
  limits: {
    max_upload_bytes: number;
    allowed_content_types: string[];
  };
}

export async function load(): Promise<Config> {
  const answer = await fetch("config.json", { cache: "no-cache" });
  if (!answer.ok) throw new Error(`config.json: HTTP ${answer.status}`);
  return (await answer.json()) as Config;
}
