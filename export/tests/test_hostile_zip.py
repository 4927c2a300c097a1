"""Archives that are damaged or lie about what they hold: one error, never a wrong tensor."""

import io
import random
import struct
import zipfile

import numpy as np
import pytest
from helpers import DATA, GOLDEN, TOKENIZER, golden_checkpoint
from test_hostile_pickle import GOOD, state_dict_of

from sllm_export import cli
from sllm_export.checkpoint import open_checkpoint
from sllm_export.errors import CheckpointError

GOOD_ENTRIES = {"x/data.pkl": state_dict_of(GOOD), "x/data/0": b"\1" * 16}
CENTRAL = b"PK\x01\x02"
OFFSETS = {"flags": 8, "crc": 16, "compressed": 20, "size": 24, "header": 42}
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def archive(entries, compression=None):
    """Bytes of an archive; `compression` has the entries that are not stored."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in entries.items():
            file.writestr(name, content, (compression or {}).get(name, STORED))
    return bytearray(out.getvalue())


def central(data, name):
    """Where the central directory tells of an entry."""
    at = data.find(CENTRAL)
    while data[at + 46 : at + 46 + len(name)] != name.encode():
        at = data.index(CENTRAL, at + 1)
    return at


def altered(name, **fields):
    """The good archive with fields of an entry's central record changed."""
    data = archive(GOOD_ENTRIES)
    for field, value in fields.items():
        struct.pack_into("<I", data, central(data, name) + OFFSETS[field], value)
    return data


def named_twice():
    other = {"x/data.pkl": GOOD_ENTRIES["x/data.pkl"], "x/data/1": b"\2" * 16, **GOOD_ENTRIES}
    return archive(other).replace(b"x/data/1", b"x/data/0")


def changed(old, new):
    data = archive(GOOD_ENTRIES)
    assert data.count(old) == 1
    return data.replace(old, new)


CASES = {
    "no storage": (
        archive({"x/data.pkl": GOOD_ENTRIES["x/data.pkl"]}),
        "storage 0 of w is missing",
    ),
    "no pickle": (archive({"readme": b"hello"}), r"holds 0 entries named \*/data.pkl"),
    "two pickles": (archive({**GOOD_ENTRIES, "y/data.pkl": b"N."}), "holds 2 entries named"),
    "short storage": (
        archive({**GOOD_ENTRIES, "x/data/0": b"\0" * 12}),
        r"has 12 bytes \(expected 16",
    ),
    "odd storage": (
        archive({**GOOD_ENTRIES, "x/data/0": b"\0" * 15}),
        r"has 15 bytes \(expected 16",
    ),
    "compressed storage": (archive(GOOD_ENTRIES, {"x/data/0": DEFLATED}), "is compressed"),
    "pickle bomb": (
        archive({**GOOD_ENTRIES, "x/data.pkl": b"N" * 2**24}, {"x/data.pkl": DEFLATED}),
        "data.pkl is compressed",
    ),
    "big-endian": (archive({**GOOD_ENTRIES, "x/byteorder": b"big"}), "big-endian"),
    "one name twice": (named_twice(), "two entries of one name"),
    "size above the file": (altered("x/data/0", size=2**31), "is compressed"),
    "both sizes above it": (altered("x/data/0", size=2**31, compressed=2**31), "is broken"),
    "entry outside the file": (altered("x/data/0", header=2**31), "cut off|not a whole zip"),
    "entry inside another": (altered("x/data/0", header=40), "is broken"),
    "flipped bit": (changed(b"\1" * 16, b"\1" * 15 + b"\0"), "x/data/0 is damaged"),
    "flipped bit in the pickle": (changed(b"K\x02K\x01", b"K\x01K\x01"), "data.pkl is damaged"),
    "name that is no text": (
        altered("x/data/0", flags=0x800).replace(b"x/data/0PK\x05", b"x/dat\xff/0PK\x05"),
        "is not a whole zip archive",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_lying_archive_is_refused(tmp_path, name):
    data, message = CASES[name]
    path = tmp_path / "x.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(path).load("w")
    assert "\n" not in str(caught.value)


def test_good_archive_as_a_control(tmp_path):
    path = tmp_path / "x.pth"
    path.write_bytes(archive(GOOD_ENTRIES))
    assert open_checkpoint(path).load("w").view(np.uint8).tolist() == [[1] * 8, [1] * 8]


def test_no_check_sum_is_not_a_wrong_one(tmp_path):
    """PyTorch writes 0 when it was told not to compute check sums."""
    path = tmp_path / "x.pth"
    path.write_bytes(altered("x/data/0", crc=0))
    assert open_checkpoint(path).load("w").shape == (2, 2)
    path.write_bytes(altered("x/data/0", crc=1))
    with pytest.raises(CheckpointError, match="is damaged"):
        open_checkpoint(path).load("w")


def test_entry_names_are_no_paths(tmp_path):
    """The key of a storage is looked up among the entries and nowhere else."""
    pickled = GOOD_ENTRIES["x/data.pkl"].replace(b"\x01\x00\x00\x000", b"\x04\x00\x00\x00../y")
    (tmp_path / "y").write_bytes(b"\0" * 16)
    path = tmp_path / "x.pth"
    path.write_bytes(archive({"x/data.pkl": pickled, "x/data/0": b"\0" * 16}))
    with pytest.raises(CheckpointError, match=r"storage \.\./y of w is missing"):
        open_checkpoint(path).load("w")


@pytest.mark.parametrize(
    "source",
    [DATA / "mixed.pth", GOLDEN / "tiny-opt" / "checkpoint.safetensors"],
    ids=lambda source: source.suffix,
)
def test_damaged_files_give_an_error_or_the_same_tensors(tmp_path, source):
    """Seeded random damage: bytes changed, cut out, the file cut short."""
    good = source.read_bytes()
    names = list(open_checkpoint(source).shapes)
    path = tmp_path / f"x{source.suffix}"
    draw = random.Random(0)
    refused = 0
    for _ in range(150):
        data = bytearray(good)
        at = draw.randrange(len(data))
        match draw.randrange(4):
            case 0:
                data[at] ^= 1 << draw.randrange(8)
            case 1:
                data[at : at + 8] = draw.randbytes(8)
            case 2:
                del data[at : at + draw.randrange(1, 64)]
            case 3:
                del data[at:]
        path.write_bytes(data)
        try:
            state_dict = open_checkpoint(path)
            for name in set(names) & set(state_dict.shapes):
                state_dict.load(name)
        except CheckpointError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data, _: data[: len(data) // 2], "is not a whole zip archive"),
        (lambda data, used: data.replace(used, used[::-1]), "is damaged (wrong check sum)"),
    ],
    ids=["cut short", "changed"],
)
def test_damaged_checkpoint_leaves_no_bundle(tmp_path, capsys, damage, message):
    source = golden_checkpoint("tiny-svae")
    used = open_checkpoint(source).load("decoder.linear.bias").tobytes()
    assert used != used[::-1]
    checkpoint = tmp_path / "x.pth"
    checkpoint.write_bytes(damage(source.read_bytes(), used))
    arguments = ["--config", GOLDEN / "tiny-svae" / "config.json", "--checkpoint", checkpoint]
    arguments += ["--tokenizer", TOKENIZER, "--out", tmp_path / "bundle"]
    assert cli.main(["bundle", *map(str, arguments)]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["x.pth"]
