//! The modules of the library use each other in one direction, and all lock files know its
//! dependencies.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            files.push(path);
        }
    }
}

/// The code of a file: no comments, no tests, nothing that only the documentation uses.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut only_doc = false;
    let lines = text.lines().filter(|line| {
        let skipped = only_doc;
        only_doc = line.trim() == "#[cfg(doc)]";
        !skipped && !only_doc && !line.trim_start().starts_with("//")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The first name of each path after `crate::`, in braces too.
fn used(code: &str) -> BTreeSet<String> {
    let name = |text: &str| -> String {
        let word = |c: &char| c.is_alphanumeric() || *c == '_';
        text.trim_start().chars().take_while(word).collect()
    };
    let mut found = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(list) = rest.strip_prefix('{') else {
            found.insert(name(rest));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (at, c) in list.char_indices() {
            if begins && depth == 0 && !c.is_whitespace() {
                found.insert(name(&list[at..]));
                begins = false;
            }
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ => {}
            }
        }
    }
    found
}

#[test]
fn there_is_no_circle() {
    let mut files = Vec::new();
    rust_files(Path::new("src"), &mut files);
    let module = |path: &Path| -> String {
        let first = path.strip_prefix("src").unwrap().iter().next().unwrap();
        first.to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    let modules: BTreeSet<String> = files.iter().map(|path| module(path)).collect();
    assert!(
        modules.contains("generate") && modules.len() > 15,
        "{modules:?}"
    );
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let is_test = |path: &PathBuf| {
        path.iter()
            .any(|part| part == "tests" || part == "tests.rs")
    };
    for path in files.iter().filter(|path| !is_test(path)) {
        let own = module(path);
        if ["lib", "main"].contains(&own.as_str()) {
            continue;
        }
        let others = used(&code(path)).into_iter();
        let others = others.filter(|other| *other != own && modules.contains(other));
        uses.entry(own.clone()).or_default().extend(others);
    }
    // Take away what uses nothing that is left, until nothing is left.
    while !uses.is_empty() {
        let free = uses.iter().find(|(_, others)| others.is_empty());
        let Some((free, _)) = free.map(|(name, others)| (name.clone(), others)) else {
            panic!("these modules use each other in a circle: {uses:#?}");
        };
        uses.remove(&free);
        for others in uses.values_mut() {
            others.remove(&free);
        }
    }
}

/// A crate that is built with `--locked` fails where its lock file lacks a dependency of ours.
#[test]
fn lock_files_have_the_dependencies() {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    // Those of all systems and of some; each with whether it is optional.
    let sections = manifest.split("\n[").filter_map(|section| {
        let (name, entries) = section.split_once("]\n")?;
        let ours = name == "dependencies" || name.ends_with(".dependencies");
        ours.then_some(entries)
    });
    let lines = sections.flat_map(str::lines);
    let mut dependencies: Vec<(&str, bool)> = Vec::new();
    for line in lines {
        if let Some((name, _)) = line.split_once(" = ")
            && line.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            dependencies.push((name, false));
        }
        if let Some((_, optional)) = dependencies.last_mut() {
            *optional |= line.contains("optional = true");
        }
    }
    assert!(dependencies.len() > 20);
    // The others build without default features.
    let with_default = [".", "fuzz"];
    for folder in [
        ".",
        "fuzz",
        "tests/embedding",
        "bindings/python",
        "bindings/c",
    ] {
        let lock = fs::read_to_string(Path::new(folder).join("Cargo.lock")).unwrap();
        let mut packages = lock.split("[[package]]");
        let ours = packages.find(|package| package.starts_with("\nname = \"sllm-ort\"\n"));
        let ours = ours.unwrap();
        // A name has its version behind it where there are several.
        let has = |name: &str| {
            let entry = format!("\n \"{name}");
            let mut found = ours.match_indices(&entry);
            found.any(|(at, _)| ours[at + entry.len()..].starts_with(['"', ' ']))
        };
        let missing = dependencies
            .iter()
            .filter(|(name, optional)| !has(name) && (!optional || with_default.contains(&folder)));
        let missing: Vec<_> = missing.map(|(name, _)| name).collect();
        assert!(
            missing.is_empty(),
            "{folder}/Cargo.lock lacks {missing:?}: run \"cargo update --workspace --manifest-path \
             {folder}/Cargo.toml\""
        );
    }
}
