//! What is refused, and how.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use super::{
    server::{PROMPT, Response, Server},
    support::{TINY, load},
};

#[test]
fn each_wrong_field_is_named() {
    let server = Server::start(&["--model", TINY]);
    let prompt = "hello world. ";
    for (field, value, code) in [
        ("logprobs", json!(1), "unsupported_parameter"),
        ("suffix", json!("x"), "unsupported_parameter"),
        ("logit_bias", json!({"1": 2}), "unsupported_parameter"),
        ("presence_penalty", json!(0.5), "unsupported_parameter"),
        ("frequency_penalty", json!(-1), "unsupported_parameter"),
        ("max_token", json!(1), "unknown_parameter"),
        ("temperature", json!(-1), "invalid_value"),
        ("temperature", json!("hot"), "invalid_value"),
        ("temperature", json!(1e300), "invalid_value"),
        ("top_p", json!(0), "invalid_value"),
        ("top_k", json!(0), "invalid_value"),
        ("min_p", json!(2), "invalid_value"),
        ("repetition_penalty", json!(0.5), "invalid_value"),
        ("seed", json!(-1), "invalid_value"),
        ("max_tokens", json!(-1), "invalid_value"),
        ("max_tokens", json!(1.5), "invalid_value"),
        ("n", json!(0), "invalid_value"),
        ("n", json!(65), "invalid_value"),
        ("best_of", json!(0), "invalid_value"),
        ("best_of", json!(21), "invalid_value"),
        ("stop", json!(["a", "b", "c", "d", "e"]), "invalid_value"),
        ("stop", json!(""), "invalid_value"),
        ("stop", json!(7), "invalid_value"),
        ("stream", json!("yes"), "invalid_value"),
        (
            "stream_options",
            json!({"include_usage": true}),
            "invalid_value",
        ),
        ("prompt", json!([1, 99_999]), "invalid_value"),
        ("prompt", json!([[1, 2], [99_999]]), "invalid_value"),
        ("prompt", json!([1, -2]), "invalid_value"),
        ("prompt", json!([1, "a"]), "invalid_value"),
        ("prompt", json!([[1, 2.5]]), "invalid_value"),
        ("prompt", json!([[]]), "invalid_value"),
        ("prompt", json!({"ids": [1]}), "invalid_value"),
        ("prompt", json!([]), "invalid_value"),
        ("prompt", json!(""), "invalid_value"),
    ] {
        let mut body = json!({"prompt": prompt});
        body[field] = value.clone();
        let error = server.post("/v1/completions", &body).error(400);
        assert_eq!(error["param"], field, "{value}: {error}");
        assert_eq!(error["code"], code, "{value}: {error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    for (field, value, expected) in [
        ("seed", json!(-1), "a whole number, 0 or more"),
        ("max_sentences", json!("3"), "a whole number, 0 or more"),
        ("n", json!(1.5), "a whole number, 0 or more"),
        ("top_p", json!([]), "a number"),
        ("stream", json!(1), "a boolean"),
    ] {
        let mut body = json!({"prompt": prompt});
        body[field] = value;
        let error = server.post("/v1/completions", &body).error(400);
        let message = error["message"].as_str().unwrap();
        assert!(
            message.ends_with(&format!("expected {expected}")),
            "{message}"
        );
    }
    let missing = server.post("/v1/completions", &json!({})).error(400);
    assert_eq!(missing["param"], "prompt");
    let other = json!({"model": "gpt-4", "prompt": prompt});
    let error = server.post("/v1/completions", &other).error(404);
    assert_eq!(error["code"], "model_not_found");
    for (field, value) in [
        ("tools", json!([{}])),
        ("logprobs", json!(true)),
        ("response_format", json!({"type": "json_object"})),
        ("functions", json!([{}])),
    ] {
        let mut body = json!({"messages": [{"role": "user", "content": prompt}]});
        body[field] = value;
        let error = server.post("/v1/chat/completions", &body).error(400);
        assert_eq!(error["param"], field);
    }
    let body = json!({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]});
    let error = server.post("/v1/chat/completions", &body).error(400);
    assert!(
        error["param"].as_str().unwrap().starts_with("messages"),
        "{error}"
    );
}

/// The status, and the error's code.
fn refused(answer: &Response) -> (u16, Value) {
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    (answer.status, body["error"]["code"].clone())
}

