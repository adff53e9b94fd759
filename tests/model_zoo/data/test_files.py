"""Files of every kind to sequences: what is read, in which order, what goes on where, and what is refused."""

import gzip
import io
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from model_zoo.data import files, images
from model_zoo.data.files import RunDry, SourceError, State, Stream
from model_zoo.data.packing import Layout, Packer, Tokens, join, lay_out
from model_zoo.data.samples import READERS, BadRow, Document, Picture, Text
from model_zoo.data.tokenizer import open_tokenizer
from model_zoo.data.vocabulary import NO_TARGET

BYTES = open_tokenizer("bytes", end_token="")
LAYOUT = Layout(BYTES, num_tokens=4, image_size=8, num_channels=3, max_tokens=64, max_images=3)


@pytest.fixture(autouse=True)
def _data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def picture(colour: int = 100, *, size: tuple[int, int] = (6, 4)) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (colour, 0, 255)).save(stream, "PNG")
    return stream.getvalue()


def write_shard(path: Path, rows: Sequence[dict[str, bytes]]) -> None:
    """A WebDataset shard: suffix -> contents of each row's files."""
    with tarfile.open(path, "w") as shard:
        for number, row in enumerate(rows):
            for suffix, contents in row.items():
                entry = tarfile.TarInfo(f"{number:06d}.{suffix}")
                entry.size = len(contents)
                shard.addfile(entry, io.BytesIO(contents))


def write_texts(path: Path, texts: Sequence[Any]) -> None:
    if path.suffix == ".parquet":
        pd.DataFrame({"text": texts}).to_parquet(path)
    else:
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")


def same(document: Document) -> Document:
    return document


def stream(*patterns: str, source: str = "", prepare: Callable[[Document], Any] = same, **changes: Any) -> Stream[Any]:
    """Of `source`, or of one that may have files of the last pattern's kind."""
    reader = READERS[source or {".tar": "caption", ".json": "caption"}.get(Path(patterns[-1]).suffix, "text")]
    settings: dict[str, Any] = {"seed": (3,), "epochs": 1, "max_bad_share": 0.01} | changes
    return Stream("text", patterns, reader=reader, prepare=prepare, **settings)


def rest(documents: Stream[Any]) -> list[Any]:
    """All that is left, to the error that says so."""
    found = []
    while True:
        try:
            found.append(next(documents))
        except RunDry:
            return found


def test_pairs_of_a_shard_are_an_image_and_its_caption(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [{"png": picture(1), "txt": b"one"}])
    write_shard(tmp_path / "b.tar", [{"png": picture(2), "json": b'{"caption": "two"}'}])
    assert rest(stream("a.tar", "b.tar")) in [
        [(Picture(picture(1)), Text("one")), (Picture(picture(2)), Text("two"))],
        [(Picture(picture(2)), Text("two")), (Picture(picture(1)), Text("one"))],
    ]


