//! README says what is true: its commands run, and its table is that of `--help`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use support::program;

fn readme() -> String {
    std::fs::read_to_string("README.md").unwrap()
}

/// The lines of all code blocks of a language.
fn code_lines(text: &str, language: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut inside = None;
    for line in text.lines() {
        match (inside, line.strip_prefix("```")) {
            (None, Some(opened)) => inside = Some(opened == language),
            (Some(_), Some(_)) => inside = None,
            (Some(true), None) => lines.push(line.to_owned()),
            _ => {}
        }
    }
    lines
}

/// Prose is at most 100 columns wide; tables, code and links may be wider.
#[test]
fn prose_is_not_too_wide() {
    let docs = std::fs::read_dir("docs").unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = docs
        .filter(|path| path.extension() == Some("md".as_ref()))
        .collect();
    for name in [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "fuzz/README.md",
    ] {
        files.push(name.into());
    }
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let mut code = false;
        for (number, line) in text.lines().enumerate() {
            code ^= line.starts_with("```");
            let free = code || line.starts_with(['|', '[', '!']);
            let width = line.chars().count();
            assert!(
                free || width <= 100,
                "{}:{}: {width}",
                path.display(),
                number + 1
            );
        }
    }
}

#[test]
fn every_command_runs() {
    let readme = readme();
    let commands = code_lines(&readme, "sh");
    assert!(!commands.is_empty());
    for command in commands {
        let arguments = command.strip_prefix("sllm-ort ").unwrap();
        // The commands quote with double quotes only.
        let words: Vec<&str> = arguments
            .split('"')
            .enumerate()
            .flat_map(|(number, part)| match number % 2 {
                0 => part.split_whitespace().collect::<Vec<_>>(),
                _ => vec![part],
            })
            .collect();
        let output = program().args(words).write_stdin("").output().unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!output.stdout.is_empty(), "{command}");
    }
}

#[test]
fn the_table_of_commands_is_that_of_help() {
    let help = String::from_utf8(program().arg("--help").output().unwrap().stdout).unwrap();
    let (_, after) = help.split_once("Commands:\n").unwrap();
    let commands = after.lines().take_while(|line| !line.trim().is_empty());
    let listed: Vec<(String, String)> = commands
        .filter_map(|line| line.trim().split_once("  "))
        .map(|(name, does)| (name.to_owned(), does.trim().to_owned()))
        .filter(|(name, _)| name != "help")
        .collect();
    assert!(listed.len() >= 5, "{help}");
    let readme = readme();
    let (_, table) = readme
        .split_once("| command | does |\n|---|---|\n")
        .unwrap();
    let rows = table.lines().map_while(|line| line.strip_prefix("| `"));
    let described: Vec<(String, String)> = rows
        .filter_map(|row| row.strip_suffix(" |")?.split_once("` | "))
        .map(|(name, does)| (name.to_owned(), does.to_owned()))
        .collect();
    assert_eq!(described, listed, "README's table and --help");
}

/// The pages that people read.
fn pages() -> Vec<PathBuf> {
    let of_folder = |folder: &str| {
        let entries = std::fs::read_dir(folder).unwrap();
        let pages = entries.map(|entry| entry.unwrap().path());
        pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"))
    };
    let folders = [
        ".",
        "docs",
        "fuzz",
        "bindings/python",
        "bindings/c",
        "examples/ray",
        "gpu",
    ];
    folders.into_iter().flat_map(of_folder).collect()
}

/// The anchors that GitHub gives to the headings of a page.
fn anchors(page: &str) -> Vec<String> {
    let headings = page
        .lines()
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    let kept = |title: &str| -> String {
        let kept = title.to_lowercase().replace(' ', "-");
        kept.chars()
            .filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_')
            .collect()
    };
    headings.map(kept).collect()
}

/// All links to files and headings of the project, whether they are defined in place or at the end.
#[test]
fn links_lead_somewhere() {
    let pages = pages();
    assert!(pages.len() > 15, "{pages:?}");
    for path in pages {
        let page = std::fs::read_to_string(&path).unwrap();
        let in_place = page
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        let at_the_end = page
            .lines()
            .filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
        let (names, defined): (Vec<_>, Vec<_>) = at_the_end.unzip();
        assert!(path != Path::new("./README.md") || !names.is_empty());
        for name in names {
            let uses = page.matches(&format!("[{name}]")).count();
            assert!(uses > 1, "{path:?} never links to {name}");
        }
        let links = in_place.chain(defined);
        for link in links.filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.with_file_name(file),
            };
            assert!(target.exists(), "{path:?}: {link}");
            let is_there = |anchor: &str| {
                let page = std::fs::read_to_string(&target).unwrap();
                anchors(&page).iter().any(|known| known == anchor)
            };
            assert!(anchor.is_empty() || is_there(anchor), "{path:?}: {link}");
        }
    }
}

/// The prompt is the Makefile's, the story what the program prints for it.
#[test]
fn the_story_is_what_make_run_prints() {
    let makefile = std::fs::read_to_string("Makefile").unwrap();
    let prompt = makefile
        .lines()
        .find_map(|line| line.strip_prefix("PROMPT := "))
        .unwrap();
    let output = program()
        .args(["run", prompt, "--seed", "1"])
        .output()
        .unwrap();
    let story = String::from_utf8(output.stdout).unwrap();
    let whole = format!("{prompt} {}", story.trim_end());
    assert!(
        readme().contains(&whole),
        "README lacks the story:\n{whole}"
    );
}

/// The keys of a JSON value, but for those of objects whose keys are free.
fn keys(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(object) => {
            for (key, value) in object {
                found.insert(key.clone());
                if key != "provenance" {
                    keys(value, found);
                }
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn the_page_of_bundles_has_every_key() {
    let mut files = vec![PathBuf::from("models/sllm-stories/sllm.json")];
    files.extend(
        std::fs::read_dir("configs")
            .unwrap()
            .map(|entry| entry.unwrap().path()),
    );
    assert!(files.len() > 20, "{files:?}");
    let mut found = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        keys(&serde_json::from_str(&text).unwrap(), &mut found);
    }
    let page = std::fs::read_to_string("docs/bundle.md").unwrap();
    let is_missing = |key: &&String| {
        let ends = [format!("`{key}`"), format!(".{key}`")];
        !ends.iter().any(|name| page.contains(name))
    };
    let missing: Vec<_> = found.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "docs/bundle.md lacks {missing:?}");
}
