import { User, UserManager, WebStorageStateStore } from "oidc-client-ts";
import type { Config } from "./config.js";

// Tabs of this page tell each other of a new session.
const CHANNEL = "sluice-session";
const AGAIN = "again";

/** The session of a person: OpenID Connect with a code and PKCE. */
export class Session {
  #manager: UserManager;
  #config: Config["sign_in"];
  #here: string;
  #ended: () => void;

  private constructor(config: Config["sign_in"], scope: string, ended: () => void) {
    this.#config = config;
    this.#here = location.origin + location.pathname;
    this.#ended = ended;
    this.#manager = new UserManager({
      authority: config.issuer,
      client_id: config.client_id,
      redirect_uri: this.#here,
      post_logout_redirect_uri: this.#here,
      scope,
      // Gone with the tab.
      userStore: new WebStorageStateStore({ store: sessionStorage }),
      automaticSilentRenew: false,
      ...(config.endpoints.token_endpoint ? { metadata: { issuer: config.issuer, ...config.endpoints } } : {}),
    });
  }

  /**
   * Open the session.
   *
   * @param ended - called when a person has to sign in again while the page is open.
   */
  static async open(config: Config["sign_in"], ended: () => void): Promise<Session> {
    let session = new Session(config, "openid email", ended);
    if (!config.endpoints.token_endpoint) {
      const { scopes_supported: scopes } = await session.#manager.metadataService.getMetadata();
      if (scopes?.includes("offline_access")) session = new Session(config, "openid email offline_access", ended);
    }
    return session;
  }

  /** End a sign-in that the issuer sent back to this page. Returns the person, if there is one. */
  async person(): Promise<string | undefined> {
    const said = new URLSearchParams(location.search);
    if (said.has("state") && (said.has("code") || said.has("error"))) {
      try {
        const user = await this.#manager.signinCallback();
        if (user?.state === AGAIN) {
          new BroadcastChannel(CHANNEL).postMessage(user.toStorageString());
          window.close();
        }
      } finally {
        history.replaceState(null, "", this.#here);
      }
    } else if (said.has(AGAIN)) {
      await this.signIn(AGAIN);
    }
    const user = await this.#manager.getUser();
    return user ? (user.profile.email ?? user.profile.name ?? user.profile.sub) : undefined;
  }

  /** Lead the person to the issuer. */
  async signIn(state?: string): Promise<void> {
    await this.#manager.signinRedirect(state ? { state } : {});
    await new Promise(() => {});
  }

  async signOut(): Promise<void> {
    const { end_session_endpoint } = this.#config.endpoints;
    if (!end_session_endpoint) return this.#manager.signoutRedirect();
    // Cognito's "Logout endpoint" takes parameters of its own.
    await this.#manager.removeUser();
    const said = new URLSearchParams({ client_id: this.#config.client_id, logout_uri: this.#here });
    location.assign(`${end_session_endpoint}?${said}`);
  }

  /** A token for the API. It may take as long as a person needs to sign in again in another tab. */
  async token(refused: boolean): Promise<string> {
    let user = await this.#manager.getUser();
    // A token that ends soon would end on its way.
    const old = refused || !user || (user.expires_in ?? 0) < 60;
    if (old && user?.refresh_token) user = await this.#manager.signinSilent().catch(() => null);
    else if (old) user = null;
    user ??= await this.#again();
    return user[this.#config.sends] ?? "";
  }

  #waiting: Promise<User> | undefined;

  /** Wait until the person has signed in in another tab: this one keeps its uploads. */
  #again(): Promise<User> {
    this.#waiting ??= new Promise<User>((resolve) => {
      this.#ended();
      const channel = new BroadcastChannel(CHANNEL);
      channel.onmessage = async ({ data }: MessageEvent<string>) => {
        const user = User.fromStorageString(data);
        await this.#manager.storeUser(user);
        channel.close();
        this.#waiting = undefined;
        resolve(user);
      };
    });
    return this.#waiting;
  }

  /** Address of a tab in which the person signs in again. */
  get againAddress(): string {
    return `${this.#here}?${AGAIN}`;
  }
}