#[test]
fn a_bad_body_is_refused() {
    let server = Server::start(&["--model", TINY, "--max-prompt-bytes", "1000"]);
    let json = [("content-type", "application/json")];
    let send = |body: &[u8]| refused(&server.request("POST", "/v1/completions", &json, body));
    let deep = "[".repeat(100_000);
    let deep_value = format!("{{\"prompt\": {deep}");
    for body in [
        &b""[..],
        b"{",
        b"\"text\"",
        b"[]",
        b"null",
        b"{\"prompt\": \"\xff\xfe\"}",
        b"\0\0\0",
        deep.as_bytes(),
        deep_value.as_bytes(),
    ] {
        assert_eq!(send(body), (400, json!("invalid_json")));
    }
    // A half of a surrogate pair is no character.
    assert_eq!(send(b"{\"prompt\": \"\\ud800\"}").0, 400);
    let long = json!({"prompt": "a".repeat(1001)}).to_string();
    assert_eq!(
        send(long.as_bytes()),
        (400, json!("context_length_exceeded"))
    );
    let huge = vec![b' '; 3 << 20];
    assert_eq!(send(&huge), (413, json!("body_too_large")));
    let text = [("content-type", "text/plain")];
    let answer = server.request("POST", "/v1/completions", &text, b"{}");
    assert_eq!(refused(&answer), (415, json!("unsupported_media_type")));
    let gzip = [json[0], ("content-encoding", "gzip")];
    let answer = server.request("POST", "/v1/completions", &gzip, b"\x1f\x8b\x08");
    assert_eq!(
        refused(&answer),
        (415, json!("unsupported_content_encoding"))
    );
    let marked = "\u{feff}{\"prompt\": \"the cat. \", \"max_sentences\": 1}";
    let identity = [json[0], ("content-encoding", "Identity")];
    for headers in [&json[..], &identity] {
        let answer = server.request("POST", "/v1/completions", headers, marked.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // Without a length, in chunks that do not end.
    let mut stream = server.connect();
    stream
        .write_all(b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    let chunk = [b"10000\r\n", &[b' '; 0x10000][..], b"\r\n"].concat();
    while stream.write_all(&chunk).is_ok() {}
    // The server works on.
    assert_eq!(server.get("/ready").status, 200);
    assert_eq!(server.metric("sllm_batch_rows"), 0.0);
}

/// A client that keeps its connections must not use one whose body was not read.
#[test]
fn a_refusal_of_a_body_ends_the_connection() {
    let server = Server::start(&["--model", TINY]);
    for (head, close) in [
        (
            "DELETE /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n",
            true,
        ),
        (
            "POST /v2 HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n",
            true,
        ),
        ("GET /v2 HTTP/1.1\r\nhost: x\r\n\r\n", false),
        ("GET /health HTTP/1.1\r\nhost: x\r\n\r\n", false),
    ] {
        let mut stream = server.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let (mut answer, mut piece) = (String::new(), [0; 4096]);
        while !answer.contains('}') {
            let read = stream.read(&mut piece).unwrap();
            answer += std::str::from_utf8(&piece[..read]).unwrap();
        }
        let says_so = answer.to_lowercase().contains("connection: close");
        assert_eq!(says_so, close, "{answer}");
    }
}

/// Heads that never come to a handler.
#[test]
fn a_bad_head_is_refused_with_a_body() {
    let server = Server::start(&["--model", TINY]);
    let long = "x".repeat(70 << 10);
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    for (head, status, code) in [
        ("\x01\x02 /\r\n\r\n".to_owned(), 400, "invalid_request"),
        ("GET / HTTP/9.9\r\n\r\n".into(), 400, "invalid_request"),
        ("GET /a b HTTP/1.1\r\n\r\n".into(), 400, "invalid_request"),
        (
            "GET / HTTP/1.1\r\na b: 1\r\n\r\n".into(),
            400,
            "invalid_request",
        ),
        (
            "GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n".into(),
            400,
            "invalid_request",
        ),
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), 414, "url_too_long"),
        (
            format!("GET / HTTP/1.1\r\n{many}\r\n"),
            431,
            "head_too_large",
        ),
        (
            format!("GET / HTTP/1.1\r\nx: {long}{long}\r\n\r\n"),
            431,
            "head_too_large",
        ),
    ] {
        let mut stream = server.connect();
        stream.write_all(head.as_bytes()).unwrap();
        let answer = Response::read(stream);
        assert_eq!(answer.error(status)["code"], code, "{}", answer.head);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    for path in ["/v1/models/%ff", "/v1/sessions/%ff%fe", "/page/%ff"] {
        assert_eq!(refused(&server.get(path)), (404, json!("unknown_url")));
    }
    assert_eq!(server.get("/health").status, 200);
}

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
fn paths_and_methods_are_those_of_the_contract() {
    let server = Server::start(&["--model", TINY]);
    assert_eq!(refused(&server.get("/v2")), (404, json!("unknown_url")));
    let answer = server.get("/v1/completions");
    assert_eq!(refused(&answer), (405, json!("method_not_allowed")));
    let contract = server.get("/openapi.json").json(200);
    assert!(contract["paths"]["/v1/completions"]["post"].is_object());
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .contains("default-src 'none'")
    );
    assert_eq!(server.get("/health").json(200), json!({"status": "ok"}));
    assert!(page.header("x-request-id").is_some());
    let bare = Server::start(&["--model", TINY, "--no-ui"]);
    assert_eq!(bare.get("/").status, 404);
}

#[test]
fn a_full_queue_refuses() {
    let server = Server::stories(&["--max-batch", "1", "--max-queue", "1"]);
    let long = json!({"prompt": PROMPT, "max_sentences": 100, "ignore_eos": true, "stream": true});
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
        json!({"prompt": prompt, "n": 3, "best_of": 20, "max_sentences": 1}),
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
    let mut body =
        json!({"prompt": PROMPT, "max_sentences": 120, "ignore_eos": true, "best_of": 20});
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
