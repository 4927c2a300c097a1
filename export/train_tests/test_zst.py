"""Compressed corpora: several frames, sizes that are not told, files that are cut off."""

import struct

import pytest
import zstandard
from tiny_training import Case, stories

from sllm_export.errors import ExportError
from sllm_train.corpus import read_records, sample_records, text_bytes

TEXT = stories(300)
NOTE = struct.pack("<II4s", 0x184D2A50, 4, b"note")
RECORDS = [record.strip() for record in TEXT.split("<|endoftext|>")[:-1]]


def frame(text, told=True):
    """One frame, which tells its size or does not."""
    return zstandard.ZstdCompressor(write_content_size=told).compress(text.encode())


def frames(told=True):
    """Frames that do not end where records do."""
    parts = [TEXT[start : start + 5001] for start in range(0, len(TEXT), 5001)]
    return [frame(part, told) for part in parts]


FILES = {
    "one frame": frame(TEXT),
    "size not told": frame(TEXT, told=False),
    "several frames": b"".join(frames()),
    "several without sizes": b"".join(frames(told=False)),
    "skippable frames": b"".join(NOTE + part for part in frames()),
}


@pytest.mark.parametrize("name", FILES)
def test_all_of_it_is_read(tmp_path, name):
    path = tmp_path / "a.txt.zst"
    path.write_bytes(FILES[name])
    assert list(read_records(path)) == RECORDS
    assert text_bytes(path) == len(TEXT.encode())
    sample = list(sample_records(path, len(TEXT) // 4))
    assert 74 <= len(sample) <= 76


@pytest.mark.parametrize("name", FILES)
def test_what_is_cut_off_is_refused(tmp_path, name):
    path = tmp_path / "a.txt.zst"
    whole = FILES[name]
    for length in (0, 1, 7, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        for read in (lambda: list(read_records(path)), lambda: text_bytes(path)):
            with pytest.raises(ExportError, match=r"a\.txt\.zst: is cut off"):
                read()


def test_the_command_refuses_it(tmp_path, capsys):
    case = Case(tmp_path)
    path = tmp_path / "a.txt.zst"
    path.write_bytes(FILES["one frame"][:-9])
    assert case.run("--text", path) == 1
    error = capsys.readouterr().err
    assert error == f"sllm_export: error: {path}: is cut off\n"
    assert not case.out.exists()
