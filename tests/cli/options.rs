//! Values of options and variables.

use predicates::{prelude::PredicateBooleanExt as _, str::contains};

use crate::support::{self, program, tiny};

#[test]
fn empty_variables_are_as_unset() {
    for name in [
        "SLLM_ORT_THREADS",
        "SLLM_ORT_PROVIDER",
        "SLLM_ORT_MODEL",
        "SLLM_ORT_LOG",
    ] {
        let mut command = match name {
            "SLLM_ORT_MODEL" => {
                let mut command = program();
                command.args(["info", "-m", support::TINY]);
                command
            }
            _ => tiny(&["info"]),
        };
        command.env(name, "").assert().success();
    }
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in [
        &["run", "a", "--temperature", "-1"][..],
        &["run", "a", "--top-k", "0"],
        &["run", "a", "--top-p", "1.5"],
        &["run", "a", "--repetition-penalty", "0"],
        &["run", "a", "--guidance-scale", "0.5"],
        &["run", "a", "--dry-multiplier", "-1"],
        &["run", "a", "--dry-base", "0.5"],
        &["run", "a", "--dry-allowed-length", "0"],
        &["run", "a", "--threads", "0"],
        &["run", "a", "--stop", ""],
        &["run", "a", "--provider", "gpu"],
        &["check", "-f", "README.md", "-n", "0"],
        &["run", "a", "--max-sentences", "x"],
        &["fly"],
    ] {
        program().args(arguments).assert().code(2).stdout("");
    }
}

/// An option that is given with nothing is wrong usage, and told with its name.
#[test]
fn empty_values_are_refused() {
    let text = "tests/data/stories.txt";
    let cases: [(&[&str], &[&str]); 7] = [
        (
            &["run", "The cat. "],
            &[
                "--stop",
                "--model",
                "--provider",
                "--variant",
                "--onnxruntime",
                "--save",
                "--load",
                "--session",
                "--log",
                "--temperature",
                "--seed",
                "--top-k",
                "--max-sentences",
                "--time-limit",
                "--best-of",
                "--when-full",
                "--format",
                "--device",
                "--engine-cache",
                "--engine-sizes",
            ],
        ),
        (&["run"], &["--file"]),
        (&["stats", "-f", text], &["--svg"]),
        (
            &["eval", "-f", text, "--baseline", "x"],
            &["--baseline-variant", "--state", "--limit"],
        ),
        (&["bench"], &["--svg", "--baseline"]),
        (&["man"], &["--dir"]),
        (
            &["serve"],
            &[
                "--host",
                "--cors",
                "--variant",
                "--model",
                "--api-key-file",
                "--provider",
            ],
        ),
    ];
    for (command, options) in cases {
        for option in options {
            let mut program = program();
            let output = program.args(command).args([option, ""]).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.code(),
                Some(2),
                "{command:?} {option}: {error}"
            );
            assert!(error.contains(option), "{command:?} {option}: {error}");
            assert_eq!(output.stdout, b"");
        }
    }
}

