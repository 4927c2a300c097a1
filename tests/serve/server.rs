//! Starts the program, and talks HTTP with it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

pub const STORIES: &str = "models/sllm-stories";
pub const PROMPT: &str = "Once upon a time, there was a little fox. ";

/// A server that ends with the test.
pub struct Server {
    child: Child,
    pub address: String,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

/// The program with these arguments, on a free port.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sllm-ort"));
    command.args(["serve", "--port", "0"]).args(arguments);
    for (name, _) in std::env::vars() {
        if name.starts_with("SLLM_ORT_") {
            command.env_remove(name);
        }
    }
    command
}

impl Server {
    /// The shipped model in float32.
    pub fn stories(arguments: &[&str]) -> Self {
        let model = ["--model", STORIES, "--variant", "portable"];
        Self::start(&[&model, arguments].concat())
    }

    pub fn start(arguments: &[&str]) -> Self {
        Self::spawn(command(arguments))
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("{line:?}"));
        let address = address.trim_end().to_owned();
        // Nothing else may come.
        std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = stdout.read_to_string(&mut rest);
            assert_eq!(rest, "");
        });
        Self { child, address }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        let limit = Some(Duration::from_secs(120));
        stream.set_read_timeout(limit).unwrap();
        stream
    }

    /// Send a request, without waiting for its answer.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> TcpStream {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        // A server that refuses the head may not read the body.
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
        stream
    }

    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        Response::read(self.send(method, path, headers, body))
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Response {
        Response::read(self.begin(path, body))
    }

    /// Send a JSON body, without waiting for the answer.
    pub fn begin(&self, path: &str, body: &Value) -> TcpStream {
        let json = [("content-type", "application/json")];
        self.send("POST", path, &json, body.to_string().as_bytes())
    }

    /// The JSON of an answer that must be good.
    pub fn ok(&self, path: &str, body: &Value) -> Value {
        self.post(path, body).json(200)
    }

    /// The text of a completion.
    pub fn complete(&self, body: &Value) -> String {
        let answer = self.ok("/v1/completions", body);
        answer["choices"][0]["text"].as_str().unwrap().to_owned()
    }

    /// A figure of `/metrics`, summed over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let lines = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
        values.sum()
    }

    /// Wait until a figure has this value.
    pub fn wait_for(&self, name: &str, value: f64) {
        let started = Instant::now();
        while (self.metric(name) - value).abs() > f64::EPSILON {
            let waited = started.elapsed();
            assert!(
                waited < Duration::from_secs(60),
                "{name} is {}",
                self.metric(name)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Memory of the process in bytes; 0 where the system does not tell.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        kib.map_or(0, |kib| kib.parse::<u64>().unwrap() << 10)
    }

    /// End it at once, without a chance to clean up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(killed.success());
    }

    /// End it; returns what it wrote to stderr, which must be a pipe.
    pub fn end(mut self) -> String {
        self.kill();
        let mut text = String::new();
        let stderr = self.child.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut text).unwrap();
        text
    }

    /// The exit status, which must come soon.
    pub fn wait(mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Response {
    /// Read an answer to its end.
    pub fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {read:?} {bytes:?}"));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let body = bytes[end + 4..].to_vec();
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            status,
            head,
            body: if chunked { unchunked(&body) } else { body },
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1);
        let mut fields = lines.filter_map(|line| line.split_once(": "));
        fields
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The error of an answer that must be one.
    pub fn error(&self, status: u16) -> Value {
        let body = self.json(status);
        let keys: Vec<_> = body["error"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["message", "type", "param", "code"]);
        body["error"].clone()
    }

    /// The objects of a stream that must have come to its end.
    pub fn events(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("text/event-stream"));
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let mut data: Vec<&str> = data.collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{text}");
        data.into_iter()
            .map(|data| serde_json::from_str(data).unwrap())
            .collect()
    }
}

/// The text of a choice of a stream, and its finish reason.
pub fn streamed(events: &[Value], index: usize) -> (String, Value) {
    let (mut text, mut reason) = (String::new(), json!(null));
    for event in events {
        for choice in event["choices"].as_array().unwrap() {
            if choice["index"] == index {
                text += choice["text"].as_str().unwrap();
                reason = choice["finish_reason"].clone();
            }
        }
    }
    (text, reason)
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|part| part == b"\r\n") {
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 4 + size..];
    }
    whole
}
