"""What is read of other tools' files, and how what is wrong with them is said."""

import json
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from chrysalis_memory import NewMemory, importers, knowledge_graph
from chrysalis_memory.errors import InvalidDocument, InvalidValue


def found(path: Path, form: str = "auto", **options: Any) -> list[dict[str, Any]]:
    return [one.fields for one in importers.read(path, form, **options).memories]


def places(path: Path) -> list[str]:
    return [one.place for one in importers.read(path).memories]


def written(folder: Path, name: str, value: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def node(parent: str | None, role: str, text: Any, **message: Any) -> dict[str, Any]:
    parts = text if isinstance(text, list) else [text]
    content = {"content_type": "text", "parts": parts}
    return {
        "parent": parent,
        "children": [],
        "message": {"author": {"role": role}, "content": content} | message,
    }


CHATGPT = [
    {
        "title": "Tea",
        "conversation_id": "c1",
        "current_node": "d",
        "mapping": {
            "root": {"parent": None, "children": ["s"], "message": None},
            "s": node("root", "system", "You are helpful"),
            "a": node("s", "user", "When is tea?", create_time=1714557600.5),
            "b": node("a", "assistant", "At five"),
            "c": node("a", "assistant", "At four", create_time=1714557601),
            "t": node("c", "tool", "searched"),
            "h": node("t", "user", "x", metadata={"is_visually_hidden_from_conversation": True}),
            "e": node("h", "assistant", "x", content={"content_type": "code", "text": "print()"}),
            "d": node(
                "e",
                "user",
                "",
                content={
                    "content_type": "multimodal_text",
                    "parts": [
                        {"content_type": "image"},
                        {"content_type": "audio_transcription", "text": "Thanks"},
                        " ",
                    ],
                },
            ),
        },
    },
    {"title": None, "id": "c2", "current_node": None, "mapping": {}},
]
CLAUDE = [
    {
        "uuid": "k1",
        "name": "Tea",
        "created_at": "2024-05-01T10:00:00Z",
        "chat_messages": [
            {
                "uuid": "1", "sender": "human", "text": "old",
                "created_at": "2024-05-01T12:00:00+02:00",
                "content": [{"type": "text", "text": "When is tea?"}],
            },
            {"uuid": "2", "sender": "assistant", "text": "At four", "content": [
                {"type": "thinking", "thinking": "hm"}]},
            {"uuid": "3", "sender": "human", "text": "", "content": []},
            {"uuid": "4", "sender": "human", "text": "Thanks"},
        ],
    }
]  # fmt: skip
GRAPH = [
    {"type": "entity", "name": "Ada", "entityType": "person", "observations": ["likes tea", "x"]},
    {"type": "relation", "from": "Ada", "to": "Ben", "relationType": "knows"},
]


# Conversations


def test_of_a_chatgpt_conversation_the_branch_that_was_shown_last_is_read(tmp_path: Path):
    path = written(tmp_path, "conversations.json", CHATGPT)
    memories = found(path)

    assert importers.read(path).form == "chatgpt"
    assert [(m["content"], m["position"], m["metadata"]["role"]) for m in memories] == [
        ("When is tea?", 0, "user"),
        ("At four", 1, "assistant"),
        ("Thanks", 2, "user"),
    ]
    assert {(m["episode"], m["memory_type"], m["metadata"]["conversation"]) for m in memories} == {
        ("c1", "episodic", "Tea")
    }
    assert [m["metadata"].get("said_at") for m in memories] == [
        "2024-05-01T10:00:00.500+00:00", "2024-05-01T10:00:01.000+00:00", None,
    ]  # fmt: skip
    assert places(path)[1] == f"{path}: conversation 1, message 'c'"


def test_of_a_claude_conversation_what_was_said_is_read(tmp_path: Path):
    path = written(tmp_path, "conversations.json", CLAUDE)
    memories = found(path, namespace="talks")

    assert importers.read(path).form == "claude"
    assert [(m["content"], m["position"], m["metadata"]["role"]) for m in memories] == [
        ("When is tea?", 0, "user"),
        ("At four", 1, "assistant"),
        ("Thanks", 2, "user"),
    ]
    assert {(m["episode"], m["namespace"]) for m in memories} == {("k1", "talks")}
    assert memories[0]["metadata"]["said_at"] == "2024-05-01T10:00:00.000+00:00"


@pytest.mark.parametrize("document", [CHATGPT, CLAUDE], ids=["chatgpt", "claude"])
def test_an_export_is_read_zipped_and_as_a_folder_alike(tmp_path: Path, document: Any):
    path = written(tmp_path, "export/conversations.json", document)
    written(tmp_path, "export/user.json", {"any": "thing"})
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "some/folder/conversations.json")

    assert found(path) == found(tmp_path / "export.zip") == found(tmp_path / "export")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"current_node": "nowhere"}, "conversation 1: message 'nowhere' is not in the mapping"),
        ({"current_node": None}, "conversation 1: current_node is missing"),
        ({"conversation_id": None}, "conversation 1: a conversation has an id"),
        ({"mapping": []}, "conversation 1: mapping: "),
        ({"mapping": {"d": node("d", "user", "x")}}, "message 'd' leads in a circle"),
        ({"mapping": {"d": node(None, "user", "x", create_time=1e300)}}, "is no moment"),
        ({"mapping": {"d": node(None, "user", "x", create_time="now")}}, "create_time: "),
    ],
)
def test_a_damaged_conversation_is_refused_by_its_place(
    tmp_path: Path, change: dict[str, Any], message: str
):
    path = written(tmp_path, "conversations.json", [CHATGPT[0] | change])

    with pytest.raises(InvalidDocument, match=message.replace("(", "[(]")) as refused:
        found(path)
    assert str(path) in str(refused.value)


