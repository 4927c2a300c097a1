//! A server that is killed: it writes nothing, so nothing is half written.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    thread,
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;
use sllm_ort::{Model, Session};

use super::{
    server::{Server, command},
    support::{TINY, load},
};

const KILLS: u64 = 8;
const TEXT: &str = "hello world. the cat sat. ";

/// A server that has nowhere to write but `folder`.
fn server(folder: &Path) -> Server {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join(TINY);
    let mut command = command(&["--variant", "portable", "--model", model.to_str().unwrap()]);
    // ONNX Runtime would keep files of its own.
    command
        .current_dir(folder)
        .env("ORT_DISABLE_TELEMETRY", "1");
    for variable in ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
        command.env(variable, folder);
    }
    Server::spawn(command)
}

/// All bytes of an answer, which may be cut off by the kill.
fn bytes(address: &str, request: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_end(&mut answer);
    }
    answer
}

/// Download snapshots until the server is gone. A whole one is a
/// session; one that was cut off is shorter than its head says, and is refused.
fn download(address: &str, path: &str, model: &Model) {
    let request = format!("GET {path}/snapshot HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    loop {
        let answer = bytes(address, &request);
        let Some(end) = answer.windows(4).position(|part| part == b"\r\n\r\n") else {
            return;
        };
        let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
        let snapshot = &answer[end + 4..];
        if !head.starts_with("http/1.1 200") {
            continue;
        }
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        let session = Session::from_bytes(model, snapshot);
        if snapshot.len() < length {
            assert!(session.is_err());
            return;
        }
        assert_eq!(session.unwrap().text(), TEXT);
    }
}

#[test]
fn a_killed_server_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let model = load(TINY, "portable");
    let mut random = StdRng::seed_from_u64(1);
    for kill in 0..KILLS {
        let mut server = server(folder.path());
        let session = server.ok("/v1/sessions", &json!({"text": TEXT}));
        let path = format!("/v1/sessions/{}", session["id"].as_str().unwrap());
        let address = server.address.clone();
        let body = json!({"prompt": TEXT, "max_sentences": 8, "ignore_eos": true, "stream": true});
        let body = body.to_string();
        let completion = format!(
            "POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| download(&address, &path, &model));
                scope.spawn(|| while !bytes(&address, &completion).is_empty() {});
            }
            thread::sleep(Duration::from_micros(random.random_range(0..200_000)));
            // The clients end when the server has.
            server.kill();
        });
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert!(left.is_empty(), "after kill {kill}: {left:?}");
    }
}
