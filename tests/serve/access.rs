//! Keys, origins, and how the program starts.

use std::{fs, process::Stdio};

use super::{
    server::{Server, command},
    support::TINY,
};

#[test]
fn a_key_opens_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, "# of two users\none-key\n\n  another-key \n").unwrap();
    let server = Server::start(&["--model", TINY, "--api-key-file", file.to_str().unwrap()]);
    for (header, status) in [
        (Some("Bearer one-key"), 200),
        (Some("Bearer another-key"), 200),
        (Some("Bearer # of two users"), 401),
        (Some("Bearer one-ke"), 401),
        (Some("Bearer "), 401),
        (Some("one-key"), 401),
        (None, 401),
    ] {
        let headers: Vec<_> = header.iter().map(|&key| ("authorization", key)).collect();
        for path in ["/v1/models", "/metrics"] {
            let answer = server.request("GET", path, &headers, b"");
            assert_eq!(answer.status, status, "{header:?}");
            if status == 401 {
                assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
                assert_eq!(answer.error(401)["code"], "invalid_api_key");
            }
        }
    }
    for path in ["/health", "/ready", "/openapi.json", "/"] {
        assert_eq!(server.get(path).status, 200);
    }
}

/// Editors of Windows put a mark in front of the first key.
#[test]
fn a_key_file_may_begin_with_a_byte_order_mark() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    for (text, keys) in [
        ("\u{feff}first\r\nsecond\r\n", ["first", "second"]),
        ("\u{feff}# comment\nfirst\nsecond", ["first", "second"]),
    ] {
        fs::write(&file, text).unwrap();
        let server = Server::start(&["--model", TINY, "--api-key-file", file.to_str().unwrap()]);
        for key in keys {
            let bearer = format!("Bearer {key}");
            let answer = server.request("GET", "/v1/models", &[("authorization", &bearer)], b"");
            assert_eq!(answer.status, 200, "{text:?} {key}");
        }
        let comment = [("authorization", "Bearer # comment")];
        let answer = server.request("GET", "/v1/models", &comment, b"");
        assert_eq!(answer.status, 401);
    }
    fs::write(&file, "\u{feff}\n").unwrap();
    let (status, error) = failure(&["--model", TINY, "--api-key-file", file.to_str().unwrap()]);
    assert_eq!(status, Some(1));
    assert!(error.contains("no key"), "{error}");
}

/// Headers of a browser's question before a request, as OpenAI's client has them.
const ASKED: &str = "authorization,content-type,x-stainless-lang,x-stainless-retry-count";

#[test]
fn only_named_origins_may_read_answers() {
    let origin = "https://example.org";
    let ask = |server: &Server, origin: &str| {
        let answer = server.request("GET", "/v1/models", &[("origin", origin)], b"");
        answer
            .header("access-control-allow-origin")
            .map(str::to_owned)
    };
    let closed = Server::start(&["--model", TINY]);
    assert_eq!(ask(&closed, origin), None);
    let open = Server::start(&["--model", TINY, "--cors", origin]);
    assert_eq!(ask(&open, origin).as_deref(), Some(origin));
    assert_eq!(ask(&open, "https://example.com"), None);
    // As it is written does not count, but as browsers send it.
    let written = "HTTP://LocalHost:3000,https://Example.ORG:443";
    let written = Server::start(&["--model", TINY, "--cors", written]);
    for origin in ["http://localhost:3000", origin] {
        assert_eq!(ask(&written, origin).as_deref(), Some(origin));
    }
    let preflight = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", ASKED),
    ];
    let answer = open.request("OPTIONS", "/v1/completions", &preflight, b"");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    assert_eq!(answer.header("access-control-allow-headers"), Some(ASKED));
    let stranger = [
        ("origin", "https://example.com"),
        preflight[1],
        preflight[2],
    ];
    let answer = open.request("OPTIONS", "/v1/completions", &stranger, b"");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

/// Where there is no IPv6, the error is about the address, and not about a name.
#[test]
fn an_address_of_ipv6_may_stand_in_brackets() {
    let arguments = ["--model", TINY, "--host", "[::1]"];
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        let server = Server::start(&arguments);
        assert!(server.address.starts_with("[::1]:"), "{}", server.address);
        assert_eq!(server.get("/health").status, 200);
    } else {
        let (_, error) = failure(&arguments);
        assert!(error.contains("cannot listen on"), "{error}");
        assert!(!error.contains("lookup"), "{error}");
    }
}

