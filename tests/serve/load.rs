//! Many clients, clients that leave, and a shutdown under load.

use std::{
    io::Read as _,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};

use super::server::{PROMPT, Response, Server, streamed};

const CLIENTS: usize = 64;
/// Clients that disconnect at random moments.
const LEAVING: u64 = 500;
/// Most resident memory that they may leave, in bytes.
const MAX_GROWTH: u64 = 32 << 20;

/// What a client asks for; each something else.
fn body(client: usize) -> Value {
    let name = ["Tim", "Lily", "Tom", "Anna"][client % 4];
    json!({
        "prompt": format!("Once upon a time, there was a child named {name}. ").repeat(client / 16 + 1),
        "temperature": if client.is_multiple_of(2) { 0.0 } else { 0.8 },
        "seed": client,
        "max_sentences": 3 + client % 5,
        "ignore_eos": true,
        "stream": client.is_multiple_of(3),
    })
}

fn text(answer: &Response) -> String {
    match answer.header("content-type") {
        Some("text/event-stream") => {
            let (text, reason) = streamed(&answer.events(), 0);
            assert_eq!(reason, "length");
            text
        }
        _ => {
            let body = answer.json(200);
            body["choices"][0]["text"].as_str().unwrap().to_owned()
        }
    }
}

#[test]
fn clients_together_get_what_each_gets_alone() {
    let server = Server::stories(&["--max-batch", "8"]);
    let ask = |client| text(&server.post("/v1/completions", &body(client)));
    let alone: Vec<String> = (0..CLIENTS).map(ask).collect();
    let together = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| scope.spawn(move || ask(client)))
            .collect();
        let texts = clients.into_iter().map(|client| client.join().unwrap());
        texts.collect::<Vec<_>>()
    });
    assert_eq!(together, alone);
    assert_eq!(server.metric("sllm_batch_rows"), 0.0);
    assert!(server.metric("sllm_generated_sentences_total") > 2.0 * 3.0 * CLIENTS as f64);
}

/// A prompt that is prefilled in pieces beside other rows gives the same text.
#[test]
fn a_long_prompt_among_others_is_continued_as_alone() {
    let server = Server::stories(&[]);
    let long = json!({"prompt": "The fox saw a bird. The bird was red. ".repeat(50), "max_sentences": 4,
            "temperature": 0});
    let alone = server.complete(&long);
    let other = json!({"prompt": PROMPT, "max_sentences": 60, "ignore_eos": true, "stream": true,
        "best_of": 8, "temperature": 1});
    let running = server.begin("/v1/completions", &other);
    server.wait_for("sllm_batch_rows", 1.0);
    assert_eq!(server.complete(&long), alone);
    Response::read(running).events();
}

/// Read the beginning of an answer.
fn begin(stream: &mut TcpStream) {
    let mut piece = [0; 64];
    assert!(stream.read(&mut piece).unwrap() > 0);
}

#[test]
fn clients_that_leave_leave_nothing() {
    let server = Server::stories(&["--max-batch", "4"]);
    let long = |stream: bool| json!({"prompt": PROMPT, "max_sentences": 120, "ignore_eos": true, "stream": stream, "n": 2});
    for round in 0..3 {
        let mut streaming = server.begin("/v1/completions", &long(true));
        begin(&mut streaming);
        let waiting: Vec<_> = (0..3)
            .map(|n| server.begin("/v1/completions", &long(n % 2 == 0)))
            .collect();
        server.wait_for("sllm_batch_rows", 4.0);
        drop((streaming, waiting));
        server.wait_for("sllm_batch_rows", 0.0);
        server.wait_for("sllm_queue_depth", 0.0);
        assert!(server.metric("sllm_cancelled_rows_total") >= f64::from(round));
    }
    let session = server.ok("/v1/sessions", &json!({"text": PROMPT}));
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let options = json!({"max_sentences": 120, "ignore_eos": true});
    let mut streaming = server.begin(&format!("{path}/generate"), &options);
    begin(&mut streaming);
    drop(streaming);
    server.wait_for("sllm_batch_rows", 0.0);
    // The session is there with its whole sentences, and free.
    let after = server.get(&path).json(200);
    assert!(after["sentences"].as_array().unwrap().len() < 120);
    server.ok(&format!("{path}/append"), &json!({"text": "The end. "}));
}

