//! A program that is killed while it saves leaves the old session or the new one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![cfg(unix)]

mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng, rngs::StdRng};
use sllm_ort::{LoadOptions, Model, Session};
use support::TINY;

const KILLS: usize = 20;
/// The environment variable that tells the child which file to save over.
const SAVE_TO: &str = "SLLM_SAVE_TO";
const OLD: &str = "Hello, the cat sat. ";
const NEW: &str = "hello world. the cat sat on the hill. ";

fn session(model: &Model, text: &str) -> Session {
    let mut session = model.session().unwrap();
    session.append(text).unwrap();
    session
}

/// What the child does until it is killed; nothing in a usual run of the tests.
#[test]
fn child_that_saves() {
    let Ok(path) = std::env::var(SAVE_TO) else {
        return;
    };
    let model = Model::load(TINY, LoadOptions::default()).unwrap();
    let sessions = [session(&model, NEW), session(&model, OLD)];
    fs::write(Path::new(&path).with_extension("ready"), "").unwrap();
    for session in sessions.iter().cycle() {
        session.save(&path).unwrap();
    }
}

#[test]
fn a_kill_while_saving_leaves_a_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, ready) = (
        folder.path().join("story.session"),
        folder.path().join("story.ready"),
    );
    let model = Model::load(TINY, LoadOptions::default()).unwrap();
    session(&model, OLD).save(&path).unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let mut partial_files = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_saves"])
            .env(SAVE_TO, &path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while !ready.exists() {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "the child does not save"
            );
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_micros(rng.random_range(0..20_000)));
        // SIGKILL on Unix.
        child.kill().unwrap();
        assert!(
            !child.wait().unwrap().success(),
            "it was to save until it is killed"
        );
        fs::remove_file(&ready).unwrap();
        let text = Session::load(&model, &path).unwrap().text();
        assert!(text == OLD || text == NEW, "after kill {kill}: {text:?}");
        partial_files += remove_partial(folder.path(), &path);
    }
    println!("{KILLS} kills, {partial_files} of them left a partial file beside the session");
}

/// Remove what a killed child left beside the file; how many those were, at most one.
fn remove_partial(folder: &Path, path: &Path) -> usize {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let partial: Vec<_> = entries.filter(|entry| entry != path).collect();
    assert!(partial.len() <= 1, "{partial:?}");
    partial
        .iter()
        .for_each(|file| fs::remove_file(file).unwrap());
    partial.len()
}