/// The status, and what is on stderr.
fn failure(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(arguments).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.stdout, b"");
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "# nothing\n").unwrap();
    let server = Server::start(&["--model", TINY]);
    let (_, port) = server.address.rsplit_once(':').unwrap();
    for (arguments, status, part) in [
        (vec!["--model", "nowhere/at-all"], 1, "nowhere/at-all"),
        (
            vec!["--model", TINY, "--model", TINY],
            1,
            "two models are named",
        ),
        (
            vec!["--model", TINY, "--api-key-file", "nowhere"],
            1,
            "nowhere",
        ),
        (
            vec!["--model", TINY, "--api-key-file", empty.to_str().unwrap()],
            1,
            "no key",
        ),
        (vec!["--model", TINY, "--host", "192.0.2.1"], 1, "192.0.2.1"),
    ] {
        let (found, error) = failure(&arguments);
        assert_eq!(found, Some(status), "{error}");
        assert!(error.contains(part), "{error}");
    }
    // The last of two options counts, so the port is taken.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_sllm-ort"))
        .args(["serve", "--model", TINY, "--port", port])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on"));
}

#[test]
fn a_value_that_is_not_allowed_is_a_usage_error() {
    for (option, values) in [
        ("--grace", &["-1", "NaN", "inf", "1e8", "soon", ""][..]),
        ("--request-timeout", &["-1", "0", "1e-9", "NaN"]),
        ("--session-ttl", &["-1", "0", "nan"]),
        ("--max-batch", &["-1", "0", "1025", "1.5"]),
        ("--batches", &["-1", "0", "65"]),
        ("--kv-memory", &["-1", "0", "4G"]),
        ("--max-queue", &["-1", "2000000"]),
        ("--max-prompt-bytes", &["-1", "0", "99999999999"]),
        ("--session-memory", &["-1", "0"]),
        ("--threads", &["-1", "0", "9999"]),
        ("--spin", &["-1", "NaN"]),
        ("--grace", &["1e300", "-1e300"]),
        (
            "--cors",
            &[
                "nope",
                "*",
                "null",
                "example.org",
                "https://example.org/",
                "https://example.org/page",
                "https://",
                "https://example.org:99999",
            ],
        ),
    ] {
        for value in values {
            let (status, error) = failure(&[option, value]);
            assert_eq!(status, Some(2), "{option} {value}: {error}");
            let said = format!("invalid value '{value}' for '{option} ");
            let missing = format!("a value is required for '{option} ");
            let library = format!("{} is {value}, allowed is", &option[2..]);
            let told = [said, missing, library];
            assert!(told.iter().any(|part| error.contains(part)), "{error}");
        }
    }
}

#[test]
fn variables_stand_for_options_and_strangers_are_warned_of() {
    let mut child = command(&["--model", TINY])
        .env("SLLM_ORT_HOST", "0.0.0.0")
        .env("SLLM_ORT_MAX_BATCH", "3")
        .env("SLLM_ORT_NO_UI", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    assert!(line.starts_with("listening on http://0.0.0.0:"), "{line}");
    let id = child.id().to_string();
    std::process::Command::new("kill")
        .args(["-INT", &id])
        .status()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("asks for no key"), "{error}");
}

/// A variable that stands for an option without a value is yes or no, and nothing else.
#[test]
fn a_variable_is_yes_or_no() {
    for (value, status) in [("maybe", 2), ("2", 2), ("si", 2)] {
        let mut command = command(&["--model", TINY]);
        let output = command.env("SLLM_ORT_NO_UI", value).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{value}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.contains(value) && error.contains("SLLM_ORT_NO_UI"),
            "{error}"
        );
    }
    for (value, status) in [
        ("", 200),
        ("0", 200),
        ("False", 200),
        ("off", 200),
        ("TRUE", 404),
        ("on", 404),
    ] {
        let mut command = command(&["--model", TINY]);
        command.env("SLLM_ORT_NO_UI", value);
        assert_eq!(Server::spawn(command).get("/").status, status, "{value}");
    }
}