/// Ask for a completion or a continuation of a session, and leave after 0 to 60 milliseconds.
fn leave_early(server: &Server, session: &str, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let (path, body) = match random.random_range(0..4) {
        0 => (
            format!("/v1/sessions/{session}/generate"),
            json!({"max_sentences": 1, "ignore_eos": true, "stream": true}),
        ),
        1 => ("/v1/embeddings".to_owned(), json!({"input": PROMPT})),
        kind => (
            "/v1/completions".to_owned(),
            json!({"prompt": PROMPT, "max_sentences": 120, "ignore_eos": true, "stream": kind == 2,
                "n": random.random_range(1..3)}),
        ),
    };
    let mut stream = server.begin(&path, &body);
    thread::sleep(Duration::from_millis(random.random_range(0..60)));
    if random.random_bool(0.3) {
        let mut piece = [0; 16];
        let limit = Some(Duration::from_millis(50));
        stream.set_read_timeout(limit).unwrap();
        let _ = stream.read(&mut piece);
    }
}

#[test]
fn five_hundred_disconnects_leave_nothing() {
    let server = Server::stories(&["--max-batch", "8"]);
    let session = server.ok("/v1/sessions", &json!({"text": PROMPT}));
    let session = session["id"].as_str().unwrap();
    let leave = |seeds: std::ops::Range<u64>| {
        thread::scope(|scope| {
            for client in 0..8 {
                let (server, seeds) = (&server, seeds.clone());
                scope.spawn(move || {
                    for seed in seeds.filter(|seed| seed % 8 == client) {
                        leave_early(server, session, seed);
                    }
                });
            }
        });
        server.wait_for("sllm_batch_rows", 0.0);
        server.wait_for("sllm_queue_depth", 0.0);
    };
    leave(0..100);
    let before = server.resident_bytes();
    leave(100..LEAVING);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < MAX_GROWTH, "{grown} bytes more");
    assert_eq!(server.metric("sllm_sessions"), 1.0);
    let path = format!("/v1/sessions/{session}");
    server.get(&path).json(200);
    assert_ne!(
        server.complete(&json!({"prompt": PROMPT, "max_sentences": 1})),
        ""
    );
}

#[test]
fn a_signal_lets_answers_end_whole() {
    let server = Server::stories(&["--max-batch", "2", "--grace", "60"]);
    let mut long = json!({"prompt": PROMPT, "max_sentences": 60, "ignore_eos": true, "seed": 1,
        "best_of": 8, "temperature": 1});
    let expected = server.complete(&long);
    long["stream"] = json!(true);
    let running: Vec<_> = (0..2)
        .map(|_| server.begin("/v1/completions", &long))
        .collect();
    server.wait_for("sllm_batch_rows", 2.0);
    let mut connected = server.connect();
    let waiting = server.begin("/v1/completions", &long);
    server.wait_for("sllm_queue_depth", 1.0);
    server.terminate();
    assert_eq!(Response::read(waiting).error(503)["code"], "shutting_down");
    // New clients are told.
    assert_eq!(server.get("/ready").error(503)["code"], "shutting_down");
    server.get("/health").json(200);
    assert_eq!(server.metric("sllm_ready"), 0.0);
    let refused = server.post("/v1/completions", &long).error(503);
    assert_eq!(refused["code"], "shutting_down");
    for stream in running {
        let (text, reason) = streamed(&Response::read(stream).events(), 0);
        assert_eq!(text, expected);
        assert_eq!(reason, "length");
    }
    assert!(server.wait().success());
    let mut rest = Vec::new();
    let _ = connected.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

#[test]
fn a_signal_ends_long_answers_with_a_sentence() {
    let server = Server::stories(&["--grace", "4"]);
    let long = json!({"prompt": PROMPT, "max_sentences": 120, "ignore_eos": true, "stream": true,
        "best_of": 8, "temperature": 1});
    let running = server.begin("/v1/completions", &long);
    server.wait_for("sllm_batch_rows", 1.0);
    server.terminate();
    let started = Instant::now();
    let (text, reason) = streamed(&Response::read(running).events(), 0);
    assert_eq!(reason, "length");
    assert_ne!(text, "");
    assert!(server.wait().success());
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_idle_server_ends_at_once() {
    let server = Server::stories(&[]);
    server.terminate();
    assert!(server.wait().success());
}
