//! Completions are what `sllm-ort run` prints.

use serde_json::{Value, json};

use super::{
    server::{PROMPT, STORIES, Server, command, streamed},
    support::{TINY, TINY_OPT, copy_bundle, edit_manifest, load, program, sha256},
};

/// What `run` prints.
fn run(model: &str, prompt: &str, arguments: &[&str]) -> String {
    let mut command = program();
    command.args([
        "run",
        "--model",
        model,
        "--variant",
        "portable",
        "-p",
        prompt,
    ]);
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.strip_suffix('\n').unwrap().to_owned()
}

#[test]
fn a_completion_is_that_of_run() {
    let server = Server::stories(&[]);
    let cases: [(Value, &[&str]); 7] = [
        (json!({"temperature": 0}), &["--greedy"]),
        (
            json!({"max_sentences": 3, "seed": 2}),
            &["-n", "3", "-s", "2"],
        ),
        (
            json!({"max_tokens": 20, "temperature": 0}),
            &["--max-tokens", "20", "--greedy"],
        ),
        (
            json!({"temperature": 0.8, "seed": 7, "top_p": 0.9, "top_k": 40, "min_p": 0.01}),
            &[
                "-t", "0.8", "-s", "7", "--top-p", "0.9", "--top-k", "40", "--min-p", "0.01",
            ],
        ),
        (
            json!({"temperature": 1, "seed": 3, "best_of": 3, "ignore_eos": true,
                   "repetition_penalty": 1.1, "guidance_scale": 1.75, "max_sentences": 4}),
            &[
                "-t",
                "1",
                "-s",
                "3",
                "--best-of",
                "3",
                "--ignore-eos",
                "--repetition-penalty",
                "1.1",
                "--guidance-scale",
                "1.75",
                "-n",
                "4",
            ],
        ),
        (
            json!({"temperature": 0, "repetition_penalty": 1, "dry_multiplier": 0.5,
                   "dry_base": 1.5, "dry_allowed_length": 3}),
            &[
                "--greedy",
                "--repetition-penalty",
                "1",
                "--dry-multiplier",
                "0.5",
                "--dry-base",
                "1.5",
                "--dry-allowed-length",
                "3",
            ],
        ),
        (
            json!({"stop": ["forest", " the "], "temperature": 0}),
            &["--stop", "forest", "--stop", " the ", "--greedy"],
        ),
    ];
    for (mut body, arguments) in cases {
        body["model"] = json!("sllm-stories");
        body["prompt"] = json!(PROMPT);
        let expected = run(STORIES, PROMPT, arguments);
        assert_eq!(server.complete(&body), expected, "{body}");
        body["stream"] = json!(true);
        let events = server.post("/v1/completions", &body).events();
        assert_eq!(streamed(&events, 0).0, expected, "{body}");
    }
}

#[test]
fn a_token_level_model_is_served_too() {
    let server = Server::start(&[
        "--model",
        TINY_OPT,
        "--model",
        STORIES,
        "--variant",
        "portable",
    ]);
    let models = server.get("/v1/models").json(200);
    let names: Vec<&str> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["id"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 2);
    assert_eq!(names[1], "sllm-stories");
    let prompt = "hello world. the cat ";
    let body = json!({"model": names[0], "prompt": prompt, "max_tokens": 24});
    assert_eq!(
        server.complete(&body),
        run(TINY_OPT, prompt, &["--max-tokens", "24"])
    );
    let one = server.get(&format!("/v1/models/{}", names[0])).json(200);
    assert_eq!(one, models["data"][0]);
    let unnamed = server
        .post("/v1/completions", &json!({"prompt": prompt}))
        .error(400);
    assert_eq!(unnamed["param"], "model");
}