def test_conversation_learns_what_the_model_says(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(picture())
    turns = [
        {"from": "human", "value": "<image>\nWhat is it?"},
        {"from": "gpt", "value": "A dot."},
        {"from": "human", "value": "Sure?"},
        {"from": "gpt", "value": "Yes."},
    ]
    (tmp_path / "a.json").write_text(json.dumps([{"id": "1", "image": "images/a.png", "conversations": turns}]), encoding="utf-8")
    (document,) = rest(stream("a.json"))
    said = (Text("What is it?", learnt=False), Text("A dot."), Text("Sure?", learnt=False), Text("Yes."))
    assert document == (Picture(picture()), *said)


def test_interleaved_document_keeps_its_order(tmp_path: Path) -> None:
    one = {"images": [None, {"bytes": picture(), "path": None}, None], "texts": ["before", None, "after"]}
    pd.DataFrame([one]).to_parquet(tmp_path / "a.parquet")
    assert rest(stream("a.parquet", source="interleaved")) == [(Text("before"), Picture(picture()), Text("after"))]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_every_row_is_read_once_an_epoch_in_a_drawn_order(tmp_path: Path, suffix: str) -> None:
    for file in range(3):
        write_texts(tmp_path / f"{file}{suffix}", [f"{file}-{row}" for row in range(files.BLOCK + 44)])
    found = [document[0].text for document in rest(stream(f"*{suffix}", epochs=2))]
    once = len(found) // 2
    assert once == 900
    first, second = found[:once], found[once:]
    assert sorted(first) == sorted(second) == sorted(f"{file}-{row}" for file in range(3) for row in range(300))
    assert first != second
    assert first[:300] != sorted(first[:300])
    assert [document[0].text for document in rest(stream(f"*{suffix}", epochs=2))] == found
    assert [document[0].text for document in rest(stream(f"*{suffix}", epochs=2, seed=(4,)))] != found


@pytest.mark.parametrize("suffix", [".tar", ".jsonl", ".parquet"])
@pytest.mark.parametrize("taken", [0, 1, 255, 256, 257, 301, 599])
def test_stream_goes_on_where_it_was(tmp_path: Path, suffix: str, taken: int) -> None:
    for file in range(2):
        texts = [f"{file}-{row}" for row in range(300)]
        if suffix == ".tar":
            write_shard(tmp_path / f"{file}.tar", [{"png": b"x", "txt": text.encode()} for text in texts])
        else:
            write_texts(tmp_path / f"{file}{suffix}", texts)
    whole, part = stream(f"*{suffix}"), stream(f"*{suffix}")
    everything = rest(whole)
    assert [next(part) for _ in range(taken)] == everything[:taken]
    later = stream(f"*{suffix}")
    later.go_on(State(*json.loads(json.dumps(part.state))))
    assert rest(later) == everything[taken:]


def test_source_that_has_run_dry_says_what_to_do(tmp_path: Path) -> None:
    write_texts(tmp_path / "a.jsonl", ["one", "two"])
    source = stream("a.jsonl", epochs=3)
    assert len(rest(source)) == 6
    why = r"source text has run dry after 6 rows of 1 file, 3 times over: lower .* raise data\.files\.epochs above 3$"
    with pytest.raises(RunDry, match=why):
        next(source)


def test_bad_rows_are_counted_and_left_out_within_the_limit(tmp_path: Path) -> None:
    write_texts(tmp_path / "a.jsonl", ["good"] * 196 + ["", "  ", None, "good"])
    source = stream("a.jsonl", max_bad_share=0.02)
    assert len(rest(source)) == 197
    assert (source.state.read, source.state.bad) == (200, 3)
    assert source.reasons == {"an empty text": 2, "no text": 1}


def test_more_bad_rows_than_allowed_end_the_source_with_names_and_numbers(tmp_path: Path) -> None:
    write_texts(tmp_path / "a.jsonl", [""] * 200)
    why = r"source text: 100 of 100 rows were bad, most often: an empty text; the last: row \d+ of .*a.jsonl; more than .*bad_share 0.01"
    with pytest.raises(SourceError, match=why):
        next(stream("a.jsonl"))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"image": "no.png", "conversations": [{"from": "human", "value": "<image>"}]}, "an image that cannot be read: No such file"),
        ({"image": "../a.png", "conversations": [{"from": "human", "value": "<image>"}]}, "an image outside its data's folder"),
        ({"image": "https://a.b/c.png", "conversations": []}, "nothing is downloaded"),
        ({"conversations": [{"from": "human", "value": "<image>"}]}, "<image> stands where there is no image left"),
        ({"conversations": [{"from": "robot", "value": "hello"}]}, "a turn is from 'robot'"),
        ({"conversations": [{"from": "human", "value": "hello"}]}, "no turn of gpt"),
        ({"conversations": ["hello"]}, "a turn that is no object but str"),
        ({"conversations": "hello"}, "conversations that are no list but str"),
    ],
)
def test_conversation_that_is_none_is_refused(tmp_path: Path, row: dict[str, Any], why: str) -> None:
    from model_zoo.data.samples import read_conversation

    with pytest.raises(BadRow, match=re.escape(why)):
        read_conversation(row, tmp_path)


