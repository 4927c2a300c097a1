"""A `.pth` file may hold any pickle: nothing in it is ever imported or called."""

import os
import pickle
import zipfile
from collections import OrderedDict

import pytest

from sllm_export.checkpoint import open_checkpoint
from sllm_export.checkpoint.restricted_pickle import Foreign, load_restricted
from sllm_export.errors import CheckpointError

REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = (
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x04tQ"
)
HOOKS = b"\x89ccollections\nOrderedDict\n)R"


class Runs:
    """Pickles to a call of a function that leaves a trace."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def tensor(offset: bytes, shape: bytes, stride: bytes) -> bytes:
    """Pickle operations that rebuild a float tensor of the storage with 4 elements."""
    return REBUILD + b"(" + STORAGE + offset + shape + stride + HOOKS + b"tR"


def write(path, data: bytes, storage: bytes | None = b"\0" * 16, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("x/data.pkl", data)
        if storage is not None:
            archive.writestr("x/data/0", storage)
    return path


def state_dict_of(operations: bytes) -> bytes:
    """Pickle of {"state_dict": {"w": <what the operations leave>}}."""
    return b"\x80\x02}X\x0a\x00\x00\x00state_dict}X\x01\x00\x00\x00w" + operations + b"ss."


GOOD = tensor(b"K\x00", b"K\x02K\x02\x86", b"K\x02K\x01\x86")


def test_good_file_as_a_control(tmp_path):
    state_dict = open_checkpoint(write(tmp_path / "x.pth", state_dict_of(GOOD)))
    assert dict(state_dict.shapes) == {"w": (2, 2)}
    assert state_dict.load("w").tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_calls_become_placeholders(tmp_path, protocol):
    trace = tmp_path / "trace"
    hostile = {
        "reduce": Runs(os.mkdir, str(trace)),
        "eval": Runs(eval, f"__import__('os').mkdir({str(trace)!r})"),
        "nested": OrderedDict(a=[Runs(os.system, f"mkdir {trace}")]),
    }
    loaded = load_restricted(pickle.dumps(hostile, protocol))
    assert isinstance(loaded["reduce"], Foreign)
    assert isinstance(loaded["nested"]["a"][0], Foreign)
    assert not trace.exists()


HOSTILE = [
    ("call while loading", b"cos\nsystem\n(X\x05\x00\x00\x00falsetR.", "holds no state_dict"),
    ("inst operation", b"(X\x05\x00\x00\x00falseios\nsystem\n.", "holds no state_dict"),
    ("foreign object as a tensor", state_dict_of(b"cos\ngetcwd\n)R"), "w is not a tensor"),
    ("number as a tensor", state_dict_of(b"K\x01"), "w is not a tensor"),
    ("past the end", state_dict_of(tensor(b"K\x01", b"K\x02K\x02\x86", b"K\x02K\x01\x86")), "past"),
    (
        "huge stride",
        state_dict_of(tensor(b"K\x00", b"K\x02\x85", b"J\xff\xff\xff\x7f\x85")),
        "past",
    ),
    (
        "negative stride",
        state_dict_of(tensor(b"K\x03", b"K\x02\x85", b"J\xff\xff\xff\xff\x85")),
        "natural",
    ),
    ("negative offset", state_dict_of(tensor(b"J\xff\xff\xff\xff", b")", b")")), "natural"),
    ("shape and stride differ", state_dict_of(tensor(b"K\x00", b"K\x02\x85", b")")), "differ"),
    ("shape is a list", state_dict_of(tensor(b"K\x00", b"]", b")")), "not a tuple"),
    ("tensor of no storage", state_dict_of(REBUILD + b"(K\x01K\x00))" + HOOKS + b"tR"), "storage"),
    ("altered rebuild", REBUILD + b"}X\x01\x00\x00\x00aK\x01sb.", "alter"),
    ("other persistent id", b"(X\x04\x00\x00\x00evilK\x01tQ.", "persistent id"),
    ("cut short", state_dict_of(GOOD)[:-20], "refused"),
    ("not a pickle", b"hello", "refused"),
    ("stack underflow", b"\x80\x02R.", "refused"),
    ("deep nesting", b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".", "holds no state_dict"),
]


@pytest.mark.parametrize(("data", "message"), [r[1:] for r in HOSTILE], ids=[r[0] for r in HOSTILE])
def test_hostile_pickle_is_refused(tmp_path, data, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(write(tmp_path / "x.pth", data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("storage", "compression", "message"),
    [
        (None, zipfile.ZIP_STORED, "storage 0 of w is missing"),
        (b"\0" * 12, zipfile.ZIP_STORED, "has 3 elements"),
        (b"\0" * 15, zipfile.ZIP_STORED, "storage of w is broken"),
        (b"\0" * 16, zipfile.ZIP_DEFLATED, "is compressed"),
    ],
)
def test_broken_storage(tmp_path, storage, compression, message):
    path = write(tmp_path / "x.pth", state_dict_of(GOOD), storage, compression)
    state_dict = open_checkpoint(path)
    with pytest.raises(CheckpointError, match=message):
        state_dict.load("w")


def test_archive_without_a_single_pickle(tmp_path):
    path = tmp_path / "x.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(CheckpointError, match=r"holds 0 entries named \*/data.pkl"):
        open_checkpoint(path)
