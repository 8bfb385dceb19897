// What is shown is told by the fragment, so that it can be linked to: #/memory/ID, #/map?tags_all=work

/** Return which view the address asks for, of which memory, and with which conditions. */
export function current() {
  const [, path, query = ""] = /^#?\/?([^?]*)\??(.*)$/s.exec(location.hash);
  const [view, id] = path.split("/", 2);
  return { view, id: id === undefined ? null : decoded(id), params: new URLSearchParams(query) };
}

function decoded(id) {
  try {
    return decodeURIComponent(id);
  } catch {
    return id; // a link typed by hand may hold a bare percent sign
  }
}

/** Return the address of a view. */
export function address(view, params = new URLSearchParams()) {
  const query = params.toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

/** Return the address of a memory. */
export function addressOf(id) {
  return `#/memory/${encodeURIComponent(id)}`;
}

/** Name what is shown now in the address bar, without showing it again. */
export function rename(view, params) {
  history.replaceState(null, "", address(view, params));
}
