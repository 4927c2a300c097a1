//! The server as its clients see it: the real program, real connections.
#![cfg(all(feature = "serve", unix))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "serve/access.rs"]
mod access;
#[path = "serve/choices.rs"]
mod choices;
#[path = "serve/completions.rs"]
mod completions;
#[path = "serve/fields.rs"]
mod fields;
#[path = "serve/heads.rs"]
mod heads;
#[path = "serve/http.rs"]
mod http;
#[path = "serve/json.rs"]
mod json;
#[path = "serve/killed.rs"]
mod killed;
#[path = "serve/left.rs"]
mod left;
#[path = "serve/limits.rs"]
mod limits;
#[path = "serve/lists.rs"]
mod lists;
#[path = "serve/load.rs"]
mod load;
#[path = "serve/malformed.rs"]
mod malformed;
#[path = "serve/neutral.rs"]
mod neutral;
#[path = "serve/page.rs"]
mod page;
#[path = "serve/sentences.rs"]
mod sentences;
#[path = "serve/server.rs"]
mod server;
#[path = "serve/sessions.rs"]
mod sessions;
#[path = "serve/shared.rs"]
mod shared;
#[path = "serve/slow.rs"]
mod slow;
mod support;
#[path = "serve/unusable.rs"]
mod unusable;