def test_broken_and_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file matches nothing\*\.tar in .*ABLATE_DATA"):
        stream("nothing*.tar")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(SourceError, match=r"source text: .*a\.parquet cannot be read: "):
        next(stream("a.parquet"))
    write_shard(tmp_path / "b.tar", [{"png": picture(), "txt": b"x" * 2000}] * 3)
    (tmp_path / "b.tar").write_bytes((tmp_path / "b.tar").read_bytes()[:3000])
    with pytest.raises(SourceError, match=r"b\.tar cannot be read: "):
        rest(stream("b.tar"))
    (tmp_path / "c.jsonl").write_bytes(b'{"text": "\xff\xfe"}\n')
    with pytest.raises(SourceError, match=r"c\.jsonl cannot be read: "):
        next(stream("c.jsonl"))


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_json_that_is_nested_too_deeply_is_named(tmp_path: Path, suffix: str) -> None:
    deep = b'{"caption": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    (tmp_path / f"deep{suffix}").write_bytes(b"[" + deep + b"]" if suffix == ".json" else deep)
    with pytest.raises(SourceError, match=rf"deep\{suffix} cannot be read: .*(depth limit|nested too deeply)") as refused:
        next(stream(f"deep{suffix}"))
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("written", [b'["a"]', b'"a"'])
def test_json_of_a_shard_that_is_no_object_is_a_bad_row(tmp_path: Path, written: bytes) -> None:
    write_shard(tmp_path / "odd.tar", [{"png": picture(), "json": written}])
    with pytest.raises(SourceError, match=r"source text: 1 of 1 rows were bad, most often: a json that is no object but "):
        next(stream("odd.tar"))


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"txt": b"caf\xe9"}, "a txt that is not UTF-8"),
        ({"json": b'{"caption": "caf\xe9"}'}, "a json that is not UTF-8"),
        ({"json": b'{"caption": '}, "a json that is none"),
        ({"json": b'{"caption": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"}, "a json nested too deeply"),
    ],
)
def test_broken_words_of_a_shard_are_a_bad_row_that_is_named(tmp_path: Path, row: dict[str, bytes], why: str) -> None:
    (kind,) = row
    good = {"txt": b"good"} if kind == "txt" else {"json": b'{"caption": "good", "more": [1]}'}
    write_shard(tmp_path / "a.tar", [{"png": picture(), **each} for each in (good, good, row, good)])
    source = stream("a.tar")
    assert rest(source) == [(Picture(picture()), Text("good"))] * 3
    assert source.bad_rows == f"1 of 4 rows were bad, most often: {why}; the last: row 000002 of {tmp_path / 'a.tar'}"


@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_line_that_is_not_utf8_is_named(tmp_path: Path, suffix: str) -> None:
    lines = [b'{"text": "good"}', b'{"text": "good"}', b'{"text": "caf\xe9"}', b'{"text": "good"}']
    (tmp_path / f"a{suffix}").write_bytes(b"\n".join(lines) if suffix == ".jsonl" else b"[" + b",\n".join(lines) + b"]")
    with pytest.raises(SourceError, match=rf"a\{suffix} cannot be read: line 3 is not UTF-8 \(byte 0xe9 at 14\)$"):
        next(stream(f"a{suffix}"))


@pytest.mark.parametrize("number", [3, 30_000])
def test_line_that_is_no_json_is_named(tmp_path: Path, number: int) -> None:
    lines = ['{"text": "good"}'] * (number - 1) + ['{"text": "never ends}', '{"text": "good"}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    why = r"Unterminated string starting at \(character 10\)"
    with pytest.raises(SourceError, match=rf"cannot be read: line {number:,} is no JSON: {why}$"):
        rest(stream("a.jsonl"))


def test_image_that_is_missing_is_named_with_its_row(tmp_path: Path) -> None:
    asked = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "yes"}]
    (tmp_path / "a.png").write_bytes(picture())
    rows = [{"image": f"{name}.png", "conversations": asked} for name in "aba"]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    source = stream("a.json")
    rest(source)
    why = "an image that cannot be read: No such file or directory"
    assert source.bad_rows == f"1 of 3 rows were bad, most often: {why}; the last: row 2 of {tmp_path / 'a.json'} (b.png)"


