//! Ten thousand requests that are wrong in random ways.

use std::thread;

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    server::{Response, Server},
    support::TINY,
};

/// Requests in all.
const REQUESTS: u64 = 10_000;
/// Clients that send them.
const CLIENTS: u64 = 4;
/// Requests of each client before memory is looked at: arenas and caches fill.
const WARM_UP: u64 = 500;
/// Most resident memory that all requests after them may add, in bytes.
const MAX_GROWTH: u64 = 32 << 20;

/// A good request of each endpoint.
fn good(session: &str, random: &mut StdRng) -> (&'static str, String, Value) {
    let text = "hello world. the dog ran. ";
    let sessions = |rest: &str| format!("/v1/sessions/{session}{rest}");
    let (method, path, body) = match random.random_range(0..20) {
        0..4 => (
            "POST",
            "/v1/completions".into(),
            json!({"model": "tiny", "prompt": text, "max_sentences": 1, "max_tokens": 5, "temperature": 0.5,
                "top_p": 0.9, "seed": 1, "stop": ["x"], "n": 1, "echo": true, "stream": true,
                "stream_options": {"include_usage": true}, "user": "me", "best_of": 1}),
        ),
        4 => (
            "POST",
            "/v1/chat/completions".into(),
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": text}]}],
                "max_sentences": 1, "stream": false}),
        ),
        5 | 6 => (
            "POST",
            "/v1/embeddings".into(),
            json!({"input": [text, "a"], "encoding_format": "base64", "pooling": "mean"}),
        ),
        7 => (
            "POST",
            "/v1/sentences/segment".into(),
            json!({"text": text}),
        ),
        8 => (
            "POST",
            "/v1/sentences/reconstruct".into(),
            json!({"text": text}),
        ),
        9 => (
            "POST",
            "/v1/sentences/decode".into(),
            json!({"vectors": [[0.5, 1e9, -1]]}),
        ),
        10 => (
            "POST",
            "/v1/sentences/interpolate".into(),
            json!({"from": "a.", "to": "b.", "steps": 3}),
        ),
        11 => (
            "POST",
            "/v1/sentences/similarity".into(),
            json!({"input": ["a.", "b."]}),
        ),
        12 => ("POST", sessions("/append"), json!({"text": "a. "})),
        13 | 14 => (
            "POST",
            sessions("/generate"),
            json!({"max_sentences": 1, "stream": true}),
        ),
        15 => ("POST", sessions("/rewind"), json!({"sentences": 1})),
        16 => ("POST", "/v1/sessions/restore".into(), json!("snapshot")),
        17 => ("GET", sessions(""), Value::Null),
        18 => ("GET", "/v1/models/tiny".into(), Value::Null),
        _ => ("GET", sessions("/snapshot"), Value::Null),
    };
    (method, path, body)
}

/// A value that most fields do not take.
fn wrong_value(random: &mut StdRng) -> Value {
    match random.random_range(0..14) {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(0),
        3 => json!(u64::MAX),
        4 => json!(1e308),
        5 => json!(0.5),
        6 => json!(""),
        7 => json!("\u{feff}\u{0}\u{202e} \u{1f98a}"),
        8 => json!([]),
        9 => json!({}),
        10 => json!([[[[1]]], {"a": [null]}]),
        11 => json!(true),
        12 => json!("word ".repeat(random.random_range(1..300))),
        _ => json!(vec![json!("a."); random.random_range(1..40)]),
    }
}

fn pick<T: Copy>(random: &mut StdRng, of: &[T]) -> T {
    of[random.random_range(0..of.len())]
}

/// Change a field, or something in one.
fn change(value: &mut Value, random: &mut StdRng) {
    match value {
        Value::Object(fields) if !fields.is_empty() && random.random_bool(0.9) => {
            let names: Vec<&String> = fields.keys().collect();
            let name = &pick(random, &names).clone();
            match random.random_range(0..4) {
                0 => {
                    fields.remove(name);
                }
                1 => {
                    fields.insert(format!("{name}_"), wrong_value(random));
                }
                _ => change(&mut fields[name], random),
            }
        }
        Value::Array(items) if !items.is_empty() && random.random_bool(0.7) => {
            let index = random.random_range(0..items.len());
            change(&mut items[index], random);
        }
        _ => *value = wrong_value(random),
    }
}

/// Change bytes of a body.
fn damage(body: &mut Vec<u8>, random: &mut StdRng) {
    match random.random_range(0..5) {
        0 => body.truncate(random.random_range(0..=body.len())),
        1 => body.extend((0..random.random_range(1..50)).map(|_| random.next_u32() as u8)),
        2 => *body = vec![pick(random, b"[{\""); random.random_range(1..5000)],
        3 => *body = (0..200).map(|_| random.next_u32() as u8).collect(),
        _ => {
            let index = random.random_range(0..=body.len());
            body.insert(index, random.next_u32() as u8);
        }
    }
}

/// The answer to a request that is wrong in one or more ways.
fn ask(server: &Server, session: &str, random: &mut StdRng) -> (String, Response) {
    let (mut method, mut path, mut value) = good(session, random);
    for _ in 0..random.random_range(0..3) {
        change(&mut value, random);
    }
    let mut body = match (method, &value) {
        ("GET", Value::Null) => Vec::new(),
        _ => value.to_string().into_bytes(),
    };
    let mut content_type = "application/json";
    match random.random_range(0..8) {
        0 => method = pick(random, &["PUT", "GET", "POST", "PATCH", "BREW", "OPTIONS"]),
        1 => path.push_str(pick(random, &["/", "x", "?a=%ff", "%00", "/../..", "?%"])),
        2 => content_type = pick(random, &["text/plain", "", "application/json; charset=x"]),
        3..5 => damage(&mut body, random),
        _ => {}
    }
    let shown = String::from_utf8_lossy(&body);
    let shown: String = shown.chars().take(500).collect();
    let what = format!("{method} {path} {shown}");
    let headers = [("content-type", content_type)];
    (what, server.request(method, &path, &headers, &body))
}

fn client(server: &Server, session: &str, seed: u64, requests: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..requests {
        let (what, answer) = ask(server, session, &mut random);
        assert!(
            matches!(answer.status, 200..500),
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
        if answer.status >= 400 {
            let error: Value = serde_json::from_slice(&answer.body)
                .unwrap_or_else(|_| panic!("{what}: {} {}", answer.status, answer.head));
            assert!(error["error"]["message"].is_string(), "{what}: {error}");
        }
    }
}

#[test]
fn wrong_requests_are_refused_and_leave_nothing() {
    let server = Server::start(&["--model", TINY]);
    let created = server.ok("/v1/sessions", &json!({"text": "hello world. "}));
    let session = created["id"].as_str().unwrap();
    let send = |first_seed: u64, requests: u64| {
        thread::scope(|scope| {
            for number in 0..CLIENTS {
                let server = &server;
                scope.spawn(move || client(server, session, first_seed + number, requests));
            }
        });
    };
    send(0, WARM_UP);
    let before = server.resident_bytes();
    send(CLIENTS, REQUESTS / CLIENTS - WARM_UP);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < MAX_GROWTH, "{grown} bytes more");
    assert_eq!(server.metric("sllm_batch_rows"), 0.0);
    assert_eq!(server.metric("sllm_queue_depth"), 0.0);
    assert_eq!(server.get("/health").status, 200);
}
