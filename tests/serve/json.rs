//! Bodies whose JSON is refused, and what messages repeat of them.

use serde_json::{Value, json};

use super::{
    server::{Response, Server},
    support::TINY,
};

fn post(server: &Server, path: &str, body: &str) -> Response {
    let json = [("content-type", "application/json")];
    server.request("POST", path, &json, body.as_bytes())
}

#[test]
fn a_key_that_is_given_twice_is_named() {
    let server = Server::start(&["--model", TINY]);
    for (path, body, key) in [
        ("completions", r#"{"prompt": "a", "prompt": "b"}"#, "prompt"),
        (
            "completions",
            r#"{"prompt": "a", "seed": 1, "seed": 1}"#,
            "seed",
        ),
        (
            "completions",
            r#"{"prompt": "a", "pro\u006dpt": "b"}"#,
            "prompt",
        ),
        (
            "completions",
            r#"{"prompt": "a", "stream": true, "stream_options": {"include_usage": true, "include_usage": null}}"#,
            "stream_options.include_usage",
        ),
        (
            "chat/completions",
            r#"{"messages": [{"role": "user", "content": "a"}, {"role": "user", "role": "system", "content": "b"}]}"#,
            "messages[1].role",
        ),
        ("embeddings", r#"{"input": "a.", "input": ["b."]}"#, "input"),
        ("sessions", r#"{"text": "a. ", "text": ""}"#, "text"),
        (
            "sentences/decode",
            r#"{"vectors": [[1]], "vectors": [[1]]}"#,
            "vectors",
        ),
        (
            "completions",
            r#"{"prompt": "a", "logit_bias": {"1": 2, "1": 2}}"#,
            "logit_bias.1",
        ),
    ] {
        let error = post(&server, &format!("/v1/{path}"), body).error(400);
        assert_eq!(error["param"], key, "{error}");
        assert_eq!(error["code"], "invalid_json");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains(&format!("`{key}` is given twice")),
            "{message}"
        );
    }
}

/// No answer is much longer than a line, whatever the request is.
#[test]
fn what_is_long_is_repeated_in_part() {
    let server = Server::start(&["--model", TINY]);
    let long = "wörd ".repeat(100_000);
    let prompt = json!("hello world. ");
    for (path, body, status) in [
        ("completions", json!({"prompt": prompt, &*long: 1}), 400),
        ("completions", json!({"prompt": prompt, "model": long}), 404),
        (
            "completions",
            json!({"prompt": prompt, "temperature": long}),
            400,
        ),
        (
            "completions",
            json!({"prompt": prompt, "stream_options": {&*long: 1}}),
            400,
        ),
        (
            "completions",
            json!({"prompt": prompt, "stop": [long, ""]}),
            400,
        ),
        ("completions", json!({"prompt": {&*long: 1}}), 400),
        (
            "embeddings",
            json!({"input": prompt, "encoding_format": long}),
            400,
        ),
        (
            "embeddings",
            json!({"input": prompt, "pooling": {&*long: 1}}),
            400,
        ),
        (
            "chat/completions",
            json!({"messages": [{"role": long, "content": "a"}]}),
            400,
        ),
        ("chat/completions", json!({"messages": long}), 400),
        ("sessions", json!({"text": [&*long]}), 400),
    ] {
        let answer = post(&server, &format!("/v1/{path}"), &body.to_string());
        let error = answer.error(status);
        assert!(
            answer.body.len() < 700,
            "{path}: {} bytes: {error}",
            answer.body.len()
        );
    }
    let long = "x".repeat(5000);
    for path in [format!("/v1/models/{long}"), format!("/v1/sessions/{long}")] {
        assert!(server.get(&path).body.len() < 700, "{path}");
    }
    let path = format!("/v1/sessions/restore?{long}=1");
    let octets = [("content-type", "application/octet-stream")];
    let answer = server.request("POST", &path, &octets, b"x");
    answer.error(400);
    assert!(answer.body.len() < 2000, "{} bytes", answer.body.len());
}

#[test]
fn messages_are_in_the_words_of_json() {
    let server = Server::start(&["--model", TINY]);
    let prompt = "hello world. ";
    let completion = |field: &str, value: Value| {
        let mut body = json!({"prompt": prompt, "stream": true});
        body[field] = value;
        ("completions", body)
    };
    let embedding = |field: &str, value: Value| {
        let mut body = json!({"input": prompt});
        body[field] = value;
        ("embeddings", body)
    };
    let chat = |messages: Value| ("chat/completions", json!({"messages": messages}));
    for ((path, body), expected) in [
        (completion("stream_options", json!(7)), "expected an object"),
        (
            completion("stream_options", json!([true])),
            "expected an object",
        ),
        (completion("model", json!({})), "expected a text"),
        (
            completion("max_tokens", json!(-1)),
            "expected a whole number that is not negative",
        ),
        (
            completion("max_tokens", json!(1e30)),
            "expected a whole number that is not negative",
        ),
        (
            completion("top_k", json!([])),
            "expected a whole number that is not negative",
        ),
        (embedding("pooling", json!(7)), "expected a text"),
        (embedding("encoding_format", json!([])), "expected a text"),
        (chat(json!(7)), "expected a list"),
        (chat(json!([7])), "expected an object"),
        (chat(json!([["user", "a"]])), "expected an object"),
        (
            chat(json!([{"role": "user", "content": [["text", "a"]]}])),
            "a text or a list of parts of type text",
        ),
        (
            chat(json!([{"role": 7, "content": "a"}])),
            "expected a text",
        ),
        (
            chat(json!([{"role": "user", "content": 7}])),
            "a text or a list of parts of type text",
        ),
        (("sessions", json!({"text": 7})), "expected a text"),
        (
            ("sentences/decode", json!({"vectors": 7})),
            "expected a list",
        ),
        (
            ("sentences/decode", json!({"vectors": [["a"]]})),
            "expected a number",
        ),
    ] {
        let error = server.post(&format!("/v1/{path}"), &body).error(400);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(expected), "{body}: {message}");
        for word in [
            "struct", "enum", "usize", "f32", "f64", "sequence", "unit", "map",
        ] {
            assert!(!message.contains(word), "{body}: {message}");
        }
    }
}