/// Token ids are the text that they stand for, with and without the tokens of the model itself.
#[test]
fn a_prompt_may_be_token_ids() {
    let server = Server::start(&["--model", TINY_OPT, "--model", STORIES]);
    let texts = ["Tom had a big dog. ", "It was late. Lily ran home. "];
    let models = server.get("/v1/models").json(200);
    let token_level = models["data"][0]["id"].as_str().unwrap();
    for (model, bundle, texts) in [
        ("sllm-stories", STORIES, texts),
        (
            token_level,
            TINY_OPT,
            ["hello world. ", "the cat sat. the dog "],
        ),
    ] {
        let pipeline = load(bundle, "portable").text_pipeline().clone();
        let tokens = pipeline.tokenizer().special_tokens();
        let body = |prompt: Value| {
            json!({"model": model, "prompt": prompt, "max_tokens": 12, "temperature": 0, "echo": true,
                "ignore_eos": true})
        };
        let expected = server.ok("/v1/completions", &body(json!(texts)));
        // As a client encodes a text, and with bos in front.
        let whole = texts.map(|text| match bundle {
            // It takes white space as it is.
            TINY_OPT => pipeline.tokenizer().encode(text).unwrap(),
            _ => pipeline.tokenizer().encode(text.trim_end()).unwrap(),
        });
        let with_bos = whole.clone().map(|ids| [vec![tokens.bos], ids].concat());
        // As the server gives the ids of sentences.
        let sentences = texts.map(|text| {
            let sentences = pipeline.sentences(text).unwrap();
            let ids = sentences.map(|sentence| [sentence.unwrap().ids, vec![tokens.eos]].concat());
            ids.collect::<Vec<_>>().concat()
        });
        for ids in [&whole, &with_bos, &sentences] {
            let found = server.ok("/v1/completions", &body(json!(ids)));
            for (index, text) in texts.iter().enumerate() {
                let found = found["choices"][index]["text"].as_str().unwrap();
                let expected = expected["choices"][index]["text"].as_str().unwrap();
                assert!(found.starts_with(text.trim_end()), "{found}");
                assert_eq!(found.trim_end(), expected.trim_end(), "{model}: {ids:?}");
            }
        }
        let one = server.ok("/v1/completions", &body(json!(whole[0])));
        assert_eq!(one["choices"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn an_answer_has_what_openai_gives() {
    let server = Server::stories(&[]);
    let body = json!({"prompt": [PROMPT, "It was late. "], "n": 2, "temperature": 0.9, "seed": 1,
        "echo": true, "max_sentences": 2, "ignore_eos": true, "user": "someone",
        "presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": null, "suffix": null});
    let answer = server.ok("/v1/completions", &body);
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["model"], "sllm-stories");
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 4);
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(choice["index"], index);
        assert_eq!(choice["finish_reason"], "length");
        assert_eq!(choice["logprobs"], json!(null));
        let prompt = body["prompt"][index / 2].as_str().unwrap();
        assert!(choice["text"].as_str().unwrap().starts_with(prompt));
    }
    assert_ne!(choices[0]["text"], choices[1]["text"]);
    let usage = &answer["usage"];
    let number = |name: &str| usage[name].as_u64().unwrap();
    assert!(number("prompt_tokens") > 10);
    assert_eq!(
        number("total_tokens"),
        number("prompt_tokens") + number("completion_tokens")
    );
    // The second choice is the first with the next seed.
    let second = server.complete(&json!({"prompt": PROMPT, "temperature": 0.9, "seed": 2,
        "max_sentences": 2, "ignore_eos": true}));
    assert_eq!(choices[1]["text"], PROMPT.to_owned() + &second);

    let mut body = body;
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let events = server.post("/v1/completions", &body).events();
    for (index, choice) in choices.iter().enumerate() {
        let (text, reason) = streamed(&events, index);
        assert_eq!(choice["text"], text);
        assert_eq!(reason, "length");
    }
    let last = events.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(&last["usage"], usage);
    let before = events.split_last().unwrap().1;
    assert!(
        before
            .iter()
            .all(|event| event.get("usage") == Some(&Value::Null))
    );
}

#[test]
fn the_limit_of_tokens_is_kept() {
    let server = Server::stories(&[]);
    for limit in [0, 1, 7, 30] {
        let body = json!({"prompt": PROMPT, "max_tokens": limit, "ignore_eos": true});
        let answer = server.ok("/v1/completions", &body);
        assert_eq!(answer["usage"]["completion_tokens"], limit);
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
    }
    let whole = server.ok(
        "/v1/completions",
        &json!({"prompt": PROMPT, "max_sentences": 128}),
    );
    assert_eq!(whole["choices"][0]["finish_reason"], "stop");
}

/// A bundle with a chat template; `named` if its manifest names it.
fn with_template(template: &str, named: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_bundle(TINY, folder.path());
    let file = folder.path().join("chat_template.jinja");
    std::fs::write(&file, template).unwrap();
    if named {
        let hash = sha256(&file);
        edit_manifest(folder.path(), |manifest| {
            manifest["chat_template"] = json!({"file": "chat_template.jinja", "sha256": hash});
        });
    }
    folder
}

#[test]
fn a_chat_template_makes_the_prompt() {
    let template = "{% for message in messages %}\n\
        {% if message.role == 'system' %}{{ raise_exception('no system message') }}{% endif %}\n\
        {{ message['content'].strip() }} the cat sat. {% endfor %}";
    let folder = with_template(template, true);
    let server = Server::start(&["--model", folder.path().to_str().unwrap()]);
    let chat = |role: &str| {
        let messages = json!([{"role": role, "content": " hello world. "}]);
        let body = json!({"messages": messages, "max_sentences": 2, "temperature": 0});
        server.post("/v1/chat/completions", &body)
    };
    let expected =
        json!({"prompt": "hello world. the cat sat. ", "max_sentences": 2, "temperature": 0});
    let expected = server.ok("/v1/completions", &expected);
    let answer = chat("user").json(200);
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        expected["choices"][0]["text"]
    );
    assert_eq!(answer["usage"], expected["usage"]);
    let error = chat("system").error(400);
    assert_eq!(error["param"], "messages");
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("no system message")
    );
}

