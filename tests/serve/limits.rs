//! Requests that are more than the server holds, or take too long.

use serde_json::json;

use super::{
    server::{PROMPT, Server},
    support::{TINY, load},
};

#[test]
fn a_context_that_is_too_long_is_refused() {
    let server = Server::start(&["--model", TINY]);
    let prompt = "hello world. ".repeat(13);
    let error = server
        .post("/v1/completions", &json!({"prompt": prompt}))
        .error(400);
    assert_eq!(error["code"], "context_length_exceeded");
    assert_eq!(error["param"], "prompt");
}

#[test]
fn a_full_queue_refuses() {
    let server = Server::stories(&["--max-batch", "1", "--max-queue", "1"]);
    let long = json!({"prompt": PROMPT, "max_sentences": 120, "ignore_eos": true, "stream": true,
        "best_of": 20, "temperature": 1});
    let running = server.begin("/v1/completions", &long);
    server.wait_for("sllm_batch_rows", 1.0);
    let waiting = server.begin("/v1/completions", &long);
    server.wait_for("sllm_queue_depth", 1.0);
    let answer = server.post("/v1/completions", &long);
    assert_eq!(answer.error(429)["code"], "queue_full");
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop((running, waiting));
    server.wait_for("sllm_batch_rows", 0.0);
    server.wait_for("sllm_queue_depth", 0.0);
    assert_ne!(
        server.complete(&json!({"prompt": PROMPT, "max_sentences": 1})),
        ""
    );
}

/// What could never be admitted is refused for good, with the limit: 2 texts that run, as
/// `--kv-memory` holds 2 full contexts, and 1 that waits.
#[test]
fn more_texts_than_the_server_holds_are_refused() {
    let contexts = load(TINY, "portable").kv_bytes(None).unwrap();
    let memory = (2 * contexts.kv_bytes_full_context).to_string();
    let server = Server::start(&[
        "--model",
        TINY,
        "--variant",
        "portable",
        "--kv-memory",
        &memory,
        "--max-queue",
        "1",
    ]);
    let prompt = "hello world. ";
    let messages = json!([{"role": "user", "content": prompt}]);
    let completions = "/v1/completions";
    for (path, body, param) in [
        (completions, json!({"prompt": prompt, "n": 4}), "n"),
        (completions, json!({"prompt": [prompt], "n": 4}), "n"),
        (completions, json!({"prompt": vec![prompt; 4]}), "prompt"),
        (
            completions,
            json!({"prompt": [prompt, prompt], "n": 2}),
            "prompt",
        ),
        (
            "/v1/chat/completions",
            json!({"messages": messages, "n": 4}),
            "n",
        ),
    ] {
        let error = server.post(path, &body).error(400);
        assert_eq!(error["param"], param, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("at most 3 texts"), "{message}");
    }
    for body in [
        json!({"prompt": prompt, "n": 3, "best_of": 20, "max_sentences": 1, "temperature": 1}),
        json!({"prompt": vec![prompt; 3], "max_sentences": 1}),
    ] {
        server.ok(completions, &body);
    }
}

/// A copy that does not fit beside its original, whatever else is deleted.
#[test]
fn a_fork_that_could_never_be_held_is_refused() {
    let server = Server::start(&["--model", TINY]);
    server.ok("/v1/sessions", &json!({"text": "hello world. "}));
    let bytes = server.metric("sllm_session_bytes");
    for (limit, code) in [(1.5, Some("session_too_large")), (2.0, None)] {
        let limit = ((bytes * limit) as u64).to_string();
        let small = Server::start(&["--model", TINY, "--session-memory", &limit]);
        let session = small.ok("/v1/sessions", &json!({"text": "hello world. "}));
        let fork = format!("/v1/sessions/{}/fork", session["id"].as_str().unwrap());
        let answer = small.post(&fork, &json!({}));
        match code {
            Some(code) => assert_eq!(answer.error(400)["code"], code),
            None => drop(answer.json(200)),
        }
    }
}

#[test]
fn a_request_ends_at_its_time() {
    let server = Server::stories(&["--request-timeout", "0.05"]);
    let mut body = json!({"prompt": PROMPT, "max_sentences": 120, "ignore_eos": true, "best_of": 20,
            "temperature": 1});
    let error = server.post("/v1/completions", &body).error(504);
    assert_eq!(error["code"], "request_timeout");
    server.wait_for("sllm_batch_rows", 0.0);
    body["stream"] = json!(true);
    let answer = server.post("/v1/completions", &body);
    assert!(
        answer.text().contains("request_timeout"),
        "{}",
        answer.text()
    );
    server.wait_for("sllm_batch_rows", 0.0);
}