/// A wrong number is said to be one, not an unknown option, and where it comes from.
#[test]
fn wrong_numbers_are_explained() {
    let error = |arguments: &[&str], variable: &str| {
        let mut command = program();
        command
            .args(["run", "The cat. ", "--model", support::TINY])
            .args(arguments);
        if !variable.is_empty() {
            command.env("SLLM_ORT_THREADS", variable);
        }
        let output = command.assert().code(2).get_output().clone();
        let error = String::from_utf8(output.stderr).unwrap();
        error.lines().next().unwrap().to_owned()
    };
    for (arguments, expected) in [
        (["-n", "-1"], "the number is too small"),
        (["--max-sentences=-3", "-n5"], "the number is too small"),
        (["--top-k", "-7"], "the number is too small"),
        (["--no-repeat-ngram", "-2"], "the number is too small"),
        (["--threads", "-1"], "the number is too small"),
        (["-n", "99999999999999999999"], "the number is too large"),
        (["-n", "1.5"], "a whole number is needed"),
        (["-n", "--greedy"], "a value is required"),
        (["--max-tokens", ""], "a whole number is needed"),
        (["--max-tokens", "ten"], "a whole number is needed"),
        (["--temperature", "warm"], "a number is needed"),
        (["--time-limit", "5s"], "a number is needed"),
    ] {
        let error = error(&arguments, "");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    let of_variable = "(of the variable SLLM_ORT_THREADS)";
    for (arguments, variable, is_from_it) in [
        (&[][..], "two", true),
        (&[], "-2", true),
        (&["--threads", "two"], "two", false),
        (&["--threads=two"], "two", false),
        (&["-n", "two"], "two", false),
    ] {
        let error = error(arguments, variable);
        assert_eq!(error.contains(of_variable), is_from_it, "{error}");
        assert!(error.contains(variable), "{error}");
    }
    // A number is a text where it can be nothing else.
    tiny(&["segment", "-5"]).assert().stdout(contains("-5"));
}

/// Candidates of a greedy continuation are all the same.
#[test]
fn the_best_of_equal_candidates_is_refused() {
    let prompt = "The cat sat. ";
    for greedy in [
        &[][..],
        &["--greedy"],
        &["-t", "0"],
        &["-t", "0", "--seed", "3"],
    ] {
        let mut command = tiny(&["run", prompt, "--best-of", "3"]);
        let refused = command.args(greedy).assert().code(2).stdout("");
        let error = String::from_utf8(refused.get_output().stderr.clone()).unwrap();
        assert!(error.contains("best-of is 3, allowed is 1 at"), "{error}");
        assert!(error.contains("temperature 0"), "{error}");
    }
    for drawn in [&["--best-of", "1"][..], &["--best-of", "3", "-t", "0.9"]] {
        let mut command = tiny(&["run", prompt, "-n", "1"]);
        command.args(drawn).assert().success();
    }
    // The shipped bundle draws where nothing is said.
    let mut command = program();
    command.args([
        "run",
        prompt,
        "-n",
        "1",
        "--best-of",
        "2",
        "-m",
        "models/sllm-stories",
    ]);
    command.assert().success();
}

/// Where a variant has no weights that a kernel of ours multiplies with.
#[test]
fn a_kernel_without_effect_is_said() {
    for (variant, said) in [("portable", true), ("cpu-int8", false)] {
        for command in [&["run", "The cat sat. ", "-n", "0"][..], &["info"]] {
            let kernel = ["--variant", variant, "--matmul-kernel", "plain"];
            let mut program = program();
            program.args(command).args(["-m", "models/sllm-stories"]);
            let result = program.args(kernel).assert().success();
            let found = contains("matmul-kernel plain has no effect");
            match said {
                true => result.stderr(found),
                false => result.stderr(found.not()),
            };
        }
    }
}

/// An option that changes nothing is said, in every command that takes it.
#[test]
fn options_without_effect_are_said() {
    let text = "The cat sat. ";
    let options = [
        "--top-k", "2", "--top-p", ".2", "--min-p", ".1", "--seed", "3",
    ];
    for (arguments, greedy, warned) in [
        (&["run", text, "-n", "0"][..], &["--greedy"][..], 4),
        (&["run", text, "-n", "0"], &["-t", "1"], 0),
        (&["check", "-f", "-", "-n", "1"], &["--greedy"], 4),
        (&["check", "-f", "-", "-n", "1"], &["-t", "0"], 4),
        (&["check", "-f", "-", "-n", "1"], &["-t", "1"], 0),
    ] {
        let mut command = tiny(&[arguments, greedy, &options].concat());
        if arguments.contains(&"check") {
            command.write_stdin(text);
        }
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let found = error.matches("has no effect at temperature 0").count();
        assert_eq!(found, warned, "{arguments:?} {greedy:?}: {error}");
    }
}

#[test]
fn options_of_dry_need_its_multiplier() {
    let parts = ["--dry-base", "2", "--dry-allowed-length", "3"];
    for (multiplier, warned) in [("0", 2), ("0.8", 0)] {
        let first = ["run", "a", "-n", "0", "--dry-multiplier", multiplier];
        let output = tiny(&[&first[..], &parts].concat()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        let found = error
            .matches("has no effect without --dry-multiplier")
            .count();
        assert_eq!(found, warned, "{multiplier}: {error}");
    }
}

/// Numbers are shown in few digits, and next to nothing is not nothing.
#[test]
fn extreme_numbers_are_what_they_are() {
    let run = |arguments: &[&str]| {
        let mut command = tiny(&["run", "The cat. ", "-n", "1", "-s", "1"]);
        command.args(arguments).output().unwrap()
    };
    let best = run(&["-t", "1", "--top-k", "1"]);
    assert!(best.status.success());
    for arguments in [
        ["-t", "1", "--top-p", "1e-45"],
        ["-t", "1", "--top-p", "1e-46"],
        ["-t", "1e-50", "--top-p", "1e-300"],
        ["--greedy", "--no-repeat-ngram", "9", "--time-limit=1e300"],
        ["--greedy", "--no-repeat-ngram", "9", "--time-limit=inf"],
    ] {
        let output = run(&arguments);
        assert!(output.status.success(), "{arguments:?}");
        assert_eq!(output.stdout, best.stdout, "{arguments:?}");
    }
    for (argument, shown) in [
        ("--top-p=1e300", "top-p is 1e300,"),
        ("--top-p=-1e-300", "top-p is -1e-300,"),
        ("--top-p=0", "top-p is 0, allowed is above 0 to 1"),
        ("--temperature=1e38", "temperature is 1e38,"),
        ("--temperature=1e300", "temperature is 1e300,"),
        ("--min-p=-1e-50", "min-p is -1e-50,"),
        ("--guidance-scale=0.999", "guidance-scale is 0.999,"),
        ("--guidance-scale=1e300", "guidance-scale is 1e300,"),
        ("--repetition-penalty=1e-46", "repetition-penalty is 1e-46,"),
        ("--dry-multiplier=10.5", "dry-multiplier is 10.5,"),
        ("--dry-base=1e300", "dry-base is 1e300,"),
        ("--time-limit=-1e300", "time-limit is -1e300,"),
        ("--time-limit=nan", "time-limit is NaN,"),
    ] {
        let output = run(&[argument]);
        assert_eq!(output.status.code(), Some(2), "{argument}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(shown) && error.len() < 150, "{error}");
    }
}
