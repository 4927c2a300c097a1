//! The modules of the library use each other in one direction.
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
    for path in files.iter().filter(|path| !path.ends_with("tests.rs")) {
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
