//! Fields of a request that are refused.

use serde_json::{Value, json};

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
        ("dry_multiplier", json!(-1), "invalid_value"),
        ("dry_base", json!(0.5), "invalid_value"),
        ("dry_allowed_length", json!(0), "invalid_value"),
        ("guidance_scale", json!(0), "invalid_value"),
        ("guidance_scale", json!("strong"), "invalid_value"),
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
        ("prompt", json!([1, -2]), "invalid_value"),
        ("prompt", json!([1, "a"]), "invalid_value"),
        ("prompt", json!([[1, 2.5]]), "invalid_value"),
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
        ("seed", json!(-1), "a whole number that is not negative"),
        (
            "max_sentences",
            json!("3"),
            "a whole number that is not negative",
        ),
        ("n", json!(1.5), "a whole number that is not negative"),
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

/// All messages about a field have one range, which holds.
#[test]
fn a_field_has_one_range() {
    let server = Server::start(&["--model", TINY, "--max-batch", "8", "--max-queue", "2"]);
    let wide = Server::start(&["--model", TINY]);
    let message = |server: &Server, field: &str, value: &Value| {
        let body = json!({"prompt": "hello world. ", field: value});
        let error = server.post("/v1/completions", &body).error(400);
        assert_eq!(error["param"], field, "{error}");
        error["message"].as_str().unwrap().to_owned()
    };
    for (server, field, values, range) in [
        (&server, "best_of", [0, 21], "allowed is 1 to 20"),
        (&server, "best_of", [257, 100_000], "allowed is 1 to 20"),
        (&server, "n", [0, 11], "allowed is 1 to 10"),
        (&server, "n", [64, 65], "allowed is 1 to 10"),
        (&wide, "n", [0, 65], "allowed is 1 to 64"),
        (&server, "top_k", [0, 0], "allowed is 1 or more"),
        (
            &server,
            "temperature",
            [-1, 101],
            "allowed is 0 (greedy) to 100",
        ),
    ] {
        for value in values {
            let message = message(server, field, &json!(value));
            assert!(message.contains(range), "{field} {value}: {message}");
            let named = format!("{field} is {value},");
            assert!(message.contains(&named), "{message}");
        }
    }
    for texts in [5, 16, 17] {
        let message = message(&server, "stop", &json!(vec!["x"; texts]));
        assert!(message.ends_with("at most 4 are allowed"), "{message}");
    }
    let body = json!({"prompt": "hello world. ", "n": 10, "best_of": 20, "max_sentences": 1,
        "temperature": 1});
    server.ok("/v1/completions", &body);
    for greedy in [json!({}), json!({"temperature": 0})] {
        let mut body = json!({"prompt": "hello world. ", "best_of": 2});
        body.as_object_mut()
            .unwrap()
            .extend(greedy.as_object().unwrap().clone());
        let error = server.post("/v1/completions", &body).error(400);
        assert_eq!(error["param"], "best_of");
    }
}

/// A number is what it is, and not what 32 bits make of it.
#[test]
fn numbers_beyond_32_bits_are_what_they_are() {
    let server = Server::start(&["--model", TINY]);
    let body = |field: &str, value: &Value| {
        json!({"prompt": "hello world. ", "max_sentences": 2, "ignore_eos": true, "seed": 1,
            "temperature": 1, field: value})
    };
    // Next to nothing is not nothing: the best token alone has that probability.
    let best = server.complete(&body("top_k", &json!(1)));
    for value in [1e-45, 1e-46, 1e-300, 5e-324] {
        assert_eq!(
            server.complete(&body("top_p", &json!(value))),
            best,
            "{value:e}"
        );
        assert_eq!(
            server.complete(&body("temperature", &json!(value))),
            best,
            "{value:e}"
        );
        server.complete(&body("min_p", &json!(value)));
    }
    for (field, value, shown) in [
        ("top_p", json!(1e300), "is 1e300,"),
        ("top_p", json!(-1e-300), "is -1e-300,"),
        ("top_p", json!(0), "top_p is 0,"),
        ("temperature", json!(1e300), "is 1e300,"),
        ("temperature", json!(100.1), "is 100.1,"),
        ("guidance_scale", json!(10.5), "is 10.5,"),
        ("repetition_penalty", json!(1e-300), "is 1e-300,"),
    ] {
        let error = server
            .post("/v1/completions", &body(field, &value))
            .error(400);
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(shown) && message.len() < 100, "{message}");
    }
}

/// Within other fields too, and where a request has no other body or no other query.
#[test]
fn unknown_fields_are_named() {
    let server = Server::start(&["--model", TINY]);
    let session = server.ok("/v1/sessions", &json!({"text": "hello world. "}));
    let fork = format!("/v1/sessions/{}/fork", session["id"].as_str().unwrap());
    let prompt = "hello world. ";
    let completion = json!({"prompt": prompt, "stream": true, "stream_options": {"foo": 1}});
    let chat = json!({"messages": [
        {"role": "user", "content": prompt},
        {"role": "user", "content": prompt, "foo": null},
    ]});
    for (path, body, param) in [
        ("/v1/completions", completion, "stream_options.foo"),
        ("/v1/chat/completions", chat, "messages[1].foo"),
        (&*fork, json!({"foo": 1}), "foo"),
        ("/v1/sessions/restore?foo=1", json!({}), "foo"),
    ] {
        let error = server.post(path, &body).error(400);
        assert_eq!(error["param"], param, "{error}");
        assert_eq!(error["code"], "unknown_parameter", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("`{param}`")), "{message}");
    }
    let twice = "/v1/sessions/restore?model=a&model=b";
    let error = server.post(twice, &json!({})).error(400);
    assert_eq!(error["param"], "model");
    assert_eq!(error["code"], "invalid_value");
    let headers = [("content-type", "application/json")];
    for body in ["{", "[]", "null"] {
        let answer = server.request("POST", &fork, &headers, body.as_bytes());
        assert_eq!(answer.error(400)["code"], "invalid_json", "{body}");
    }
    server.request("POST", &fork, &[], b"").json(200);
    server.request("POST", &fork, &headers, b"{}").json(200);
}
