//! Sentences and their vectors are those of the library.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sllm_ort::{LoadOptions, Model};

use super::server::{Response, STORIES, Server};

const TEXTS: [&str; 3] = ["The fox was happy. ", "The fox was sad. ", "It rained. "];

fn model() -> Model {
    Model::load(STORIES, LoadOptions::default().with_variant("portable")).unwrap()
}

#[test]
fn embeddings_are_sentence_vectors() {
    let (server, model) = (Server::stories(&[]), model());
    let expected = model.encode(&TEXTS).unwrap();
    let answer = server.ok("/v1/embeddings", &json!({"input": TEXTS}));
    assert_eq!(answer["object"], "list");
    assert!(answer["usage"]["prompt_tokens"].as_u64().unwrap() > 9);
    for (index, data) in answer["data"].as_array().unwrap().iter().enumerate() {
        assert_eq!(data["index"], index);
        let numbers: Vec<f32> = serde_json::from_value(data["embedding"].clone()).unwrap();
        assert_eq!(numbers.len(), model.config().hidden_size);
        for (number, expected) in numbers.iter().zip(expected.row(index)) {
            assert!((number - expected).abs() < 1e-4);
        }
        let body = json!({"input": TEXTS[index], "encoding_format": "base64"});
        let packed = server.ok("/v1/embeddings", &body);
        let packed = packed["data"][0]["embedding"].as_str().unwrap().to_owned();
        let bytes: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        assert_eq!(STANDARD.decode(packed).unwrap(), bytes);
    }
    let whole = TEXTS.concat();
    let error = server
        .post("/v1/embeddings", &json!({"input": whole}))
        .error(400);
    assert!(error["message"].as_str().unwrap().contains("pooling"));
    let mean = server.ok(
        "/v1/embeddings",
        &json!({"input": whole, "pooling": "mean"}),
    );
    let mean: Vec<f32> = serde_json::from_value(mean["data"][0]["embedding"].clone()).unwrap();
    for (number, column) in mean.iter().zip(expected.columns()) {
        assert!((number - column.mean().unwrap()).abs() < 1e-4);
    }
    for input in [json!([1, 2]), json!([[1, 2], [3]])] {
        let error = server
            .post("/v1/embeddings", &json!({"input": input}))
            .error(400);
        assert_eq!(error["param"], "input");
        assert!(
            error["message"].as_str().unwrap().contains("token ids"),
            "{error}"
        );
    }
    for body in [
        json!({"input": []}),
        json!({"input": ""}),
        json!({"input": [[1, 2]]}),
        json!({"input": "x", "dimensions": 8}),
        json!({"input": "x", "encoding_format": "int8"}),
    ] {
        server.post("/v1/embeddings", &body).error(400);
    }
}

/// Texts that are encoded together, of different lengths, are those that are encoded alone.
#[test]
fn many_embeddings_are_those_of_each_and_let_others_pass() {
    let server = Server::stories(&[]);
    let text = |number: usize| format!("The {}fox was happy. ", "little ".repeat(number % 9));
    let texts: Vec<String> = (0..2048).map(text).collect();
    let vector =
        |data: &Value| -> Vec<f32> { serde_json::from_value(data["embedding"].clone()).unwrap() };
    let all = json!({"input": texts});
    let running = server.begin("/v1/embeddings", &all);
    let body = json!({"prompt": "The fox was happy. ", "max_sentences": 1, "ignore_eos": true});
    assert_ne!(server.complete(&body), "");
    running.set_nonblocking(true).unwrap();
    let ended = running.peek(&mut [0]).is_ok();
    running.set_nonblocking(false).unwrap();
    assert!(!ended, "the embeddings are faster than a sentence");
    let together = Response::read(running).json(200);
    for number in [0, 1, 8, 100, 2047] {
        let alone = server.ok("/v1/embeddings", &json!({"input": texts[number]}));
        let alone = vector(&alone["data"][0]);
        let together = &together["data"][number];
        assert_eq!(together["index"], number);
        for (one, other) in vector(together).iter().zip(alone) {
            assert!((one - other).abs() < 1e-4, "{number}");
        }
    }
}

