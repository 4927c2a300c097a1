"""The command `bundle` inside this process: what it leaves, and what it refuses."""

from helpers import TOKENIZER

from sllm_export import cli


def export(config, out, *more):
    """Exports random weights inside this process; returns the exit status."""
    arguments = ["bundle", "--config", config, "--out", out, "--tokenizer", TOKENIZER]
    if "--checkpoint" not in more and "--random" not in more:
        arguments += ["--random", "0"]
    return cli.main([str(argument) for argument in (*arguments, *more)])


def left_over(folder, *kept):
    """What lies in the folder besides the names in `kept`."""
    return sorted(path.name for path in folder.iterdir() if path.name not in kept)


def refusal(capsys):
    """The one line of an error."""
    error = capsys.readouterr().err
    assert error.startswith("sllm_export: error: ")
    assert error.count("\n") == 1
    return error
