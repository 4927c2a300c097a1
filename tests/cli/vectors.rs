//! `reconstruct`, `embed` and `segment`.

use predicates::str::contains;
use serde_json::{Value, json};

use crate::support::{TINY_ORIGINAL, json_lines, program, tiny};

#[test]
fn reconstruct_takes_arguments_files_and_lines() {
    let expected = json!({
        "input": "Hello, ",
        "input_ids": [30, 8, 55, 18, 35, 42],
        "output": "Hello, ",
        "output_ids": [30, 8, 55, 18, 35, 42, 2],
        "exact": true,
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lines.txt");
    std::fs::write(&file, "Hello, \nHello, \r\n").unwrap();
    let line = |arguments: &[&str]| json_lines(&mut tiny(arguments));
    assert_eq!(
        line(&["reconstruct", "Hello, "]),
        std::slice::from_ref(&expected)
    );
    let file = file.to_str().unwrap();
    assert_eq!(
        line(&["reconstruct", "--file", file]),
        vec![expected.clone(); 2]
    );
    let mut stdin = tiny(&["reconstruct"]);
    stdin.write_stdin("Hello, \n");
    assert_eq!(json_lines(&mut stdin), [expected]);
    let cut = line(&["reconstruct", "--segment", "Hello, Hello, "]);
    assert_eq!(cut.len(), 2);
    assert_eq!(line(&["reconstruct", "Hello, Hello, "]).len(), 1);
}

#[test]
fn embed_prints_a_vector_for_each_text() {
    let lines = json_lines(&mut tiny(&["embed", "Hello, ", "the cat"]));
    assert_eq!(lines.len(), 2);
    for line in &lines {
        assert_eq!(line["embedding"].as_array().unwrap().len(), 32);
    }
    let mut stdin = tiny(&["embed"]);
    assert_eq!(json_lines(stdin.write_stdin("Hello, \nthe cat\n")), lines);
}

#[test]
fn segment_shows_the_cuts() {
    let lines = json_lines(&mut tiny(&["segment", "Hello, my friend. Bye"]));
    let texts: Vec<_> = lines
        .iter()
        .map(|line| line["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["Hello, ", "my friend. ", "Bye"]);
    assert_eq!(
        lines[0],
        json!({"index": 0, "text": "Hello, ", "tokens": 6})
    );
    program()
        .args(["segment", "Hello, Bye", "--model", TINY_ORIGINAL])
        .assert()
        .success()
        .stdout(contains("Hello"))
        .stderr(contains("\"Bye\" was dropped"));
}

/// Whatever the default form shows, JSON is complete: floats are read back as they were.
#[test]
fn json_numbers_are_exact() {
    let lines = json_lines(&mut tiny(&["embed", "the cat"]));
    let again = json_lines(&mut tiny(&["embed", "the cat"]));
    assert_eq!(lines, again);
    assert!(matches!(lines[0]["embedding"][0], Value::Number(_)));
}
