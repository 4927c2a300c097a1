//! Sessions are those of the library.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    server::{PROMPT, Response, STORIES, Server},
    support::{TINY, TINY_OPT, json_lines, program},
};

/// The token ids of the sentences of a continuation.
fn ids(sentences: &Value) -> Vec<Value> {
    let sentences = sentences.as_array().unwrap().iter();
    sentences
        .map(|sentence| sentence["token_ids"].clone())
        .collect()
}

fn create(server: &Server, text: &str) -> String {
    let session = server.ok("/v1/sessions", &json!({"text": text}));
    format!("/v1/sessions/{}", session["id"].as_str().unwrap())
}

#[test]
fn a_session_is_continued_as_run_does() {
    let server = Server::stories(&[]);
    let path = create(&server, PROMPT);
    let lines = json_lines(program().args([
        "run",
        "--model",
        STORIES,
        "--variant",
        "portable",
        "-p",
        PROMPT,
        "-n",
        "6",
        "--greedy",
        "--ignore-eos",
    ]));
    let expected: Vec<Value> = lines[..6]
        .iter()
        .map(|line| line["token_ids"].clone())
        .collect();
    let half = json!({"max_sentences": 3, "ignore_eos": true, "temperature": 0});
    let events = server.post(&format!("{path}/generate"), &half).events();
    let of_type = |name: &str| {
        events
            .iter()
            .filter(|event| event["type"] == name)
            .cloned()
            .collect::<Vec<_>>()
    };
    let sentences = of_type("sentence");
    assert_eq!(ids(&json!(sentences)), expected[..3]);
    let pieces: String = of_type("text")
        .iter()
        .map(|piece| piece["text"].as_str().unwrap())
        .collect();
    let texts: String = sentences
        .iter()
        .map(|sentence| sentence["text"].as_str().unwrap())
        .collect();
    assert_eq!(pieces, texts);
    let end = events.last().unwrap();
    assert_eq!(end["type"], "end");
    assert_eq!(end["finish_reason"], "max_sentences");
    let mut whole = half;
    whole["stream"] = json!(false);
    let rest = server.ok(&format!("{path}/generate"), &whole);
    assert_eq!(ids(&rest["sentences"]), expected[3..]);
    let session = server.get(&path).json(200);
    assert_eq!(session["sentences"].as_array().unwrap().len(), 8);
    assert_eq!(session["model"], "sllm-stories");
}

#[test]
fn a_session_is_forked_rewound_and_restored() {
    let server = Server::stories(&[]);
    let path = create(&server, PROMPT);
    let options =
        json!({"max_sentences": 3, "ignore_eos": true, "temperature": 0, "stream": false});
    let generate = |path: &str| ids(&server.ok(&format!("{path}/generate"), &options)["sentences"]);

    let snapshot = server.get(&format!("{path}/snapshot"));
    assert_eq!(snapshot.status, 200);
    let fork = server.ok(&format!("{path}/fork"), &json!({}));
    let fork = format!("/v1/sessions/{}", fork["id"].as_str().unwrap());
    let first = generate(&path);
    assert_eq!(generate(&fork), first);
    let second = generate(&path);
    let long = server.get(&path).json(200)["sentences"]
        .as_array()
        .unwrap()
        .len();
    let rewound = server.ok(&format!("{path}/rewind"), &json!({"sentences": 3}));
    assert_eq!(rewound["sentences"].as_array().unwrap().len(), long - 3);
    assert_eq!(generate(&path), second);

    // On another server, as it was before.
    let other = Server::stories(&[]);
    let octets = [("content-type", "application/octet-stream")];
    let restored = other.request(
        "POST",
        "/v1/sessions/restore?model=sllm-stories",
        &octets,
        &snapshot.body,
    );
    let restored = restored.json(200);
    let restored = format!("/v1/sessions/{}", restored["id"].as_str().unwrap());
    assert_eq!(
        ids(&other.ok(&format!("{restored}/generate"), &options)["sentences"]),
        first
    );
    let mut damaged = snapshot.body.clone();
    damaged.truncate(damaged.len() / 2);
    for (query, bytes) in [
        ("", &damaged[..]),
        ("", b""),
        ("?model=sllm-stories", b"nothing"),
    ] {
        let path = format!("/v1/sessions/restore{query}");
        other.request("POST", &path, &octets, bytes).error(400);
    }
    // A file of the program is a snapshot, and the other way round.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("story.session");
    std::fs::write(&file, &snapshot.body).unwrap();
    let lines = json_lines(program().args([
        "run",
        "--model",
        STORIES,
        "--variant",
        "portable",
        "-n",
        "3",
        "--greedy",
        "--ignore-eos",
        "--load",
        file.to_str().unwrap(),
    ]));
    let loaded: Vec<Value> = lines[..3]
        .iter()
        .map(|line| line["token_ids"].clone())
        .collect();
    assert_eq!(loaded, first);
}

