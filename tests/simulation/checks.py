"""What must hold once every replica has synced with every other and nothing changes any more."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from chrysalis_memory import Filter, Weights, codec, recall, search
from chrysalis_memory.changes import BUCKETS, SUM_MODULUS, access_digest, bucket_of
from chrysalis_memory.query import Query
from chrysalis_memory.search import SearchRequest
from tests.simulation.node import Mismatch, Node
from tests.simulation.truth import REGISTERS, View

COLUMNS = ("content", "memory_type", "namespace", "episode", "position", "expires_at", "archived",
           "importance", "confidence", "created_at", "source", "updated_at")  # fmt: skip
TABLES = {
    "memory": f"SELECT id, life, state, digest, {', '.join(COLUMNS)} FROM memory ORDER BY id",
    "tag": "SELECT id, tag FROM tag t JOIN memory m ON m.number = t.memory ORDER BY id, tag",
    "metadata": "SELECT id, key, kind, value FROM metadata d "
    "JOIN memory m ON m.number = d.memory ORDER BY id, key",
    "access": "SELECT id, replica, count FROM access a "
    "JOIN memory m ON m.number = a.memory ORDER BY id, replica",
    "words": "SELECT id, length, tokens FROM memory_word w "
    "JOIN memory m ON m.number = w.memory ORDER BY id",
    "terms": "SELECT term, doc, cnt FROM memory_term ORDER BY term",
    "statistics": "SELECT memories, tokens FROM word_statistics",
    "sums": "SELECT bucket, sum FROM digest_sum WHERE sum <> zeroblob(16) ORDER BY bucket",
}
QUERIES = ("green tea", "garden rain kettle")


def check_same(nodes: Sequence[Node], now_us: int) -> None:
    """Check that every replica holds what it must, and all the same.

    Raises:
        Mismatch: something differs.
    """
    first, *others = nodes
    everything, answers = _everything(first), _answers(first, now_us)
    first.check_all()
    _check_columns(first, everything)
    _check_sums(first, everything)
    _check_words(first, everything)
    for node in others:
        _check_told_the_same(node, first)
        for table, rows in _everything(node).items():
            if rows != everything[table]:
                apart = set(rows) ^ set(everything[table])
                raise Mismatch(f"{node.name} and {first.name} differ in {table}: {apart}")
        if _answers(node, now_us) != answers:
            raise Mismatch(f"{node.name} and {first.name} recall in another order")


def _check_told_the_same(node: Node, first: Node) -> None:
    if node.held.apart:
        raise Mismatch(f"{node.name} should still keep apart {node.held.apart}")
    for memory_id in sorted(node.held.known | first.held.known):
        if node.view(memory_id) != first.view(memory_id):
            raise Mismatch(f"{node.name} and {first.name} were not told the same of {memory_id}")


def _everything(node: Node) -> dict[str, list[Any]]:
    return node.storage.read(
        lambda session: {
            table: session.connection.execute(sql).fetchall() for table, sql in TABLES.items()
        }
    )


def _answers(node: Node, now_us: int) -> list[Any]:
    query = Query(Filter(include_archived=True, include_expired=True), now_us)
    answers: list[Any] = []
    for text in QUERIES:
        request = SearchRequest(None, "", text.split(), query, 50)
        found = node.storage.read(lambda s, one=request: search.find_candidates(s, None, one))
        ranked = recall.rank(
            found.candidates, weights=Weights(), now_us=now_us, k=10, full_bm25=found.full_bm25
        )
        answers.append([(candidate.id, explanation) for candidate, explanation in ranked])
    return answers


def _check_sums(node: Node, tables: dict[str, list[Any]]) -> None:
    expected = [0] * BUCKETS
    for memory_id, _, state, digest, *_ in tables["memory"]:
        if digest != codec.digest(state):
            raise Mismatch(f"{node.name} holds {memory_id} with the digest of another state")
        expected[bucket_of(memory_id)] += int.from_bytes(digest)
    for memory_id, replica, uses in tables["access"]:
        expected[bucket_of(memory_id)] += access_digest(memory_id, replica, uses)
    sums = [(at, one % SUM_MODULUS) for at, one in enumerate(expected) if one % SUM_MODULUS]
    kept = [(bucket, int.from_bytes(one)) for bucket, one in tables["sums"]]
    if kept != sums:
        wrong = sorted({bucket for bucket, _ in set(kept) ^ set(sums)})
        raise Mismatch(f"{node.name}: the sums of buckets {wrong} are not those of its digests")


def _check_words(node: Node, tables: dict[str, list[Any]]) -> None:
    texts = {row[0]: row[4] for row in tables["memory"] if row[4] is not None}
    tokens = {memory_id: text.lower().split() for memory_id, text in texts.items()}
    expected = node.storage.read(
        lambda session: {
            memory_id: [token for word in words for token in session.term(word).tokens]
            for memory_id, words in tokens.items()
        }
    )
    indexed = {memory_id: words.split() for memory_id, _, words in tables["words"]}
    if indexed != expected:
        raise Mismatch(f"{node.name}: the words of memories are {indexed}, expected {expected}")
    held = Counter(token for words in expected.values() for token in set(words))
    counted = Counter(token for words in expected.values() for token in words)
    terms = [(term, held[term], counted[term]) for term in sorted(held)]
    if tables["terms"] != terms:
        raise Mismatch(f"{node.name}: the word index holds {tables['terms']}, expected {terms}")
    if tables["statistics"] != [(len(expected), counted.total())]:
        raise Mismatch(f"{node.name}: the statistics of words are {tables['statistics']}")


def _check_columns(node: Node, tables: dict[str, list[Any]]) -> None:
    tags = [(memory_id, tag) for memory_id, tag in tables["tag"]]
    expected_tags: list[tuple[str, str]] = []
    for memory_id, life, _, _, *columns in tables["memory"]:
        view = node.view(memory_id)
        shown = dict(zip(COLUMNS, columns, strict=True))
        expected = _columns(view)
        if life != view.life or shown != expected:
            raise Mismatch(f"{node.name}: the columns of {memory_id} are {shown}, not {expected}")
        expected_tags += [(memory_id, tag) for tag in view.fields.get("tags", [])]
    if tags != expected_tags:
        raise Mismatch(f"{node.name}: the tag rows are {tags}, expected {expected_tags}")


def _columns(view: View) -> dict[str, Any]:
    fields = dict(REGISTERS) | {"importance": 0.5, "confidence": 0.5} | view.fields
    created = fields.get("created", (0, ""))
    columns = {name: fields[name] for name in COLUMNS if name in fields}
    columns["archived"] = int(columns["archived"])
    return columns | {"created_at": created[0], "source": created[1], "updated_at": view.stamp}
