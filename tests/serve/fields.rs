//! Fields of a request that are refused.

use serde_json::json;

use super::{server::Server, support::TINY};

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
