// Replicas: who this store is, what syncs with others came to, and what is kept apart.

import * as api from "./api.js";
import { element, heading, stored } from "./elements.js";
import { bytes, counted, exactly, when } from "./words.js";

const VERIFIED = new Map([
  [true, "both hold the same"],
  [false, "they do not hold the same yet"],
  [null, "whether both hold the same cannot be told now"],
]);

/** Show the view. */
export async function show(place, _, signal) {
  const [held, known] = await Promise.all([api.statistics(signal), api.replicas(signal)]);
  place.replaceChildren(heading("Replicas"),
    section("This replica", "own", own(held)),
    section("Peers", "peers", peers(known.peers)),
    section("Kept apart", "quarantine", quarantine(known.quarantined)));
}

function section(title, id, ...children) {
  return element("section", { "aria-labelledby": id }, element("h2", { id }, title), ...children);
}

function own(held) {
  const waiting = held.pending ? `${counted(held.pending, "memory waits", "memories wait")} for a vector` : "none waits";
  return pairs([
    ["agent", stored(held.agent)],
    ["replica", element("code", {}, stored(held.replica))],
    ["memories", counted(held.memories, "memory", "memories")],
    ["embedder", held.embedder === null ? "none yet" : stored(`${held.embedder} (${held.dimension} dimensions)`)],
    ["vectors", waiting],
    ["size", bytes(held.size_bytes)],
  ]);
}

function peers(all) {
  if (!all.length) {
    return element("p", { class: "hint" }, "Never synced. “chrysalis sync FILE PEER” makes two replicas hold the same.");
  }
  return element("ul", { class: "cards" }, ...all.map(peer));
}

function peer(status) {
  const state = status.error === null ? "ok" : "failed";
  return element("li", { class: "card" },
    element("h3", {}, element("span", { class: `badge sync-${state}` }, state), " ", stored(status.peer)),
    status.error === null ? null : element("p", { class: "error" }, stored(status.error)),
    pairs([
      ["last success", status.last_success ? when(status.last_success) : "never"],
      ["last try", status.last_try ? when(status.last_try) : "never"],
      ["came to", `sent ${status.sent}, received ${status.received}, merged ${status.merged}`],
      ["state", VERIFIED.get(status.verified)],
      ["kept apart", status.quarantined || status.refused
        ? `${status.quarantined} here, ${status.refused} there` : null],
      ["still to come", status.behind ? counted(status.behind, "change", "changes") : null],
      ["not read yet", status.waiting.length ? element("ul", { class: "plain" },
        ...status.waiting.map((one) => element("li", {}, stored(one, 300)))) : null],
      ["failures", status.failures ? counted(status.failures, "try", "tries") : null],
    ]));
}

function quarantine(all) {
  if (!all.length) {
    return element("p", { class: "hint" }, "Nothing. Memories that were stamped far in the future would wait here.");
  }
  return element("ul", { class: "cards" }, ...all.map((one) => element("li", { class: "card" },
    element("h3", {}, stored(one.id, 120)),
    pairs([
      ["reason", stored(one.reason)],
      ["stamped", exactly(one.stamp)],
      ["from", stored(one.source)],
    ]))));
}

function pairs(rows) {
  return element("dl", { class: "pairs" }, ...rows.filter(([, value]) => value !== null)
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}
