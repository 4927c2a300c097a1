//! Sessions of snapshots whose numbers no model can continue.

use std::process::Stdio;

use serde_json::{Value, json};

use super::{
    server::{Response, Server, command},
    support::{TINY, TINY_OPT, snapshots},
};

const OCTETS: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

fn path(session: &Value) -> String {
    format!("/v1/sessions/{}", session["id"].as_str().unwrap())
}

fn restore(server: &Server, bytes: &[u8]) -> Response {
    server.request("POST", "/v1/sessions/restore", &OCTETS, bytes)
}

/// A server that logs, and a snapshot of one of its sessions.
fn served(model: &str, variant: &str) -> (Server, Vec<u8>) {
    let arguments = ["--model", model, "--variant", variant, "--log", "info"];
    let mut command = command(&arguments);
    command.stderr(Stdio::piped());
    let server = Server::spawn(command);
    let session = server.ok(
        "/v1/sessions",
        &json!({"text": "hello world. the cat sat. "}),
    );
    let snapshot = server.get(&format!("{}/snapshot", path(&session)));
    (server, snapshot.body)
}

/// The error of an answer, or the one that is an event of its stream.
fn refusal(answer: &Response) -> Value {
    if answer.status != 200 {
        return answer.error(400);
    }
    let text = answer.text();
    let mut data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let error = data.find_map(|data| {
        let event: Value = serde_json::from_str(data).ok()?;
        event.get("error").cloned()
    });
    error.unwrap_or_else(|| panic!("no error: {text}"))
}

#[test]
fn unusable_values_are_the_clients() {
    for model in [TINY, TINY_OPT] {
        let (server, snapshot) = served(model, "portable");
        let restored = restore(&server, &snapshots::filled(&snapshot, 3.4e38)).json(200);
        let fork = server.ok(&format!("{}/fork", path(&restored)), &json!({}));
        let mut seen = 0;
        for session in [&restored, &fork] {
            for (action, body) in [
                ("generate", json!({"max_sentences": 2, "ignore_eos": true})),
                (
                    "generate",
                    json!({"max_sentences": 2, "ignore_eos": true, "stream": false, "temperature": 1}),
                ),
                ("append", json!({"text": "the dog ran. "})),
            ] {
                let answer = server.post(&format!("{}/{action}", path(session)), &body);
                // Kind opt appends to a cache with such numbers as it does to others.
                if action == "append" && answer.status == 200 {
                    continue;
                }
                let error = refusal(&answer);
                assert_eq!(
                    error["code"], "unusable_session",
                    "{model} {action}: {error}"
                );
                assert_eq!(error["type"], "invalid_request_error");
                let message = error["message"].as_str().unwrap();
                assert!(message.contains("values of the session"), "{message}");
                seen += 1;
            }
        }
        assert!(seen >= 4, "{seen}");
        // Those of others are not affected, and neither are good snapshots.
        let good = restore(&server, &snapshot).json(200);
        let body = json!({"max_sentences": 1, "ignore_eos": true, "stream": false});
        server.ok(&format!("{}/generate", path(&good)), &body);
        let log = server.end();
        assert!(log.contains("unusable values"), "{log}");
        assert!(!log.contains("ERROR") && !log.contains("weights"), "{log}");
    }
}

/// A snapshot of another variant has its caches computed from its vectors, when it is restored.
#[test]
fn unusable_vectors_are_refused_when_they_are_used() {
    let (_, snapshot) = served(TINY, "portable");
    let (server, _) = served(TINY, "cpu-int8");
    let answer = restore(&server, &snapshots::filled(&snapshot, -3.4e38));
    if answer.status == 200 {
        let session = answer.json(200);
        let body = json!({"max_sentences": 1, "ignore_eos": true});
        let answer = server.post(&format!("{}/generate", path(&session)), &body);
        assert_eq!(refusal(&answer)["code"], "unusable_session");
    } else {
        assert_eq!(answer.error(400)["code"], "unusable_session");
    }
    let log = server.end();
    assert!(!log.contains("ERROR") && !log.contains("weights"), "{log}");
}
