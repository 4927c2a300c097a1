//! Heads that mean two things, or what the server does not do.

use std::io::Write as _;

use serde_json::json;

use super::{
    server::{Response, Server},
    support::TINY,
};

fn answer(server: &Server, head: &str, body: &str) -> Response {
    let mut stream = server.connect();
    let head = format!("{head}connection: close\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).unwrap();
    Response::read(stream)
}

#[test]
fn what_a_head_says_of_its_body_is_clear() {
    let server = Server::start(&["--model", TINY]);
    let body = r#"{"prompt": "the cat. ", "max_sentences": 1}"#;
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let json = "content-type: application/json\r\n";
    let length = format!("content-length: {}\r\n", body.len());
    for (fields, body, status, code) in [
        (
            format!("{json}transfer-encoding: chunked\r\n"),
            &*chunks,
            200,
            "",
        ),
        (
            format!("{json}transfer-encoding: Chunked\r\n"),
            &chunks,
            200,
            "",
        ),
        (
            format!("{json}transfer-encoding: gzip, chunked\r\n"),
            &chunks,
            501,
            "unsupported_transfer_encoding",
        ),
        (
            format!("{json}transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n"),
            &chunks,
            501,
            "unsupported_transfer_encoding",
        ),
        (
            format!("{json}transfer-encoding: chunked, chunked\r\n"),
            &chunks,
            400,
            "invalid_request",
        ),
        (
            format!("{json}transfer-encoding: gzip\r\n"),
            "",
            400,
            "invalid_request",
        ),
        (
            format!("content-type: application/json; charset=utf-16\r\n{length}"),
            body,
            415,
            "unsupported_media_type",
        ),
        (
            format!("content-type: application/json; charset=UTF-8\r\n{length}"),
            body,
            200,
            "",
        ),
        (
            format!("{json}content-type: text/plain\r\n{length}"),
            body,
            400,
            "invalid_request",
        ),
        (format!("{json}{json}{length}"), body, 200, ""),
        (
            format!("{json}content-encoding: identity\r\ncontent-encoding: gzip\r\n{length}"),
            body,
            415,
            "unsupported_content_encoding",
        ),
    ] {
        let head = format!("POST /v1/completions HTTP/1.1\r\nhost: x\r\n{fields}");
        let answer = answer(&server, &head, body);
        match status {
            200 => drop(answer.json(200)),
            _ => assert_eq!(answer.error(status)["code"], code, "{fields}"),
        }
    }
    let twice = [
        ("content-type", "application/octet-stream"),
        ("content-encoding", "gzip"),
    ];
    let answer = server.request("POST", "/v1/sessions/restore", &twice, b"x");
    assert_eq!(answer.error(415)["code"], "unsupported_content_encoding");
}

/// A key that passes must be the only one.
#[test]
fn two_keys_are_none() {
    let server = Server::start(&["--model", TINY]);
    let keys = [("authorization", "Bearer a"), ("authorization", "Bearer b")];
    for path in ["/v1/models", "/health"] {
        let error = server.request("GET", path, &keys, b"").error(400);
        assert_eq!(error["code"], "invalid_request");
        assert!(error["message"].as_str().unwrap().contains("authorization"));
    }
    let host = [("host", "other")];
    server.request("GET", "/v1/models", &host, b"").error(400);
}

/// A page whose name stands for 127.0.0.1 could read the answers.
#[test]
fn without_keys_only_names_of_this_machine_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "secret").unwrap();
    let keys = ["--api-key-file", keys.to_str().unwrap()];
    let named = ["--allow-host", "stories.example.org"];
    for (arguments, evil, stories) in [(&[][..], 403, 403), (&named, 403, 200), (&keys, 200, 200)] {
        let server = Server::start(&[&["--model", TINY], arguments].concat());
        for (host, status) in [
            ("evil.example", evil),
            ("evil.example:8080", evil),
            ("stories.example.org", stories),
            (&*server.address, 200),
            ("localhost", 200),
        ] {
            for path in ["/v1/models", "/health", "/"] {
                let head = format!("GET {path} HTTP/1.1\r\nauthorization: Bearer secret\r\n");
                let answer = answer(&server, &format!("{head}host: {host}\r\n"), "");
                assert_eq!(answer.status, status, "{host} {path}");
                if status == 403 {
                    assert_eq!(answer.error(403)["code"], "host_not_allowed");
                }
            }
        }
        let none = answer(&server, "GET /health HTTP/1.1\r\n", "");
        assert_eq!(none.error(400)["code"], "invalid_request");
        assert_eq!(answer(&server, "GET /health HTTP/1.0\r\n", "").status, 200);
    }
}

#[test]
fn a_length_beyond_all_limits_is_of_the_body() {
    let server = Server::start(&["--model", TINY]);
    for (length, status, code) in [
        ("18446744073709551615", 413, "body_too_large"),
        ("18446744073709551614", 413, "body_too_large"),
        ("18446744073709551613", 413, "body_too_large"),
        ("9223372036854775808", 413, "body_too_large"),
        ("99999999999999999999999999", 413, "body_too_large"),
        ("-1", 400, "invalid_request"),
        ("1e30", 400, "invalid_request"),
        ("18446744073709551615x", 400, "invalid_request"),
    ] {
        let head = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
             Content-Length: {length}\r\n"
        );
        let answer = answer(&server, &head, "");
        assert_eq!(answer.error(status)["code"], code, "{length}");
        let line = answer.head.lines().next().unwrap();
        assert!(line.starts_with(&format!("HTTP/1.1 {status} ")), "{line}");
    }
    // The size of a head and the length of a body are two things.
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let head = format!("GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n{many}");
    assert_eq!(
        answer(&server, &head, "").error(431)["code"],
        "head_too_large"
    );
    assert_eq!(server.get("/health").json(200), json!({"status": "ok"}));
}
