"""A `.pth` file may hold any pickle: nothing in it is ever imported or called."""

import os
import pickle
import tracemalloc
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import PurePosixPath

import pytest

from sllm_export.checkpoint import open_checkpoint, restricted_pickle
from sllm_export.checkpoint.restricted_pickle import FOREIGN, load_restricted
from sllm_export.checkpoint.torch_tensors import StorageRef, rebuild_tensor
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


def write(path, data: bytes):
    """A file of PyTorch's layout with one storage of 4 elements."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", data)
        archive.writestr("x/data/0", b"\0" * 16)
    return path


def state_dict_of(operations: bytes) -> bytes:
    """Pickle of {"state_dict": {"w": <what the operations leave>}}."""
    return b"\x80\x02}X\x0a\x00\x00\x00state_dict}X\x01\x00\x00\x00w" + operations + b"ss."


TORCH_UTILS_THROUGH_OS = b"X\x02\x00\x00\x00osX\x11\x00\x00\x00path.os.sys.exit \x93"
GOOD = tensor(b"K\x00", b"K\x02K\x02\x86", b"K\x02K\x01\x86")


def test_good_file_as_a_control(tmp_path):
    state_dict = open_checkpoint(write(tmp_path / "x.pth", state_dict_of(GOOD)))
    assert dict(state_dict.shapes) == {"w": (2, 2)}
    assert state_dict.load("w").tolist() == [[0, 0], [0, 0]]


def test_tensors_of_other_kinds_may_lie_beside_the_weights(tmp_path):
    beside = GOOD.replace(b"Float", b"ComplexFloat")
    data = state_dict_of(GOOD)[:-1] + b"X\x05\x00\x00\x00other" + beside + b"s."
    assert dict(open_checkpoint(write(tmp_path / "x.pth", data)).shapes) == {"w": (2, 2)}


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_calls_become_placeholders(tmp_path, protocol):
    trace = tmp_path / "trace"
    hostile = {
        "reduce": Runs(os.mkdir, str(trace)),
        "eval": Runs(eval, f"__import__('os').mkdir({str(trace)!r})"),
        "nested": OrderedDict(a=[Runs(os.system, f"mkdir {trace}")]),
    }
    loaded = load_restricted(pickle.dumps(hostile, protocol))
    # With protocol 2 and up an OrderedDict's items are set one by one.
    assert loaded == {"reduce": FOREIGN, "eval": FOREIGN, "nested": {"a": [FOREIGN]}}
    assert not trace.exists()


class Slots:
    __slots__ = ("value",)

    def __init__(self):
        self.value = os.getcwd


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_objects_of_any_class_become_placeholders(protocol):
    """State, slots, sets, subclasses of containers, enumerations, keys of any kind."""
    foreign = {
        "slots": Slots(),
        "set": {1, 2},
        "frozen": frozenset("ab"),
        "default": defaultdict(list, a=[1]),
        "counter": Counter("aab"),
        "path": PurePosixPath("/etc"),
        "type": dict,
        "big": 1 << 5000,
        "bytes": bytearray(b"x"),
    }
    keys = {("a", 1): 2, Slots(): 3, 4: 5, None: 6}
    loaded = load_restricted(pickle.dumps({**foreign, "keys": keys, "kept": [1.5, None]}, protocol))
    assert loaded.pop("kept") == [1.5, None]
    assert loaded.pop("keys") == {FOREIGN: 6}
    assert loaded.pop("type") == ("__builtin__" if protocol == 2 else "builtins", "dict")
    loaded.pop("bytes")
    assert set(loaded.values()) == {FOREIGN}
    assert list(loaded) == ["slots", "set", "frozen", "default", "counter", "path", "big"]


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
    (
        "size of more than 63 bits",
        state_dict_of(tensor(b"K\x00", b"\x8a\x08" + b"\xff" * 8 + b"\x85", b"K\x00\x85")),
        "natural",
    ),
    (
        "size of a thousand digits",
        state_dict_of(tensor(b"K\x00", b"L" + b"9" * 1000 + b"L\n\x85", b"K\x00\x85")),
        "natural",
    ),
    (
        "many elements of one",
        state_dict_of(tensor(b"K\x00", b"J\xff\xff\xff\x7f\x85", b"K\x00\x85")),
        "more elements than its storage",
    ),
    ("complex tensor", state_dict_of(GOOD.replace(b"Float", b"ComplexFloat")), "w is not a tensor"),
    ("shape and stride differ", state_dict_of(tensor(b"K\x00", b"K\x02\x85", b")")), "differ"),
    ("shape is a list", state_dict_of(tensor(b"K\x00", b"]", b")")), "not a tuple"),
    ("tensor of no storage", state_dict_of(REBUILD + b"(K\x01K\x00))" + HOOKS + b"tR"), "storage"),
    ("altered rebuild", REBUILD + b"}X\x01\x00\x00\x00aK\x01sb.", "holds no state_dict"),
    ("other persistent id", b"(X\x04\x00\x00\x00evilK\x01tQ.", "persistent id"),
    ("cut short", state_dict_of(GOOD)[:-20], "refused"),
    ("not a pickle", b"hello", "refused"),
    ("stack underflow", b"\x80\x02R.", "refused"),
    ("deep nesting", b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".", "holds no state_dict"),
    ("extension code", state_dict_of(b"\x82\x01"), "w is not a tensor"),
    ("out-of-band buffer", b"\x80\x05\x97.", "no place here"),
    ("name of a number", state_dict_of(b"K\x01K\x02\x93"), "name that is not a string"),
    ("dotted name", state_dict_of(TORCH_UTILS_THROUGH_OS + b")R"), "w is not a tensor"),
    ("rebuild by another way", state_dict_of(b"(" + REBUILD[1:-1] + b"\x93o"), "refused"),
    ("arguments that are a list", state_dict_of(REBUILD + b"]R"), "not a tuple"),
    ("too few arguments", state_dict_of(REBUILD + b")R"), "refused: TypeError"),
    ("number that is true", state_dict_of(tensor(b"\x88", b"K\x02\x85", b"K\x01\x85")), "natural"),
    ("dict under a mark", b"\x80\x02}(K\x01u.", "what is no dict"),
    ("mark left over", b"\x80\x02(.", "a mark in place of a value"),
    ("items for a number", b"\x80\x02K\x01K\x02a.", "what is no list"),
    ("memo that was not filled", b"\x80\x02h\x07.", "refused: KeyError"),
    ("long string", b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7fx.", "refused"),
    ("long number", b"\x80\x02\x8b\xff\xff\xff\x7f\x01.", "refused"),
    ("long decimal", b"L" + b"9" * 10000 + b"L\n.", "refused"),
    ("long frame", b"\x80\x04\x95" + b"\xff" * 7 + b"\x7f}.", "refused|no state_dict"),
    ("two stops", b"\x80\x02}." + state_dict_of(GOOD), "holds no state_dict"),
    ("control characters", state_dict_of(b"K\x01").replace(b"w", b"\x1b"), r"\\x1b is not"),
    (
        "state_dict that holds itself",
        b"\x80\x02}q\x00X\x01\x00\x00\x00wh\x00s.",
        r"holds no state_dict \(found w\)",
    ),
]


@pytest.mark.parametrize(("data", "message"), [r[1:] for r in HOSTILE], ids=[r[0] for r in HOSTILE])
def test_hostile_pickle_is_refused(tmp_path, data, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(write(tmp_path / "x.pth", data))
    assert "\n" not in str(caught.value)


# What keeps Python's own unpickler busy, or fills its memory, in a few bytes.
BOMBS = {
    "large index in the memo": b"\x80\x02}r\xff\xff\xff\x7f.",
    "large index in the memo, in decimals": b"}p99999999999999\n.",
    "tuples that hold each other twice, as a key": (b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s."),
    "lists that hold each other twice": b"\x80\x02]" + b"2\x86" * 60 + b".",
    "the same tuples in a set": b"\x80\x04\x8f()" + b"2\x86" * 60 + b"\x90.",
}


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_bombs_do_nothing(tmp_path, data):
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r"holds no state_dict|not a string"):
        open_checkpoint(write(tmp_path / "x.pth", data))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_operations_are_limited(monkeypatch):
    monkeypatch.setattr(restricted_pickle, "MAX_OPERATIONS", 1000)
    load_restricted(b"\x80\x02" + b"N0" * 498 + b"}.")
    with pytest.raises(pickle.UnpicklingError, match="more than 1000 operations"):
        load_restricted(b"\x80\x02" + b"N0" * 500 + b"}.")


def test_names_in_messages_are_cut(tmp_path):
    operations = b"\x80\x02}X" + (10**6).to_bytes(4, "little") + b"w" * 10**6 + b"K\x01s."
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(write(tmp_path / "x.pth", operations))
    assert len(str(caught.value)) < 1000


def test_a_tensor_has_few_dimensions():
    """Else many tensors could share one long shape, which is walked for each."""
    storage = StorageRef("0", "float32", 1)
    assert rebuild_tensor(storage, 0, (1,) * 64, (0,) * 64).shape == (1,) * 64
    with pytest.raises(pickle.UnpicklingError, match="more than 64 dimensions"):
        rebuild_tensor(storage, 0, (1,) * 65, (0,) * 65)
