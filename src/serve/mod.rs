//! The HTTP server: `sllm-ort serve`. See `docs/serving.md`.

mod answer;
mod app;
mod auth;
mod body;
mod chat;
mod chat_template;
mod completions;
mod connection;
mod contract;
mod embeddings;
mod error;
mod head;
mod hosts;
mod http;
mod job;
mod json;
mod metrics;
mod options;
mod page;
mod path;
mod prompt;
mod prompts;
mod queue;
mod refusals;
mod routes;
mod scheduler;
mod sentences;
mod sessions;
mod sse;
mod status;
mod store;
mod write_timeout;

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use sllm_ort::Model;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    task::spawn_blocking,
    time::{sleep, timeout},
};

use app::App;
use auth::Keys;
use hosts::Hosts;
use store::Store;

/// Threads for connections; graphs have their own.
const CONNECTION_THREADS: usize = 2;
/// Threads for what is no generation; each model uses few at a time.
const BLOCKING_THREADS: usize = 32;
/// Part of the time for shutting down after which answers end with the sentence they are at.
const GENERATING_PART: f64 = 0.75;
/// How often a server that shuts down looks whether all have their answers.
const BUSY_POLL: Duration = Duration::from_millis(20);
/// Longest time that an expired session keeps its memory.
const LONGEST_EXPIRED: Duration = Duration::from_secs(30);
/// Wait for a run of a graph that was cancelled at the very end.
const LAST_RUN: Duration = Duration::from_secs(2);

/// How the server is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub max_batch: usize,
    /// Bytes of the KV caches of a model's rows.
    pub kv_memory: usize,
    pub max_queue: usize,
    pub max_prompt_bytes: usize,
    pub request_timeout: Duration,
    pub session_ttl: Duration,
    pub session_memory: usize,
    pub api_key_file: Option<PathBuf>,
    pub cors: Vec<String>,
    /// Names besides those of this machine; see [`Hosts`].
    pub allow_host: Vec<String>,
    pub ui: bool,
    pub grace: Duration,
}

/// Serve until a signal comes. `load` gives the models, each with the time that it took; `warn` takes
/// warnings for the user.
pub fn run(
    settings: Settings,
    load: impl FnOnce() -> anyhow::Result<Vec<(Model, Duration)>> + Send + 'static,
    warn: impl Fn(&str),
) -> anyhow::Result<()> {
    let keys = match &settings.api_key_file {
        Some(path) => Keys::read(path)?,
        None => Keys::default(),
    };
    check_threads().context("cannot start the threads of the server")?;
    let runtime: Runtime = Builder::new_multi_thread()
        .worker_threads(CONNECTION_THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context("cannot start the threads of the server")?;
    let served = runtime.block_on(serve(settings, keys, load, warn));
    runtime.shutdown_background();
    served
}

/// Start as many threads as the server has at least, and end them: the runtime would panic.
fn check_threads() -> io::Result<()> {
    let started = (0..=CONNECTION_THREADS).map(|_| thread::Builder::new().spawn(thread::park));
    let (started, failed): (Vec<_>, Vec<_>) = started.partition(Result::is_ok);
    for thread in started.into_iter().flatten() {
        thread.thread().unpark();
    }
    failed
        .into_iter()
        .next()
        .map_or(Ok(()), |failed| failed.map(|_| ()))
}

async fn serve(
    settings: Settings,
    keys: Keys,
    load: impl FnOnce() -> anyhow::Result<Vec<(Model, Duration)>> + Send + 'static,
    warn: impl Fn(&str),
) -> anyhow::Result<()> {
    let place = format!("{}:{}", settings.host, settings.port);
    let listener = TcpListener::bind((without_brackets(&settings.host), settings.port)).await;
    let listener = listener.with_context(|| format!("cannot listen on {place}"))?;
    let address = listener.local_addr()?;
    if !is_local(address.ip()) && keys.is_empty() {
        warn(&format!(
            "{address} can be reached from other machines and asks for no key: set --api-key-file"
        ));
    }
    let grace = settings.grace;
    let hosts = match is_local(address.ip()) && keys.is_empty() {
        true => Hosts::Local(settings.allow_host.clone()),
        false => Hosts::All,
    };
    let app = Arc::new(App::new(settings, keys, hosts));
    let router = routes::router(Arc::clone(&app))?;
    let mut signals = Signals::new()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async {
        let _ = stopped.await;
    };
    tokio::spawn(drop_expired(Arc::clone(&app.sessions)));
    let mut connections = tokio::spawn(http::serve(listener, router, stopped));
    let loaded = spawn_blocking(load);
    let models = tokio::select! {
        models = loaded => models??,
        () = signals.next() => return Ok(()),
    };
    app.set_models(models)?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on http://{address}")?;
    stdout.flush()?;
    signals.next().await;
    let end = Instant::now() + grace;
    app.drain(Instant::now() + grace.mul_f64(GENERATING_PART));
    let answered = async {
        // New clients are told meanwhile.
        while app.is_busy() {
            sleep(BUSY_POLL).await;
        }
        let _ = stop.send(());
        (&mut connections).await
    };
    let finished = tokio::select! {
        finished = timeout(end.saturating_duration_since(Instant::now()), answered) => finished.is_ok(),
        () = signals.next() => false,
    };
    if !finished {
        // Handlers that are dropped cancel their rows.
        connections.abort();
        warn("some answers were not sent to their ends");
    }
    let joined = spawn_blocking(move || {
        app.drain(Instant::now());
        app.join();
    });
    let _ = timeout(LAST_RUN, joined).await;
    Ok(())
}

/// Drop expired sessions also while no request looks at them.
async fn drop_expired(sessions: Arc<Store>) {
    let pause = sessions.ttl().min(LONGEST_EXPIRED);
    loop {
        sleep(pause).await;
        sessions.drop_expired();
    }
}

/// The address of `[::1]`, as it stands in a URL; another host as it is.
fn without_brackets(host: &str) -> &str {
    let within = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    within
        .filter(|address| address.parse::<Ipv6Addr>().is_ok())
        .unwrap_or(host)
}

fn is_local(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Ctrl-C and SIGTERM.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_stand_in_brackets() {
        for (host, expected) in [
            ("[::1]", "::1"),
            ("[::]", "::"),
            ("::1", "::1"),
            ("127.0.0.1", "127.0.0.1"),
            ("localhost", "localhost"),
            ("[localhost]", "[localhost]"),
            ("[::1", "[::1"),
            ("[]", "[]"),
        ] {
            assert_eq!(without_brackets(host), expected);
        }
    }
}