# Others


def test_of_mem0_a_memory_keeps_its_id_and_whose_it_is(tmp_path: Path):
    memory = {
        "id": "a-1", "memory": "Likes tea", "user_id": "ada", "metadata": {"n": 1}, "hash": "x",
        "categories": ["food"], "created_at": "2024-07-01T12:00:00.000000-07:00", "score": None,
    }  # fmt: skip
    path = written(tmp_path, "all.json", {"results": [memory, {"memory": "Likes cake"}]})
    bare = written(tmp_path, "bare.json", [memory])

    assert importers.read(path).form == "mem0"
    assert found(path) == [
        {
            "source": "import:mem0",
            "id": "mem0-a-1",
            "content": "Likes tea",
            "tags": ["food"],
            "metadata": {"user_id": "ada", "n": 1, "said_at": "2024-07-01T19:00:00.000+00:00"},
        },
        {"source": "import:mem0", "content": "Likes cake", "tags": [], "metadata": {}},
    ]
    assert found(bare) == found(path)[:1]
    assert found(bare, namespace="x")[0]["id"] == "mem0-x-a-1"


def test_of_a_graph_every_entity_observation_and_relation_is_a_memory(tmp_path: Path):
    path = written(tmp_path, "memory.json", "\n".join(map(json.dumps, GRAPH)))
    memories = [NewMemory.of(**fields) for fields in found(path)]

    assert importers.read(path).form == "graph"
    assert [memory.content for memory in memories] == [
        "Ada (person)", "Ada: likes tea", "Ada: x", "Ada knows Ben",
    ]  # fmt: skip
    assert memories[0].id == knowledge_graph.entity_id("Ada")
    assert memories[1].parents == (memories[0].id,)


def test_json_lines_are_the_fields_of_memories(tmp_path: Path):
    path = written(
        tmp_path, "all.jsonl", '\ufeff{"content": "Tea", "tags": ["t"]}\n\n{"content": 1}\n'
    )

    assert importers.read(path).form == "jsonl"
    assert found(path) == [{"content": "Tea", "tags": ["t"]}, {"content": 1}]
    assert places(path) == [f"{path}:1", f"{path}:3"]
    assert found(path, namespace="n")[0]["namespace"] == "n"


# Texts


def test_of_plain_text_every_paragraph_is_a_memory(tmp_path: Path):
    path = written(tmp_path, "notes.txt", "\ufeffOne\r\nline two\r\n \r\n\r\nSecond\u2028still\n")

    assert importers.read(path).form == "text"
    assert [m["content"] for m in found(path)] == ["One\nline two", "Second\u2028still"]
    assert places(path) == [f"{path}:1", f"{path}:5"]
    assert found(path)[0]["metadata"] == {"file": "notes.txt"}


MARKDOWN = """---
tags: [x]
---
Before any heading.

# House

## Dentist

Friday at nine.

```sh
# no heading
```

## Empty

Tea
---
- green
- black
"""


def test_of_markdown_every_section_is_a_memory_under_its_heading(tmp_path: Path):
    path = written(tmp_path, "notes.md", MARKDOWN)

    assert [(m["content"], m["metadata"].get("heading")) for m in found(path)] == [
        ("Before any heading.", None),
        ("Dentist\n\nFriday at nine.\n\n```sh\n# no heading\n```", "House > Dentist"),
        ("Empty", "House > Empty"),
        ("Tea\n\n- green\n- black", "House > Tea"),
    ]
    assert places(path) == [f"{path}:{line}" for line in (4, 10, 16, 20)]


def test_a_long_section_is_split_between_blocks_and_each_part_has_the_heading(tmp_path: Path):
    blocks = [f"{letter * 700}." for letter in "abcde"]
    path = written(tmp_path, "long.md", "# Title\n\n" + "\n\n".join(blocks))

    assert [m["content"] for m in found(path)] == [
        "\n\n".join(["Title", *blocks[:2]]),
        "\n\n".join(["Title", *blocks[2:4]]),
        "\n\n".join(["Title", *blocks[4:]]),
    ]


