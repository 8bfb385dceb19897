// What the server is asked. Every answer is JSON; every failure is an ApiError with one line to show.

import { askForToken, token } from "./token.js";

const PAUSE_SECONDS_MAX = 10;
const ROOT = new URL("../v1/", import.meta.url);

export class ApiError extends Error {
  constructor(status, kind, message) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}

/** Tell whether a request ended because nobody waits for its answer any more. */
export function isDropped(error) {
  return error.name === "AbortError";
}

async function request(method, path, { body, params, signal } = {}) {
  const url = new URL(path, ROOT);
  if (params) url.search = params.toString();
  const headers = { accept: "application/json" };
  if (token() !== null) headers.authorization = `Bearer ${token()}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const answer = await sent(url, { method, headers, signal, body: JSON.stringify(body) });
  if (answer.status === 401 && (await askForToken())) {
    return request(method, path, { body, params, signal });
  }
  if (answer.status === 429 && (await pause(answer, signal))) {
    return request(method, path, { body, params, signal });
  }
  if (!answer.ok) throw await failed(answer);
  return answer.json();
}

/** Wait as long as a server that has too much to do asks for; tell whether it said how long. */
async function pause(answer, signal) {
  const seconds = Number(answer.headers.get("retry-after") ?? NaN);
  if (!(seconds <= PAUSE_SECONDS_MAX)) return false;
  await new Promise((resolve) => { setTimeout(resolve, 1000 * seconds); });
  signal?.throwIfAborted();
  return true;
}

async function sent(url, options) {
  try {
    return await fetch(url, { ...options, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (isDropped(error)) throw error;
    const message = "The memory does not answer. Is “chrysalis serve” still running?";
    throw new ApiError(0, "Unreachable", message);
  }
}

async function failed(answer) {
  let said = {};
  try {
    said = await answer.json();
  } catch {
    said = {}; // a proxy in between answers in a form of its own
  }
  const message = said.message ?? `The server answered ${answer.status} ${answer.statusText}.`;
  return new ApiError(answer.status, said.error ?? "Failed", message);
}

const named = (id) => encodeURIComponent(id);

export const recall = (body, signal) =>
  request("POST", "recall", { body, signal }).then((answer) => answer.memories);
export const list = (params, signal) => request("GET", "memories", { params, signal });
export const learn = (memory) =>
  request("POST", "memories", { body: memory }).then((answer) => answer.id);
export const get = (id, signal) => request("GET", `memories/${named(id)}`, { signal });
export const change = (id, body) => request("PATCH", `memories/${named(id)}`, { body });
// A body would be refused, but without its content type a form could have sent this.
export const forget = (id) => request("DELETE", `memories/${named(id)}`, { body: {} });
export const writes = (id, signal) =>
  request("GET", `history/${named(id)}`, { signal }).then((answer) => answer.writes);
export const related = (id, signal) =>
  request("GET", `related/${named(id)}`, { params: new URLSearchParams({ k: "6" }), signal })
    .then((answer) => answer.related);
export const tags = (params, signal) =>
  request("GET", "tags", { params, signal }).then((answer) => answer.tags);
export const points = (params, signal) => request("GET", "map", { params, signal });
export const statistics = (signal) => request("GET", "statistics", { signal });
export const replicas = (signal) => request("GET", "replicas", { signal });
