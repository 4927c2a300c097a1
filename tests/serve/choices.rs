//! The choices of a prompt are what single requests with their seeds give.

use serde_json::{Value, json};

use super::{
    server::{STORIES, Server, streamed},
    support::TINY_OPT,
};

const PROMPTS: [&str; 2] = [
    "Tom had a red ball. He ran to the park. Mia saw him. ",
    "It was late. ",
];

fn texts(answer: &Value) -> Vec<&str> {
    let choices = answer["choices"].as_array().unwrap().iter();
    choices
        .map(|choice| choice["text"].as_str().unwrap())
        .collect()
}

/// In one batch and in several, with choices that run at once and choices that wait.
#[test]
fn a_prompt_is_appended_once() {
    const N: usize = 7;
    for (model, prompts, unit) in [
        (STORIES, PROMPTS, json!({"max_sentences": 3})),
        (
            TINY_OPT,
            ["hello world. the cat ", "the dog "],
            json!({"max_tokens": 9}),
        ),
    ] {
        for limits in [
            ["--max-batch", "64", "--batches", "1"],
            ["--max-batch", "64", "--batches", "4"],
            ["--max-batch", "3", "--batches", "2"],
        ] {
            let server = Server::start(
                &[&["--model", model, "--variant", "portable"], &limits[..]].concat(),
            );
            let mut body = unit.clone();
            body["temperature"] = json!(0.9);
            body["ignore_eos"] = json!(true);
            body["seed"] = json!(5);
            body["n"] = json!(N);
            body["prompt"] = json!(prompts);
            let answer = server.ok("/v1/completions", &body);
            let tokens = answer["usage"]["prompt_tokens"].as_f64().unwrap();
            let appended = server.metric("sllm_prompt_tokens_total");
            assert_eq!(appended, tokens, "{model} {limits:?}");
            assert_eq!(server.metric("sllm_prefill_seconds_count"), 2.0);

            let mut streaming = body.clone();
            streaming["stream"] = json!(true);
            let events = server.post("/v1/completions", &streaming).events();
            let together = texts(&answer);
            assert_eq!(together.len(), 2 * N);
            for (index, text) in together.iter().enumerate() {
                assert_eq!(streamed(&events, index).0, *text);
                let mut alone = body.clone();
                alone["n"] = json!(1);
                alone["prompt"] = json!(prompts[index / N]);
                alone["seed"] = json!(5 + index % N);
                assert_eq!(server.complete(&alone), *text, "{model} {limits:?} {index}");
            }
            assert!(together.iter().any(|text| *text != together[0]));
        }
    }
}

/// A prompt that cannot be appended is refused once, and nothing waits for it.
#[test]
fn a_prompt_that_is_refused_leaves_nothing() {
    let server = Server::start(&["--model", STORIES, "--max-batch", "2", "--batches", "2"]);
    let body = json!({"prompt": ["It was late. ", "Tom ran. ".repeat(300)], "n": 9});
    let error = server.post("/v1/completions", &body).error(400);
    assert_eq!(error["code"], "context_length_exceeded");
    assert_eq!(error["param"], "prompt[1]");
    server.wait_for("sllm_batch_rows", 0.0);
    server.wait_for("sllm_queue_depth", 0.0);
    // Nobody left, and nothing took too long.
    assert_eq!(server.metric("sllm_cancelled_rows_total"), 0.0);
    let body = json!({"prompt": "It was late. ", "n": 9, "max_sentences": 1});
    server.ok("/v1/completions", &body);
}

#[test]
fn a_chat_has_choices_too() {
    let server = Server::stories(&[]);
    let messages = json!([{"role": "user", "content": PROMPTS[0]}]);
    let body = json!({"messages": messages, "n": 3, "seed": 2, "max_sentences": 2});
    let answer = server.ok("/v1/chat/completions", &body);
    for choice in 0..3 {
        let body = json!({"prompt": PROMPTS[0], "seed": 2 + choice, "max_sentences": 2});
        let content = &answer["choices"][choice]["message"]["content"];
        assert_eq!(content.as_str().unwrap(), server.complete(&body));
    }
}
