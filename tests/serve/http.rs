//! Bodies, heads, paths and methods that are refused.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use super::{
    server::{Response, Server},
    support::TINY,
};

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
