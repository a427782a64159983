/** Who looks: on a device the page stands behind a login, in the simulation it does not. */

import { byId, h, say } from "./dom";

interface Standing { user: string | null; login: boolean }

async function standing(response: Response): Promise<Standing | null> {
  try {
    const told = (await response.json()) as Partial<Record<keyof Standing, unknown>>;
    return response.ok ? { user: typeof told.user === "string" ? told.user : null, login: told.login === true } : null;
  } catch {
    return null;
  }
}

const post = (path: string, body: unknown) => fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

/** Show who is signed in, and the way out. False: the server wants a name first. */
export async function signedIn(): Promise<boolean> {
  let told: Standing | null = null;
  try {
    told = await standing(await fetch("api/session", { cache: "no-store" }));
  } catch {
    // nobody there: the stream says so
  }
  const out = byId("sign-out");
  out.hidden = !told?.user;
  out.title = told?.user ? `Signed in as ${told.user}` : "";
  out.onclick = () => void post("api/logout", {}).finally(() => location.reload());
  return !told?.login;
}

/** Ask for name and password in the middle of the picture; `done` once they were right. */
export function askName(done: () => void): void {
  const notice = byId("notice");
  if (notice.querySelector("form")) return;
  const told = h("p", { class: "bad", role: "alert" });
  const name = h("input", { name: "name", autocomplete: "username", required: true, "aria-label": "Name", placeholder: "Name" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true, "aria-label": "Password", placeholder: "Password" });
  const form = h("form", { class: "sign-in" }, name, password, h("button", { class: "primary" }, "Sign in"), told);
  form.onsubmit = async (event) => {
    event.preventDefault();
    say(told, "");
    try {
      const response = await post("api/login", { name: name.value, password: password.value });
      if (response.ok) {
        notice.hidden = true;
        notice.replaceChildren();
        await signedIn();
        return done();
      }
      const { error } = (await response.json()) as { error?: unknown };
      say(told, typeof error === "string" ? error : `refused (${response.status})`);
    } catch {
      say(told, "The device does not answer.");
    }
    password.select();
  };
  notice.replaceChildren(h("h2", {}, "Sign in"), h("p", {}, "This street stands behind the device’s login."), form);
  notice.hidden = false;
  name.focus();
}
