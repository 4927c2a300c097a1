//! The examples are short, and need no type of ONNX Runtime's binding.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

#[test]
fn short_and_without_other_crates_types() {
    for name in ["stream", "search", "threads", "chat"] {
        let program = fs::read_to_string(format!("examples/{name}.rs")).unwrap();
        assert!(program.lines().count() < 40, "{name}");
        let foreign = |line: &&str| line.contains("ort::") && !line.contains("sllm_ort::");
        assert_eq!(program.lines().find(foreign), None, "{name}");
        assert!(program.contains("fn main"), "{name}");
    }
}