def test_of_a_folder_all_texts_are_read_but_hidden_ones_and_links(tmp_path: Path):
    outside = written(tmp_path, "outside.md", "Secret")
    folder = tmp_path / "notes"
    written(folder, "b.md", "Second")
    written(folder, "a/deep.TXT", "First")
    written(folder, "c.md", "Second")
    written(folder, ".hidden/x.md", "Hidden")
    written(folder, "picture.png", "Not a text")
    (folder / "link.md").symlink_to(outside)

    assert [(m["content"], m["metadata"]["file"]) for m in found(folder)] == [
        ("First", "a/deep.TXT"),
        ("Second", "b.md"),
    ]


# What is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"content": "a"}\nnope\n', ":2: not strict JSON"),
        ('{"content": "a"}\n[1]\n', ":2: a line is one JSON object"),
        ('{"content": NaN}', "NaN is not a JSON number"),
        ('{"content": "a", "content": "b"}', "same key twice"),
        ('[{"memory": "a"}, {"memory": 1}]', "memory 2: memory: "),
        ('[{"memory": "a", "created_at": "soon"}]', "'soon' is no moment"),
        ('[{"what": "ever"}]', "JSON of no format that is known"),
        ("[]", "JSON of no format that is known"),
        ("[" * 100_000, "not strict JSON"),
        ('{"type": "entity", "entityType": "x"}', ":1: name: "),
        ('{"relationType": "x"}', '"type" is "entity" or "relation"'),
    ],
)  # fmt: skip
def test_what_is_no_such_file_is_refused_by_its_place(tmp_path: Path, text: str, message: str):
    path = written(tmp_path, "file.json", text)

    with pytest.raises(InvalidDocument) as refused:
        found(path)
    assert message in str(refused.value)
    assert str(path) in str(refused.value)


def test_a_text_in_another_encoding_is_refused(tmp_path: Path):
    (tmp_path / "notes.txt").write_bytes(b"caf\xe9")

    with pytest.raises(InvalidDocument, match=r"notes\.txt is not UTF-8"):
        found(tmp_path)


def test_a_zip_file_that_would_unpack_to_far_more_is_refused_unread(tmp_path: Path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", b"[" + b" " * (32 << 20) + b"]")

    with pytest.raises(InvalidDocument, match=r"would unpack from .* nothing was unpacked"):
        found(path)


@pytest.mark.parametrize("cut", [40, 48, 120])
def test_a_damaged_zip_file_is_refused(tmp_path: Path, cut: int):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", json.dumps(CLAUDE))
    data = bytearray(path.read_bytes())
    data[cut : cut + 20] = b"\0" * 20
    path.write_bytes(data)

    with pytest.raises(InvalidDocument, match=r"export\.zip"):
        found(path)


def test_a_zip_file_of_something_else_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "x")

    with pytest.raises(InvalidDocument, match=r"holds no conversations\.json"):
        found(tmp_path / "other.zip")


def test_a_line_that_is_too_long_is_refused(tmp_path: Path):
    path = written(tmp_path, "all.jsonl", '{"content": "a"}\n{"content": "' + "x" * (16 << 20))

    with pytest.raises(InvalidDocument, match=r"all\.jsonl:2: a line of over 16,777,216 bytes"):
        found(path)


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [
        ("absent", "auto", "there is nothing to import"),
        ("", "odd", "a format is one of auto, text"),
        ("", "jsonl", "is a folder"),
    ],
)
def test_a_wrong_call_is_refused(tmp_path: Path, name: str, form: str, message: str):
    with pytest.raises(InvalidValue, match=message):
        found(tmp_path / name, form)


@pytest.mark.parametrize("text", ["", "\n\n", "[a]: b\n", "---\na: b\n---\n"])
def test_of_markdown_that_says_nothing_there_are_no_memories(tmp_path: Path, text: str):
    (tmp_path / "empty.md").write_text(text)
    assert found(tmp_path / "empty.md") == []


def test_markdown_that_begins_with_a_link_is_no_json(tmp_path: Path):
    (tmp_path / "a.md").write_text("[Tea](tea.md) is at four")
    assert found(tmp_path / "a.md")[0]["content"] == "[Tea](tea.md) is at four"


def test_markdown_of_very_many_brackets_takes_little_memory(tmp_path: Path):
    path = written(tmp_path, "a.md", f"[{'[],' * 200_000}]")
    found(path)  # what is imported late is there from now on
    tracemalloc.start()
    found(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 32 << 20


def test_a_document_of_far_more_values_than_bytes_of_text_is_refused_unparsed(tmp_path: Path):
    path = tmp_path / "conversations.json"
    path.write_text("[" + "[]," * 2_000_000 + "[]]")
    with pytest.raises(InvalidDocument, match="values"):
        found(path)


def test_a_zip_file_whose_parts_lie_nowhere_is_refused(tmp_path: Path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conversations.json", "[]")
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 42 : entry + 46] = b"\xff\xff\xff\x7f"  # where the part begins
    path.write_bytes(data)
    with pytest.raises(InvalidDocument, match=r"export\.zip"):
        found(path)
