// The token of a served memory: from the address, from a form, for this tab alone.

const KEY = "chrysalis-token";
const dialog = document.getElementById("token-dialog");
const form = document.getElementById("token-form");
const field = document.getElementById("token");
const leave = document.getElementById("leave");
let asking = null;

/** Return the token, or null. */
export function token() {
  return sessionStorage.getItem(KEY);
}

/** Take the token out of the address bar, where others could read it; tell whether there was one. */
export function takeFromAddress() {
  const given = /^#token=(.*)$/s.exec(location.hash);
  if (!given) return false;
  history.replaceState(null, "", "#/");
  keep(decoded(given[1]));
  return true;
}

function decoded(given) {
  try {
    return decodeURIComponent(given);
  } catch {
    return given; // a token may hold a bare percent sign
  }
}

function keep(given) {
  sessionStorage.setItem(KEY, given);
  leave.hidden = false;
}

/** Ask for a token once, however many requests wait for it; resolves to whether one was given. */
export function askForToken() {
  asking ??= ask().finally(() => { asking = null; });
  return asking;
}

function ask() {
  const refused = token() !== null;
  document.getElementById("token-refused").textContent = refused ? "This token was refused." : "";
  sessionStorage.removeItem(KEY);
  leave.hidden = true;
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(token() !== null), { once: true });
  });
}

form.addEventListener("submit", () => keep(field.value));
document.getElementById("token-cancel").addEventListener("click", () => dialog.close());
leave.addEventListener("click", () => {
  sessionStorage.removeItem(KEY);
  location.reload();
});
leave.hidden = token() === null;
