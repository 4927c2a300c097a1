//! Bundles that are in order, and all sorts that are not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod edits;
#[path = "bundle/files.rs"]
mod files;
#[path = "bundle/fixture.rs"]
mod fixture;
#[path = "bundle/graphs.rs"]
mod graphs;
#[path = "bundle/links.rs"]
mod links;
#[path = "bundle/manifest.rs"]
mod manifest;
#[path = "bundle/memory.rs"]
mod memory;
#[path = "bundle/opening.rs"]
mod opening;
mod tiny_tokenizer;