#[test]
fn a_session_is_appended_to_and_forgotten() {
    let server = Server::start(&["--model", TINY]);
    let empty = server.ok("/v1/sessions", &json!({}));
    assert_eq!(empty["sentences"], json!([]));
    let path = format!("/v1/sessions/{}", empty["id"].as_str().unwrap());
    let error = server
        .post(&format!("{path}/generate"), &json!({}))
        .error(400);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("nothing to continue")
    );
    let appended = server.ok(
        &format!("{path}/append"),
        &json!({"text": "hello world. the cat sat. "}),
    );
    assert_eq!(
        appended["sentences"],
        json!(["hello world. ", "the cat sat. "])
    );
    assert_eq!(appended["appended"]["sentences"], 2);
    // More than fits changes nothing.
    let long = json!({"text": "hello world. ".repeat(11)});
    server.post(&format!("{path}/append"), &long).error(400);
    assert_eq!(
        server.get(&path).json(200)["sentences"],
        appended["sentences"]
    );
    assert_eq!(server.metric("sllm_sessions"), 1.0);
    assert!(server.metric("sllm_session_bytes") > 0.0);
    let deleted = server.request("DELETE", &path, &[], b"").json(200);
    assert_eq!(deleted["deleted"], true);
    for answer in [
        server.get(&path),
        server.request("DELETE", &path, &[], b""),
        server.post(&format!("{path}/append"), &json!({"text": "x"})),
        server.post(&format!("{path}/generate"), &json!({})),
        server.post(&format!("{path}/rewind"), &json!({"sentences": 1})),
        server.post(&format!("{path}/fork"), &json!({})),
        server.get(&format!("{path}/snapshot")),
    ] {
        assert_eq!(answer.error(404)["code"], "session_not_found");
    }
    assert_eq!(server.metric("sllm_sessions"), 0.0);
    let error = server
        .post("/v1/sessions", &json!({"text": "x", "ttl": 1}))
        .error(400);
    assert_eq!(error["param"], "ttl");
}

#[test]
fn sessions_expire_and_have_a_limit() {
    let server = Server::start(&[
        "--model",
        TINY,
        "--session-ttl",
        "2",
        "--session-memory",
        "20000",
    ]);
    let text = json!({"text": "hello world. "});
    let path = create(&server, "hello world. ");
    let mut refused = None;
    for _ in 0..100 {
        let answer = server.post("/v1/sessions", &text);
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.error(429)["code"], "session_memory_exceeded");
    std::thread::sleep(Duration::from_millis(2300));
    server.get(&path).error(404);
    assert_eq!(server.metric("sllm_sessions"), 0.0);
    create(&server, "hello world. ");
}

#[test]
fn a_session_serves_one_request_at_a_time() {
    let server = Server::stories(&[]);
    let path = create(&server, PROMPT);
    let options = json!({"max_sentences": 60, "ignore_eos": true, "best_of": 20, "temperature": 1});
    let running = server.begin(&format!("{path}/generate"), &options);
    server.wait_for("sllm_batch_rows", 1.0);
    let answer = server.post(&format!("{path}/append"), &json!({"text": "x. "}));
    assert_eq!(answer.error(409)["code"], "session_busy");
    let told = || {
        let session = server.get(&path).json(200);
        let sentences = session["sentences"].as_array().unwrap().len();
        (sentences, session["busy"].clone())
    };
    assert_eq!(told(), (2, json!(true)));
    Response::read(running).events();
    assert_eq!(told(), (62, json!(false)));
}

/// What the session held before is not counted again.
#[test]
fn prompt_tokens_are_those_that_a_request_gives() {
    for model in [TINY, TINY_OPT] {
        let server = Server::start(&["--model", model]);
        let path = create(&server, "hello world. ");
        let tokens = |session: &Value| session["tokens"].as_f64().unwrap();
        let counted = || server.metric("sllm_prompt_tokens_total");
        assert_eq!(counted(), tokens(&server.get(&path).json(200)));
        let text = json!({"text": "the cat sat. "});
        let appended = server.ok(&format!("{path}/append"), &text);
        assert_eq!(counted(), tokens(&appended));
        let options = json!({"max_sentences": 1, "ignore_eos": true, "stream": false});
        server.ok(&format!("{path}/generate"), &options);
        assert_eq!(counted(), tokens(&appended), "{model}");
    }
}