PAGE = {"images": [None], "texts": ["one"]}


@pytest.mark.parametrize(
    ("source", "suffix", "row", "why"),
    [
        ("text", ".parquet", PAGE, "no text; it has 'texts' and 'images', as interleaved documents do"),
        ("text", ".jsonl", PAGE, "no text; it has 'texts' and 'images', as interleaved documents do"),
        ("text", ".jsonl", {"conversations": [{"from": "gpt", "value": "a"}]}, "no text; it has 'conversations', as conversations do"),
        ("interleaved", ".parquet", {"text": "one"}, "no images and texts; it has 'text', as texts do"),
        ("caption", ".json", {"text": "one"}, "no conversations; it has 'text', as texts do"),
        ("caption", ".json", {"question": "a", "answers": ["b"]}, "no conversations; it has 'question' and 'answers', as questions do"),
    ],
)
def test_source_decides_what_a_row_is_and_refuses_files_of_other_forms(
    tmp_path: Path, source: str, suffix: str, row: dict[str, Any], why: str
) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        pd.DataFrame([row] * 120).to_parquet(path)
    else:
        lines = [json.dumps(row)] * 120
        path.write_text("\n".join(lines) if suffix == ".jsonl" else f"[{','.join(lines)}]", encoding="utf-8")
    with pytest.raises(SourceError, match=rf"source text: 100 of 100 rows were bad, most often: {why}; the last: row \d+ of .*{suffix};"):
        next(stream(path.name, source=source))


def test_bad_row_is_named_by_its_number_and_its_own_reason_where_another_is_more_frequent(tmp_path: Path) -> None:
    write_texts(tmp_path / "a.jsonl", ["good"] * (files.BLOCK + 40) + [""])
    source = stream("a.jsonl")
    assert len(rest(source)) == files.BLOCK + 40
    assert source.bad_rows.endswith(f"an empty text; the last: row {files.BLOCK + 41} of {tmp_path / 'a.jsonl'}")
    write_texts(tmp_path / "b.jsonl", ["good", "", "", "", None])
    source = stream("b.jsonl", seed=(2,))  # the fifth comes last
    rest(source)
    assert source.bad_rows.endswith(f"most often: an empty text; the last: row 5 of {tmp_path / 'b.jsonl'}: no text")


def test_few_rows_that_are_all_bad_are_said_to_be_bad_and_not_to_have_run_dry(tmp_path: Path) -> None:
    write_texts(tmp_path / "a.jsonl", [""] * 10)
    write_texts(tmp_path / "b.jsonl", [""] * 20)
    with pytest.raises(SourceError, match=r"^source text: 30 of 30 rows were bad, most often: an empty text; the last: row") as said:
        next(stream("*.jsonl", epochs=3))
    assert not isinstance(said.value, RunDry)
    write_texts(tmp_path / "c.jsonl", ["good"])
    source = stream("*.jsonl", epochs=2)
    assert len(rest(source)) == 2
    with pytest.raises(RunDry, match=r"above 2 \(60 of 62 rows were bad, most often: an empty text; "):
        next(source)


def tar_ends(path: Path) -> tuple[list[int], int]:
    """Where each of its files begins, and where the last ends."""
    with tarfile.open(path) as shard:
        members = shard.getmembers()
    return [member.offset for member in members], members[-1].offset_data + 512