#[test]
fn sentences_are_cut_decoded_and_compared() {
    let (server, model) = (Server::stories(&[]), model());
    let text = TEXTS.concat();
    let cut = server.ok("/v1/sentences/segment", &json!({"text": text}));
    let texts: Vec<&str> = cut["sentences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, TEXTS);

    let sentences = model.text_pipeline().sentences(&text).unwrap();
    let sentences: Vec<_> = sentences.map(Result::unwrap).collect();
    let expected = model.reconstruct(&sentences).unwrap();
    let found = server.ok("/v1/sentences/reconstruct", &json!({"text": text}));
    assert_eq!(found["sentences"], serde_json::to_value(&expected).unwrap());
    assert_eq!(found["exact"], expected.iter().filter(|s| s.exact).count());

    let vector = model.encode(&TEXTS[..1]).unwrap().row(0).to_vec();
    let (text, ids) = model.decode(&vector[..]).unwrap();
    let decoded = server.ok("/v1/sentences/decode", &json!({"vectors": [vector]}));
    assert_eq!(
        decoded["sentences"],
        json!([{"text": text, "token_ids": ids}])
    );

    let body = json!({"from": TEXTS[0], "to": TEXTS[1], "steps": 4});
    let between = server.ok("/v1/sentences/interpolate", &body);
    assert_eq!(
        between["texts"],
        json!(model.interpolate(TEXTS[0], TEXTS[1], 4).unwrap())
    );

    let found = server.ok("/v1/sentences/similarity", &json!({"input": TEXTS}));
    let expected = model.similarity(TEXTS[0], TEXTS[1]).unwrap();
    let cosine = found["similarity"][0][1].as_f64().unwrap();
    assert!((cosine - f64::from(expected)).abs() < 1e-4);

    for (path, body) in [
        ("segment", json!({"text": 1})),
        ("decode", json!({"vectors": [[1.0, 2.0]]})),
        ("decode", json!({"vectors": [[1.0], [1.0, 2.0]]})),
        ("decode", json!({"vectors": []})),
        ("interpolate", json!({"from": "a", "to": "b", "steps": 1})),
        ("similarity", json!({"input": ["a"]})),
    ] {
        server
            .post(&format!("/v1/sentences/{path}"), &body)
            .error(400);
    }
}

#[test]
fn a_text_without_a_sentence_has_no_vector() {
    let server = Server::stories(&[]);
    for nothing in ["", " ", "\r\n\t", "\u{feff}", "\u{feff}\u{a0}\n"] {
        for (path, param, body) in [
            ("/v1/embeddings", "input", json!({"input": nothing})),
            (
                "/v1/sentences/similarity",
                "input[1]",
                json!({"input": ["The fox ran.", nothing]}),
            ),
            (
                "/v1/sentences/interpolate",
                "from",
                json!({"from": nothing, "to": "The fox ran.", "steps": 3}),
            ),
            (
                "/v1/sentences/interpolate",
                "to",
                json!({"from": "The fox ran.", "to": nothing, "steps": 3}),
            ),
        ] {
            let error = server.post(path, &body).error(400);
            assert_eq!(error["param"], param, "{body}");
            assert!(error["message"].as_str().unwrap().contains("no sentence"));
        }
    }
}

#[test]
fn a_text_that_is_too_long_for_a_sentence_is_named() {
    let server = Server::stories(&[]);
    let (text, long) = ("A cat. ", "w".repeat(300));
    for (path, body, param) in [
        (
            "interpolate",
            json!({"from": text, "to": long, "steps": 2}),
            "to",
        ),
        (
            "interpolate",
            json!({"from": long, "to": text, "steps": 2}),
            "from",
        ),
        ("similarity", json!({"input": [text, long]}), "input[1]"),
    ] {
        let error = server
            .post(&format!("/v1/sentences/{path}"), &body)
            .error(400);
        assert_eq!(error["param"], param, "{error}");
        assert_eq!(error["code"], "context_length_exceeded", "{error}");
    }
}

/// Of a model with canonical white space.
#[test]
fn line_breaks_and_byte_order_marks_are_nothing_to_the_model() {
    let server = Server::stories(&[]);
    let text = "Tom had a red ball.\n\nHe ran to the park,\nand Mia saw him.\n";
    let mean = |text: &str| {
        let body = json!({"input": text, "pooling": "mean"});
        server.ok("/v1/embeddings", &body)["data"].take()
    };
    let segments = |text: &str| {
        let answer = server.ok("/v1/sentences/segment", &json!({"text": text}));
        let sentences = answer["sentences"].as_array().unwrap().iter();
        let (ids, texts): (Vec<_>, Vec<_>) = sentences
            .map(|one| {
                let text = one["text"].as_str().unwrap().to_owned();
                (one["token_ids"].clone(), text)
            })
            .unzip();
        assert_eq!(texts.concat(), text);
        ids
    };
    let decoded = |text: &str| {
        let answer = server.ok("/v1/sentences/reconstruct", &json!({"text": text}));
        let sentences = answer["sentences"].as_array().unwrap().iter();
        let ids = sentences.map(|one| one["output_ids"].clone());
        ids.collect::<Vec<_>>()
    };
    let completed = |text: &str| {
        let body = json!({"prompt": text, "max_sentences": 2, "temperature": 0, "stop": "\r\nEnd"});
        server.complete(&body)
    };
    let continued = |text: &str| {
        let (start, rest) = text.split_at(text.find("He ran").unwrap());
        let session = server.ok("/v1/sessions", &json!({"text": start}));
        let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
        let session = server.ok(&format!("{path}/append"), &json!({"text": rest}));
        let sentences = session["sentences"].as_array().unwrap().iter();
        let joined: String = sentences.map(|one| one.as_str().unwrap()).collect();
        assert_eq!(joined, text);
        let options = json!({"max_sentences": 2, "temperature": 0});
        let events = server.post(&format!("{path}/generate"), &options).events();
        let sentences = events.iter().filter(|event| event["type"] == "sentence");
        let ids = sentences.map(|event| event["token_ids"].clone());
        (session["tokens"].clone(), ids.collect::<Vec<_>>())
    };
    for line_break in ["\r\n", "\r"] {
        let other = format!("\u{feff}{}", text.replace('\n', line_break));
        assert_eq!(segments(&other), segments(text));
        assert_eq!(mean(&other), mean(text));
        assert_eq!(decoded(&other), decoded(text));
        assert_eq!(completed(&other), completed(text));
        assert_eq!(continued(&other), continued(text));
    }
}
