//! The goals of the Makefile.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, process::Command};

/// Each file that a goal needs is there, or has a rule.
#[test]
fn goals_can_be_planned() {
    let makefile = fs::read_to_string("Makefile").unwrap();
    let goals = makefile
        .lines()
        .filter(|line| line.contains(": ") && line.contains(" ## "));
    let goals: Vec<&str> = goals.filter_map(|line| line.split(':').next()).collect();
    assert!(goals.contains(&"test") && goals.len() > 30, "{goals:?}");
    for goal in goals {
        let planned = Command::new("make")
            .args(["--dry-run", goal])
            // This test may be run by make itself.
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&planned.stderr);
        assert!(
            !errors.contains("No rule to make target"),
            "{goal}: {errors}"
        );
    }
}