@pytest.mark.parametrize("cut", ["between rows", "between files of a row", "in a header", "before the end", "within the end"])
def test_shard_that_is_cut_off_where_reading_does_not_notice_is_refused(tmp_path: Path, cut: str) -> None:
    path = tmp_path / "a.tar"
    write_shard(path, [{"png": b"x" * 512, "txt": b"y" * 512}] * 3)
    begins, end = tar_ends(path)
    places = {
        "between rows": begins[4],
        "between files of a row": begins[3],
        "in a header": begins[4] + 100,
        "before the end": end,
        "within the end": end + 512,
    }
    path.write_bytes(path.read_bytes()[: places[cut]])
    with pytest.raises(SourceError, match=r"a\.tar cannot be read: ReadError: it is cut off: a whole archive ends with two"):
        next(stream("a.tar"))


def test_compressed_shard_is_read_whole_and_refused_cut_off(tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [{"png": picture(number), "txt": b"y"} for number in range(20)])
    whole = gzip.compress((tmp_path / "a.tar").read_bytes())
    (tmp_path / "a.tar").write_bytes(whole)
    assert len(rest(stream("a.tar"))) == 20
    (tmp_path / "a.tar").write_bytes(whole[:-200])
    with pytest.raises(SourceError, match=r"a\.tar cannot be read: EOFError: "):
        next(stream("a.tar"))


