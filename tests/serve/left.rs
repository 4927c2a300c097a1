//! Clients that leave before the head of their answer.

use std::{net::TcpStream, process::Stdio};

use serde_json::{Value, json};

use super::server::{PROMPT, STORIES, Server, command};

/// What takes longer than any of these tests.
fn long() -> Value {
    json!({"prompt": PROMPT, "max_sentences": 120, "ignore_eos": true, "best_of": 20,
        "temperature": 1})
}

/// A server whose only row is taken by a request.
fn busy(arguments: &[&str]) -> (Server, TcpStream) {
    let server = Server::stories(&[&["--max-batch", "1"], arguments].concat());
    let running = server.begin("/v1/completions", &long());
    server.wait_for("sllm_batch_rows", 1.0);
    (server, running)
}

#[test]
fn a_waiting_client_that_leaves_frees_its_place() {
    let (server, running) = busy(&["--max-queue", "1"]);
    for left in [1.0, 2.0] {
        let waiting = server.begin("/v1/completions", &long());
        server.wait_for("sllm_queue_depth", 1.0);
        let error = server.post("/v1/completions", &long()).error(429);
        assert_eq!(error["code"], "queue_full");
        drop(waiting);
        server.wait_for("sllm_queue_depth", 0.0);
        server.wait_for("sllm_cancelled_rows_total", left);
        assert_eq!(server.metric("sllm_batch_rows"), 1.0);
    }
    drop(running);
    server.wait_for("sllm_cancelled_rows_total", 3.0);
    server.wait_for("sllm_batch_rows", 0.0);
}

#[test]
fn a_session_is_free_when_the_client_that_waited_for_it_leaves() {
    let server = Server::stories(&["--max-batch", "1"]);
    let session = server.ok("/v1/sessions", &json!({"text": PROMPT}));
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let running = server.begin("/v1/completions", &long());
    server.wait_for("sllm_batch_rows", 1.0);
    let waiting = server.begin(&format!("{path}/generate"), &json!({}));
    server.wait_for("sllm_queue_depth", 1.0);
    drop(waiting);
    server.wait_for("sllm_cancelled_rows_total", 1.0);
    server.ok(&format!("{path}/rewind"), &json!({"sentences": 1}));
    drop(running);
}

#[test]
fn a_session_whose_client_left_is_forgotten() {
    let (server, running) = busy(&[]);
    let creating = server.begin("/v1/sessions", &json!({"text": PROMPT}));
    server.wait_for("sllm_queue_depth", 1.0);
    assert_eq!(server.metric("sllm_sessions"), 1.0);
    drop(creating);
    server.wait_for("sllm_sessions", 0.0);
    assert_eq!(server.metric("sllm_batch_rows"), 1.0);
    drop(running);
    server.wait_for("sllm_batch_rows", 0.0);
    server.ok("/v1/sessions", &json!({"text": PROMPT}));
    assert_eq!(server.metric("sllm_sessions"), 1.0);
}

#[test]
fn a_client_that_left_is_counted_and_logged() {
    let mut command = command(&["--model", STORIES, "--log", "info"]);
    command.stderr(Stdio::piped());
    let server = Server::spawn(command);
    let running = server.begin("/v1/completions", &long());
    server.wait_for("sllm_batch_rows", 1.0);
    drop(running);
    let left = r#"sllm_requests_total{endpoint="/v1/completions",status="499"}"#;
    server.wait_for(left, 1.0);
    let log = server.end();
    assert!(log.contains("status=499"), "{log}");
}
