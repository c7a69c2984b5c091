"""Parquet, Arrow, folders of save_to_disk, and data sets of the hub's cache."""

import datetime
import decimal
import json
import random

import pyarrow
import pytest
from pyarrow import parquet

from bedside.data import columnar, files, hub
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import ConfigError, DataError

ROWS = [{"question": f"q{number}", "answer": "长" * (number % 7)} for number in range(2500)]


def written(path, rows=ROWS, schema=None):
    """The rows as a file of the path's suffix."""
    table = pyarrow.Table.from_pylist(rows, schema)
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=700)
    else:
        with pyarrow.ipc.new_stream(path, table.schema) as stream:
            stream.write_table(table, max_chunksize=700)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_rows_have_their_number(tmp_path, suffix):
    path = written(tmp_path / f"rows{suffix}")
    found = list(files.read(path))
    assert [row.value for row in found] == ROWS
    assert found[0].origin == Origin(str(path), 1)
    assert str(found[2499].origin) == f"{path}:2500"


def test_an_arrow_file_of_the_other_kind(tmp_path):
    path = tmp_path / "rows.arrow"
    with pyarrow.ipc.new_file(path, pyarrow.schema({"a": pyarrow.string()})) as file:
        file.write_table(pyarrow.table({"a": ["x", "y"]}))
    assert [(row.origin.line, row.value) for row in files.read(path)] == [(1, {"a": "x"}), (2, {"a": "y"})]


def test_cells_become_what_json_has(tmp_path):
    table = {
        "day": [datetime.date(2020, 1, 2)] * 3,
        "dose": [decimal.Decimal("1.20")] * 3,
        "number": [1.5, float("nan"), None],
        "turns": [[{"role": "user", "train": None}]] * 3,
        "image": [{"bytes": b"x", "path": "p"}] * 3,
    }
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.table(table), path)
    row = {"day": "2020-01-02", "dose": "1.20", "turns": [{"role": "user"}]}
    assert list(files.read(path)) == [
        Fault(Origin(str(path), 1), "I_COLUMN", "column image holds bytes and is left out"),
        Row(Origin(str(path), 1), {**row, "number": 1.5}),
        Fault(Origin(str(path), 2), "E_NAN", "a number that JSON does not have"),
        Row(Origin(str(path), 3), row),
    ]


def test_a_cell_that_is_not_utf8_is_that_row_alone(tmp_path):
    raw = pyarrow.array([b"ok", b"\xff\xfe", b"fine"])
    cells = pyarrow.Array.from_buffers(pyarrow.utf8(), 3, raw.buffers())
    parquet.write_table(pyarrow.table({"a": cells}), tmp_path / "rows.parquet")
    found = [(item.origin.line, item[1]) for item in files.read(tmp_path / "rows.parquet")]
    assert found == [(1, {"a": "ok"}), (2, "E_ENCODING"), (3, {"a": "fine"})]


def test_a_cell_that_is_too_long(tmp_path):
    path = written(tmp_path / "rows.parquet", [{"a": "x" * 1_000_001}, {"a": "y"}])
    assert [item[1] for item in files.read(path)] == ["W_LONG", {"a": "y"}]


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
def test_what_is_cut_off_is_told(tmp_path, suffix, share):
    path = written(tmp_path / f"rows{suffix}")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=rf"E_COLUMNAR cannot be read as {suffix[1:]} behind row 0"):
        list(files.read(path))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_damage_is_told_or_changes_nothing_but_text(tmp_path, suffix):
    rng, raw = random.Random(3), written(tmp_path / f"rows{suffix}", ROWS[:40]).read_bytes()
    for _ in range(120):
        mutated = bytearray(raw)
        for _ in range(3):
            mutated[rng.randrange(len(raw))] = rng.randrange(256)
        path = tmp_path / f"mutated{suffix}"
        path.write_bytes(mutated)
        try:
            found = list(files.read(path))
        except DataError as error:
            assert error.code in ("E_COLUMNAR", "E_EMPTY_FILE")
        else:
            assert [item.origin.line for item in found if item[1] != "I_COLUMN"] == list(range(1, 41))


def test_no_rows_and_two_columns_of_one_name(tmp_path):
    path = written(tmp_path / "rows.parquet", [], pyarrow.schema({"a": pyarrow.string()}))
    with pytest.raises(DataError, match="E_EMPTY_FILE no rows"):
        list(files.read(path))
    with pyarrow.ipc.new_stream(tmp_path / "rows.arrow", schema := pyarrow.schema([("a", "string")] * 2)) as stream:
        stream.write_table(pyarrow.Table.from_arrays([["x"], ["y"]], schema=schema))
    with pytest.raises(DataError, match="two columns are called a; rename one"):
        list(files.read(tmp_path / "rows.arrow"))


