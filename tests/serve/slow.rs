//! Clients that read slowly, and clients that write slowly.

use std::{
    io::{Read as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use super::server::{PROMPT, Server};

const READERS: usize = 2;
/// Choices of each, whose echoes alone are 4 MiB.
const CHOICES: usize = 64;
/// Bytes of the prompt; the model does not see the blanks.
const PROMPT_BYTES: usize = 64 << 10;
/// Most resident memory that they may add, in bytes. That an answer waits for its reader is a test
/// of `src/serve/sse.rs`.
const MAX_GROWTH: u64 = 32 << 20;

/// Readers of a byte a second hold up nobody.
#[test]
fn slow_readers_hold_up_nobody() {
    let server = Server::stories(&[]);
    let small = json!({"prompt": PROMPT, "max_sentences": 1, "ignore_eos": true});
    assert_ne!(server.complete(&small), "");
    let mut prompt = PROMPT.to_owned();
    prompt.push_str(&" ".repeat(PROMPT_BYTES - PROMPT.len()));
    let body = json!({"prompt": prompt, "n": CHOICES, "max_sentences": 1, "ignore_eos": true,
        "stream": true, "echo": true});
    // A quick reader fills arenas and caches.
    server.post("/v1/completions", &body).events();
    let before = server.resident_bytes();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = SetAtEnd(&over);
        for _ in 0..READERS {
            scope.spawn(|| {
                let mut stream = server.begin("/v1/completions", &body);
                while !over.load(Ordering::Relaxed) {
                    // Unlike `read`, it goes on after a signal.
                    stream.read_exact(&mut [0]).unwrap();
                    thread::sleep(Duration::from_secs(1));
                }
            });
        }
        // All is generated, though little of it is read.
        let sentences = ((READERS + 1) * CHOICES + 1) as f64;
        server.wait_for("sllm_generated_sentences_total", sentences);
        server.wait_for("sllm_batch_rows", 0.0);
        let started = Instant::now();
        assert_ne!(server.complete(&small), "");
        assert!(started.elapsed() < Duration::from_secs(20));
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < MAX_GROWTH, "{grown} bytes more");
    });
    assert_ne!(server.complete(&small), "");
}

/// The readers end with the test, even if it fails.
struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_body_that_comes_slowly_is_refused() {
    let server = Server::stories(&["--request-timeout", "5"]);
    for path in ["/v1/completions", "/v1/sessions/restore"] {
        let media_type = match path {
            "/v1/completions" => "application/json",
            _ => "application/octet-stream",
        };
        let mut stream = server.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {media_type}\r\ncontent-length: 1000\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let started = Instant::now();
        let mut writer = stream.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || {
                while started.elapsed() < Duration::from_secs(20) && writer.write_all(b" ").is_ok()
                {
                    thread::sleep(Duration::from_millis(200));
                }
            });
            // Others are answered meanwhile.
            let body = json!({"prompt": PROMPT, "max_sentences": 1, "ignore_eos": true});
            assert_ne!(server.complete(&body), "");
            let mut head = [0; 12];
            stream.read_exact(&mut head).unwrap();
            assert_eq!(&head, b"HTTP/1.1 408", "{path}");
            assert!(started.elapsed() < Duration::from_secs(10), "{path}");
        });
    }
}
