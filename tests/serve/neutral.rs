//! Fields of OpenAI's API that are not supported: taken where they ask for nothing.

use serde_json::{Value, json};

use super::{server::Server, support::TINY};

fn chat() -> Value {
    json!({
        "messages": [{"role": "user", "content": "hello world. "}],
        "max_sentences": 1,
        "ignore_eos": true,
        "seed": 1,
    })
}

#[test]
fn what_asks_for_nothing_is_taken() {
    let server = Server::start(&["--model", TINY]);
    let expected = server.ok("/v1/chat/completions", &chat())["choices"].take();
    for (field, value) in [
        ("modalities", json!(["text"])),
        ("modalities", json!(null)),
        ("parallel_tool_calls", json!(true)),
        ("parallel_tool_calls", json!(false)),
        ("service_tier", json!("auto")),
        ("service_tier", json!("default")),
        ("logprobs", json!(false)),
        ("top_logprobs", json!(0)),
        ("user", json!("someone")),
        ("safety_identifier", json!("someone")),
        ("prompt_cache_key", json!("key")),
    ] {
        let mut body = chat();
        body[field] = value;
        let answer = server.ok("/v1/chat/completions", &body);
        assert_eq!(answer["choices"], expected, "{body}");
    }
    for (field, values) in [
        ("refusal", vec![json!(null)]),
        ("audio", vec![json!(null)]),
        ("annotations", vec![json!(null), json!([])]),
        ("tool_calls", vec![json!(null), json!([])]),
        ("function_call", vec![json!(null)]),
    ] {
        for value in values {
            let mut body = chat();
            body["messages"][0][field] = value;
            let answer = server.ok("/v1/chat/completions", &body);
            assert_eq!(answer["choices"], expected, "{body}");
        }
    }
    for value in [json!(false), json!(null)] {
        let options = json!({"include_obfuscation": value});
        for (path, mut body) in [
            ("/v1/chat/completions", chat()),
            (
                "/v1/completions",
                json!({"prompt": "hello world. ", "max_sentences": 1}),
            ),
        ] {
            body["stream"] = json!(true);
            body["stream_options"] = options.clone();
            server.post(path, &body).events();
        }
    }
}

#[test]
fn what_asks_for_something_is_refused() {
    let server = Server::start(&["--model", TINY]);
    let refused = |body: &Value, param: &str, code: &str| {
        let error = server.post("/v1/chat/completions", body).error(400);
        assert_eq!(error["param"], param, "{body}: {error}");
        assert_eq!(error["code"], code, "{body}: {error}");
    };
    for (field, value) in [
        ("modalities", json!(["audio"])),
        ("modalities", json!(["text", "audio"])),
        ("modalities", json!("text")),
        ("parallel_tool_calls", json!(1)),
        ("service_tier", json!("flex")),
        ("top_logprobs", json!(1)),
        ("logprobs", json!(true)),
    ] {
        let mut body = chat();
        body[field] = value;
        refused(&body, field, "unsupported_parameter");
    }
    for (field, value) in [
        ("refusal", json!("No.")),
        ("audio", json!({"id": "a"})),
        ("annotations", json!([{}])),
        ("tool_calls", json!([{}])),
        ("function_call", json!({"name": "f"})),
    ] {
        let mut body = chat();
        body["messages"][0][field] = value;
        let param = format!("messages[0].{field}");
        refused(&body, &param, "unsupported_parameter");
    }
    let mut body = chat();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_obfuscation": true});
    let param = "stream_options.include_obfuscation";
    refused(&body, param, "unsupported_parameter");
    let mut body = chat();
    body["safety_identifier"] = json!(7);
    refused(&body, "safety_identifier", "invalid_value");
}
