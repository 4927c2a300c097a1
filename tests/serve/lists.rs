//! An element of a list that is refused is named.

use serde_json::json;

use super::{
    server::{Server, streamed},
    support::TINY,
};

#[test]
fn a_wrong_element_is_named() {
    let server = Server::start(&["--model", TINY, "--max-queue", "300"]);
    let (text, long) = ("hello world. ", "hello world. ".repeat(13));
    for (path, body, param) in [
        ("completions", json!({"prompt": [text, ""]}), "prompt[1]"),
        (
            "completions",
            json!({"prompt": [text, text, ""], "n": 3}),
            "prompt[2]",
        ),
        ("completions", json!({"prompt": [""]}), "prompt[0]"),
        ("completions", json!({"prompt": ""}), "prompt"),
        ("completions", json!({"prompt": [text, long]}), "prompt[1]"),
        ("completions", json!({"prompt": long}), "prompt"),
        ("completions", json!({"prompt": [1, 99_999]}), "prompt[1]"),
        (
            "completions",
            json!({"prompt": [[1], [1, 2, 99_999]]}),
            "prompt[1][2]",
        ),
        (
            "completions",
            json!({"prompt": text, "stop": ["a", ""]}),
            "stop[1]",
        ),
        ("completions", json!({"prompt": text, "stop": ""}), "stop"),
        ("embeddings", json!({"input": ["a", ""]}), "input[1]"),
        (
            "embeddings",
            json!({"input": ["a.", "b.", "A cat. A dog. "]}),
            "input[2]",
        ),
        ("embeddings", json!({"input": ""}), "input"),
        ("embeddings", json!({"input": "A cat. A dog. "}), "input"),
        (
            "sentences/similarity",
            json!({"input": ["a", "b", ""]}),
            "input[2]",
        ),
        (
            "sentences/interpolate",
            json!({"from": "a", "to": "", "steps": 3}),
            "to",
        ),
        (
            "sentences/decode",
            json!({"vectors": [[1], [1, 2]]}),
            "vectors[1]",
        ),
        (
            "sentences/decode",
            json!({"vectors": [[1, 2], [1, 1e39]]}),
            "vectors[1]",
        ),
    ] {
        let error = server.post(&format!("/v1/{path}"), &body).error(400);
        assert_eq!(error["param"], param, "{body}: {error}");
        let message = error["message"].as_str().unwrap();
        if param.ends_with(']') {
            assert!(message.contains(param), "{body}: {message}");
        }
    }
}

/// A stream does not begin where a later prompt is unusable.
#[test]
fn a_wrong_element_is_refused_before_a_stream() {
    let server = Server::start(&["--model", TINY, "--max-batch", "1"]);
    let long = "hello world. ".repeat(13);
    for (prompts, param) in [
        (["hello world. ", "the cat sat. ", ""], "prompt[2]"),
        (["hello world. ", &*long, "the cat sat. "], "prompt[1]"),
    ] {
        let mut body = json!({"prompt": prompts, "stream": true, "max_sentences": 1,
            "ignore_eos": true});
        let before = server.metric("sllm_prompt_tokens_total");
        let error = server.post("/v1/completions", &body).error(400);
        assert_eq!(error["param"], param, "{error}");
        assert_eq!(server.metric("sllm_prompt_tokens_total"), before);
        body["stream"] = json!(false);
        let whole = server.post("/v1/completions", &body).error(400);
        assert_eq!(error, whole);
    }
    let good = json!({"prompt": ["hello world. "], "stream": true, "max_sentences": 1,
        "ignore_eos": true});
    let events = server.post("/v1/completions", &good).events();
    assert_ne!(streamed(&events, 0).0, "");
}

/// An error has the name of what the endpoint takes.
#[test]
fn what_is_to_be_given_is_what_the_endpoint_takes() {
    let server = Server::start(&["--model", TINY]);
    let long = "hello world. ".repeat(13);
    for (messages, code) in [
        (json!([]), "invalid_value"),
        (json!([{"role": "user", "content": ""}]), "invalid_value"),
        (
            json!([{"role": "user", "content": long}]),
            "context_length_exceeded",
        ),
        (
            json!([{"role": "user", "content": "a".repeat(300_000)}]),
            "context_length_exceeded",
        ),
    ] {
        let body = json!({"messages": messages});
        let error = server.post("/v1/chat/completions", &body).error(400);
        assert_eq!(error["param"], "messages", "{error}");
        assert_eq!(error["code"], code, "{error}");
        assert!(
            !error["message"].as_str().unwrap().contains("prompt"),
            "{error}"
        );
    }
    let session = server.ok("/v1/sessions", &json!({}));
    let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
    let error = server
        .post(&format!("{path}/generate"), &json!({}))
        .error(400);
    assert_eq!(error["param"], "id");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("append a text"), "{message}");
    assert!(!message.contains("prompt"), "{message}");
    for (path, text) in [
        ("/v1/sessions".to_owned(), &long),
        (format!("{path}/append"), &long),
    ] {
        let error = server.post(&path, &json!({"text": text})).error(400);
        assert_eq!(error["param"], "text", "{error}");
    }
}