def test_shards_as_tools_write_them_are_whole(tmp_path: Path) -> None:
    write_shard(tmp_path / "padded.tar", [{"png": picture(), "txt": b"one"}])
    _, end = tar_ends(tmp_path / "padded.tar")
    written = (tmp_path / "padded.tar").read_bytes()
    (tmp_path / "short.tar").write_bytes(written[: end + 1024])
    (tmp_path / "long.tar").write_bytes(written + bytes(512 * 33))
    for name, form in (("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT), ("ustar", tarfile.USTAR_FORMAT)):
        with tarfile.open(tmp_path / f"{name}.tar", "w|", format=form) as shard:  # a stream, as webdataset's writer has it
            for suffix, contents in (("png", picture()), ("txt", b"one")):
                entry = tarfile.TarInfo(f"a.{suffix}")
                entry.size = len(contents)
                shard.addfile(entry, io.BytesIO(contents))
    names = ["padded", "short", "long", "gnu", "pax", "ustar"]
    if program := shutil.which("tar"):
        (tmp_path / "a.png").write_bytes(picture())
        (tmp_path / "a.txt").write_text("one", encoding="utf-8")
        subprocess.run([program, "-cf", "program.tar", "a.png", "a.txt"], cwd=tmp_path, check=True)
        names.append("program")
    for name in names:
        assert rest(stream(f"{name}.tar")) == [(Picture(picture()), Text("one"))], name


@pytest.mark.parametrize("suffix", [".tar", ".jsonl", ".parquet"])
def test_folder_of_data_may_have_brackets_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    folder = tmp_path / "data [v1] *"
    folder.mkdir()
    monkeypatch.setenv("ABLATE_DATA", str(folder))
    if suffix == ".tar":
        write_shard(folder / "a.tar", [{"png": picture(), "txt": b"one"}])
    else:
        write_texts(folder / f"a{suffix}", ["one"])
    for pattern in (f"a{suffix}", f"*{suffix}"):
        assert [document[-1] for document in rest(stream(pattern))] == [Text("one")]


def test_source_of_empty_files_says_so(tmp_path: Path) -> None:
    write_texts(tmp_path / "a.parquet", [])
    write_texts(tmp_path / "b.jsonl", [])
    write_shard(tmp_path / "c.tar", [])
    for name in ("a.parquet", "b.jsonl", "c.tar"):
        with pytest.raises(SourceError, match="has no row in any of 1 files"):
            next(stream(name))
    write_texts(tmp_path / "d.jsonl", ["full"])
    assert rest(stream("a.parquet", "b.jsonl", "c.tar", "d.jsonl")) == [(Text("full"),)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no image that can be read"),
        (b"not an image", "no image that can be read"),
        (picture(size=(40, 40))[:80], "a broken image"),
    ],
)
def test_image_that_is_none_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(BadRow, match=why):
        images.decode(data, image_size=8, num_channels=3)


def test_image_of_absurd_size_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    file = picture(size=(11, 10))
    monkeypatch.setattr(images, "MAX_PIXELS", 100)
    monkeypatch.setattr(Image.Image, "load", None)
    with pytest.raises(BadRow, match=r"an image of 11 x 10 px; at most 100 in all"):
        images.decode(file, image_size=8, num_channels=3)


@pytest.mark.parametrize("num_channels", [1, 3])
def test_image_is_padded_to_a_square_and_normalised(num_channels: int) -> None:
    white = io.BytesIO()
    Image.new("RGB", (16, 8), (255, 255, 255)).save(white, "PNG")
    pixels = images.decode(white.getvalue(), image_size=16, num_channels=num_channels)
    assert pixels.shape == (num_channels, 16, 16)
    assert pixels[:, 8].eq(1).all()
    assert pixels[:, 0].abs().max() < 0.01


def tokens_of(*lengths: int, images: int = 0) -> list[Document]:
    return [(*[Picture(picture())] * images, Text("x" * (length - 1))) for length in lengths]


def test_document_is_laid_out_with_its_loss_on_text_only() -> None:
    found = lay_out((Text("ab", learnt=False), Picture(picture()), Text("cd")), layout=LAYOUT)
    image, end = BYTES.image, BYTES.end
    assert found.tokens.tolist() == [97, 98, image, image, image, image, 99, 100, end]
    assert found.targets.tolist() == [NO_TARGET] * 5 + [99, 100, end, NO_TARGET]
    assert found.pixels.shape == (1, 3, 8, 8)


def test_long_document_is_cut_and_no_image_is_halved() -> None:
    found = lay_out((Text("x" * 62), Picture(picture()), Text("y")), layout=LAYOUT)
    assert (len(found.tokens), len(found.pixels)) == (62, 0)
    many = lay_out((*[Text("x"), Picture(picture())] * 5, Text("y")), layout=LAYOUT)
    assert (len(many.tokens), len(many.pixels)) == (1 + 5 * 3, 3)
    assert len(lay_out((Text("x" * 500),), layout=LAYOUT).tokens) == 64
    with pytest.raises(BadRow, match="nothing to learn in its first 64 tokens and 3 images"):
        lay_out((Text("x" * 64, learnt=False), Text("y")), layout=LAYOUT)


def test_packer_fills_sequences_without_losing_a_document(tmp_path: Path) -> None:
    lengths = np.random.default_rng(0).integers(1, 60, size=200)
    write_texts(tmp_path / "a.jsonl", ["x" * int(length) for length in lengths])

    def packer() -> Packer:
        return Packer(stream("a.jsonl", prepare=lambda document: lay_out(document, layout=LAYOUT), epochs=2), layout=LAYOUT)

    def shapes(sequence: list[Tokens]) -> list[int]:
        return [len(document.tokens) for document in sequence]

    one = packer()
    found = [shapes(next(one)) for _ in range(60)]
    assert all(0 < sum(sequence) <= 64 for sequence in found)
    assert all(sum(before) + after[0] > 64 for before, after in pairwise(found))
    two = packer()
    for _ in range(25):
        next(two)
    three = packer()
    three.go_on(two.state)
    assert [shapes(next(three)) for _ in range(35)] == found[25:]


def test_sequences_become_one_batch() -> None:
    documents = [lay_out(document, layout=LAYOUT) for document in (*tokens_of(7, images=2), *tokens_of(5, 3, 5))]
    batch, pixels = join(documents, device="cpu")
    assert [tuple(group) for group in batch.groups] == [(1, 3), (2, 5), (1, 15)]
    assert batch.pictures.tolist() == [0, 1]
    assert pixels.shape == (2, 3, 8, 8)
    assert (batch.tokens == BYTES.image).sum() == 8
    assert batch.tokens[batch.answered_at + 1].tolist() == batch.answers.tolist()
