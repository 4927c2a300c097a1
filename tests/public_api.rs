//! Everything public is listed in `docs/public-api.txt`, as rustdoc shows it.
//!
//! After a change on purpose: `UPDATE_PUBLIC_API=1 cargo test --test public_api`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const LISTING: &str = "docs/public-api.txt";

/// The documentation of the crate, made anew.
fn documentation() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let status = Command::new(env!("CARGO"))
        .args(["doc", "--no-deps", "--lib", "--locked", "--quiet"])
        .arg("--target-dir")
        .arg(target)
        .status()
        .unwrap();
    assert!(status.success());
    target.join("doc/sllm_ort")
}

/// The values of this attribute that begin with `prefix`, without it.
fn values<'t>(html: &'t str, attribute: &str, prefix: &str) -> impl Iterator<Item = &'t str> {
    let begin = format!("{attribute}=\"{prefix}");
    let parts: Vec<&str> = html.split(&begin).skip(1).collect();
    parts.into_iter().filter_map(|rest| rest.split('"').next())
}

#[test]
fn the_listing_is_what_rustdoc_shows() {
    let folder = documentation();
    let index = fs::read_to_string(folder.join("all.html")).unwrap();
    let mut lines = BTreeSet::new();
    for page in values(&index, "href", "").filter(|page| page.ends_with(".html")) {
        // struct.Model.html, or text/enum.Rule.html
        let (module, file) = page.rsplit_once('/').unwrap_or(("", page));
        let mut parts = file.split('.');
        let (Some(sort), Some(name), Some("html")) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let Ok(html) = fs::read_to_string(folder.join(page)) else {
            continue;
        };
        let path = match module {
            "" => name.to_owned(),
            module => format!("{}::{name}", module.replace('/', "::")),
        };
        lines.insert(format!("{path} ({sort})"));
        // What belongs to traits is not the type's own.
        let own = html.split("id=\"trait-implementations\"").next().unwrap();
        for (prefix, what) in [("method.", "()"), ("variant.", ""), ("structfield.", "")] {
            for member in values(own, "id", prefix) {
                let name = member.replace(".field.", ".");
                lines.insert(format!("{path}::{name}{what}"));
            }
        }
    }
    assert!(lines.len() > 100, "{lines:?}");
    let found = lines.into_iter().collect::<Vec<_>>().join("\n") + "\n";
    if std::env::var_os("UPDATE_PUBLIC_API").is_some() {
        fs::write(LISTING, &found).unwrap();
    }
    let listed = fs::read_to_string(LISTING).unwrap();
    let difference = |a: &str, b: &str| -> Vec<String> {
        let b: BTreeSet<&str> = b.lines().collect();
        a.lines()
            .filter(|line| !b.contains(line))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        difference(&found, &listed),
        [""; 0],
        "not listed in {LISTING}"
    );
    assert_eq!(
        difference(&listed, &found),
        [""; 0],
        "listed, and not public"
    );
}
