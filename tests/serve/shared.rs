//! Sessions that several clients use.

use std::thread;

use serde_json::{Value, json};

use super::{
    server::{PROMPT, Server},
    support::TINY,
};

fn create(server: &Server, text: &str) -> String {
    let session = server.ok("/v1/sessions", &json!({"text": text}));
    format!("/v1/sessions/{}", session["id"].as_str().unwrap())
}

/// Number of sentences.
fn length(session: &Value) -> usize {
    session["sentences"].as_array().unwrap().len()
}

#[test]
fn what_is_refused_as_busy_was_not_done() {
    let server = Server::stories(&[]);
    let path = create(&server, PROMPT);
    let before = length(&server.get(&path).json(200));
    let append = || {
        let answer = server.post(&format!("{path}/append"), &json!({"text": "The end. "}));
        if answer.status == 200 {
            return true;
        }
        assert_eq!(answer.error(409)["code"], "session_busy");
        false
    };
    let appended: usize = thread::scope(|scope| {
        let client = || (0..15).filter(|_| append()).count();
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(client)).collect();
        clients.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert!(appended > 0);
    let after = length(&server.get(&path).json(200));
    assert_eq!(after, before + appended);
}

#[test]
fn readers_and_a_writer_do_not_refuse_each_other() {
    let server = Server::start(&["--model", TINY]);
    let path = create(&server, "hello world. ");
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let sentences = length(&server.get(&path).json(200));
                    assert!((1..=2).contains(&sentences), "{sentences}");
                }
            });
        }
        for _ in 0..50 {
            let appended = server.ok(&format!("{path}/append"), &json!({"text": "the cat sat. "}));
            assert_eq!(length(&appended), 2);
            assert_eq!(appended["appended"]["sentences"], 1);
            let rewound = server.ok(&format!("{path}/rewind"), &json!({"sentences": 1}));
            assert_eq!(length(&rewound), 1);
        }
    });
}