#[test]
fn a_chat_template_that_cannot_be_used_is_told_at_the_start() {
    let (bad, beside) = (
        with_template("{% if messages", true),
        with_template("{{ messages }}", false),
    );
    let output = command(&["--model", bad.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("the chat template of tiny-causal cannot be used"),
        "{error}"
    );
    // One that the manifest does not name is not used, and a warning says so.
    let mut command = command(&["--model", beside.path().to_str().unwrap()]);
    command.stderr(std::process::Stdio::piped());
    let error = Server::spawn(command).end();
    assert!(
        error.contains("chat_template.jinja of tiny-causal is not used"),
        "{error}"
    );
}

#[test]
fn a_chat_is_a_completion_of_its_texts() {
    let server = Server::stories(&[]);
    let messages = json!([
        {"role": "system", "content": "Tom had a dog."},
        {"role": "user", "content": [{"type": "text", "text": "The dog was "},
                                     {"type": "text", "text": "big."}]},
    ]);
    let expected = server.complete(
        &json!({"prompt": "Tom had a dog.\nThe dog was big.", "max_tokens": 30, "seed": 4}),
    );
    let body = json!({"messages": messages, "max_completion_tokens": 30, "seed": 4,
        "tools": [], "tool_choice": "none", "response_format": {"type": "text"}});
    let answer = server.ok("/v1/chat/completions", &body);
    assert_eq!(answer["object"], "chat.completion");
    let message = json!({"role": "assistant", "content": expected});
    assert_eq!(answer["choices"][0]["message"], message);
    let mut both = body;
    both["max_tokens"] = json!(30);
    let refused = server.post("/v1/chat/completions", &both).error(400);
    assert_eq!(refused["param"], "max_tokens");
    let body = json!({"messages": messages, "max_tokens": 30, "seed": 4, "stream": true});
    let events = server.post("/v1/chat/completions", &body).events();
    assert_eq!(
        events[0]["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    let deltas = events
        .iter()
        .map(|event| &event["choices"][0]["delta"]["content"]);
    let text: String = deltas.filter_map(Value::as_str).collect();
    assert_eq!(text, expected);
    assert_eq!(events.last().unwrap()["choices"][0]["delta"], json!({}));
}