def saved(directory, splits=None):
    """A folder as `save_to_disk` writes it: two shards, or splits of one each."""
    directory.mkdir(parents=True)
    if splits:
        for split in splits:
            saved(directory / split)
        (directory / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
        return directory
    names = [f"data-0000{number}-of-00002.arrow" for number in range(2)]
    for number, name in enumerate(names):
        written(directory / name, ROWS[number * 3 : number * 3 + 3])
    (directory / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (directory / "dataset_info.json").write_text("{}")
    return directory


def test_a_folder_of_save_to_disk(tmp_path):
    folder = saved(tmp_path / "one")
    found = list(files.read(folder))
    assert [row.value for row in found] == ROWS[:6]
    assert str(found[4].origin) == f"{folder}/data-00001-of-00002.arrow:2"
    assert files.find(str(tmp_path)) == columnar.shards(folder)
    (folder / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(ConfigError, match="data-00001-of-00002.arrow is missing; write the folder anew"):
        files.find(str(folder))
    (folder / "state.json").write_text("[")
    with pytest.raises(ConfigError, match="state.json: not JSON"):
        files.find(str(folder))


def test_a_folder_of_splits(tmp_path):
    folder = saved(tmp_path / "all", ["train", "test"])
    assert {path.parent.name for path in files.find(str(folder))} == {"train"}
    assert {path.parent.name for path in files.find(str(folder), split="test")} == {"test"}
    assert {path.parent.name for path in files.find(str(folder / "test"))} == {"test"}
    with pytest.raises(ConfigError, match=r"all: no split 'valid' \(has: train, test\)"):
        files.find(str(folder), split="valid")


def test_what_the_datasets_library_saves(tmp_path):
    from datasets import Dataset

    Dataset.from_list(ROWS[:9]).save_to_disk(tmp_path / "saved", num_shards=2)
    assert [row.value for row in files.read(tmp_path / "saved")] == ROWS[:9]


NAMES = {
    "owner/name": ("owner/name", None, None),
    "owner/name:test": ("owner/name", None, "test"),
    "owner/name/subset:test": ("owner/name", "subset", "test"),
}


def test_names_on_the_hub():
    assert {text: tuple(hub.parse(text)) for text in NAMES} == NAMES
    assert [str(hub.parse(text)) for text in NAMES] == list(NAMES)
    assert [hub.parse(text) for text in ("name", "a/b/c/d", "/a", "../a", "a/b:", "a b/c")] == [None] * 6


def cached(tmp_path):
    """A cache of the datasets library that holds owner/set with a train and a test split."""
    directory = tmp_path / "cache" / "owner___set" / "default" / "0.0.0" / "abc"
    directory.mkdir(parents=True)
    splits = {}
    for split in ("train", "test"):
        written(directory / f"set-{split}.arrow", ROWS[:5])
        splits[split] = {"name": split, "num_examples": 5, "num_bytes": 9, "dataset_name": "set"}
    features = {name: {"dtype": "string", "_type": "Value"} for name in ("question", "answer")}
    info = {"config_name": "default", "dataset_name": "set", "builder_name": "set", "features": features}
    version = {"version_str": "0.0.0", "major": 0, "minor": 0, "patch": 0}
    (directory / "dataset_info.json").write_text(json.dumps({**info, "splits": splits, "version": version}))
    return str(tmp_path / "cache")


def test_a_data_set_of_the_hub_that_is_cached(tmp_path):
    cache = cached(tmp_path)
    (path,) = hub.fetch(hub.parse("owner/set:test"), cache)
    assert path.name == "set-test.arrow"
    assert [row.value for row in files.read(path)] == ROWS[:5]
    assert hub.fetch(hub.parse("owner/set"), cache)[0].name == "set-train.arrow"
    with pytest.raises(ConfigError, match="^--dataset owner/set:no: cannot be loaded .*Unknown split.*; check"):
        hub.fetch(hub.parse("owner/set:no"), cache)
    with pytest.raises(ConfigError, match=r"^--dataset owner/other: not in the cache .*; HF_HUB_OFFLINE is"):
        hub.fetch(hub.parse("owner/other"), cache)
